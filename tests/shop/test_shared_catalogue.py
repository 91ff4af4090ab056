"""What documents of a shared catalogue become: items, by the rules of the catalogue page, or a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.db.records import Item
from child_cart.shop.catalogue import item_of
from child_cart.shop.shared_catalogue import items_of

TEA = {"_id": "0200000000103", "name": "Tea", "category": 4, "price_cents": 250}


def test_documents_become_items_in_their_one_form() -> None:
    documents = [TEA, {**TEA, "_id": "jam-1", "name": "Jam", "retired": True, "origin": "elsewhere"}]
    assert items_of(documents) == (
        [Item("0200000000103", "Tea", 4, 250), Item("JAM-1", "Jam", 4, 250, retired=True)],
        [],
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"_id": 7}, "'7': The code is missing."),
        ({"_id": "0200000000104"}, "its last digit would be 3"),
        ({"name": "x" * 61}, "The name has 61 characters"),
        ({"category": 7}, "The category '7' is unknown"),
        ({"price_cents": 0}, "The price '0' is not a whole number of cents"),
        ({"price_cents": 2.5}, "The price '2.5' is not a whole number of cents"),
        ({"retired": "no"}, "retired is wrong"),
    ],
)
def test_what_the_page_refuses_is_refused_here(changes: dict[str, Any], sentence: str) -> None:
    items, refused = items_of([{**TEA, **changes}, {**TEA, "_id": "JAM-1"}])
    assert [item.code for item in items] == ["JAM-1"]
    assert len(refused) == 1
    assert sentence in refused[0]


def test_of_two_with_the_same_code_the_first_is_taken() -> None:
    items, refused = items_of([{**TEA, "_id": "JAM-1"}, {**TEA, "_id": "jam-1", "name": "Other"}])
    assert [item.name for item in items] == ["Tea"]
    assert refused == ["'jam-1': The code JAM-1 is there already."]


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.integers())
)
NAMES = st.sampled_from(["_id", "name", "category", "price_cents", "retired"])


@given(st.lists(st.dictionaries(NAMES, VALUES).map(lambda changes: {**TEA, **changes}), max_size=5))
def test_whatever_is_in_documents_each_is_an_item_or_a_sentence(documents: list[dict[str, Any]]) -> None:
    items, refused = items_of(documents)
    assert len(items) + len(refused) == len(documents)
    assert len({item.code for item in items}) == len(items)
    for item in items:
        fields = {"code": item.code, "name": item.name, "category": item.category, "price_cents": item.price_cents}
        assert item_of({**fields, "retired": item.retired}) == item
