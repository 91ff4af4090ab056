"""Lines of codes and amounts to a priced bill, and days of sale."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.db.records import Item
from child_cart.shop.billing import (
    CATALOGUE,
    CATEGORIES,
    MAX_AMOUNT,
    MAX_LINES,
    Bill,
    BillError,
    index,
    price,
    sale_day,
)

ITEMS = index(CATALOGUE)
TODAY = date(2026, 7, 31)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["code", "amount", "price_cents", "x"]), inner)
    ),
    max_leaves=20,
)
LINES = st.lists(
    st.fixed_dictionaries({"code": st.sampled_from(sorted(ITEMS)), "amount": st.integers(1, MAX_AMOUNT // 20)}),
    min_size=1,
    max_size=20,
)


def ean_check_digit(code: str) -> int:
    """Return the check digit of an EAN-13 (GS1 General Specifications, 7.9)."""
    return -sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(code[:12])) % 10


@pytest.mark.parametrize("item", CATALOGUE, ids=lambda item: item.name)
def test_the_catalogue_that_comes_with_the_cart_is_sound(item: Item) -> None:
    assert len(item.code) == 13
    assert int(item.code[12]) == ean_check_digit(item.code)
    assert item.category in CATEGORIES
    assert item.price_cents > 0


def test_no_two_items_share_a_code_or_a_name() -> None:
    assert len(ITEMS) == len(CATALOGUE) == len({item.name for item in CATALOGUE})


@given(LINES)
def test_a_bill_charges_every_piece_at_the_catalogues_price(lines: list[dict[str, object]]) -> None:
    bill = price(lines, ITEMS)
    assert bill.total_cents == sum(ITEMS[str(line["code"])].price_cents * int(str(line["amount"])) for line in lines)
    assert [line.code for line in bill.lines] == list(dict.fromkeys(line["code"] for line in lines))
    for line in bill.lines:
        assert line.amount == sum(int(str(sent["amount"])) for sent in lines if sent["code"] == line.code)
        assert (line.name, line.category, line.price_cents) == (
            ITEMS[line.code].name,
            ITEMS[line.code].category,
            ITEMS[line.code].price_cents,
        )


@given(LINES, st.data())
def test_nobody_pays_more_for_a_piece_than_was_seen_without_being_asked(
    lines: list[dict[str, object]], data: st.DataObject
) -> None:
    seen = [{**line, "price_cents": data.draw(st.integers(0, 1000))} for line in lines]
    now = {code: replace(item, retired=data.draw(st.booleans())) for code, item in ITEMS.items()}
    bill = price(seen, now)
    asked = {change.code for change in bill.changes if change.needs_consent}
    sold = {line.code: line.price_cents for line in bill.lines}
    for line in seen:
        code = str(line["code"])
        assert code in asked or sold[code] <= int(str(line["price_cents"]))
    assert asked <= {str(line["code"]) for line in lines}
    assert all(not now[code].retired for code in sold)


@given(LINES, st.randoms())
def test_the_order_of_lines_changes_no_total(lines: list[dict[str, object]], random: object) -> None:
    shuffled = list(lines)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert price(shuffled, ITEMS).total_cents == price(lines, ITEMS).total_cents


@given(ANYTHING)
def test_whatever_is_sent_makes_a_bill_or_a_sentence(sent: object) -> None:
    try:
        bill = price(sent, ITEMS)
    except BillError as error:
        assert str(error).endswith(".")
        assert len(str(error)) < 200
    else:
        assert isinstance(bill, Bill)
        assert bill.total_cents > 0 or bill.changes


def test_a_line_without_an_amount_is_one_piece() -> None:
    assert price([{"code": CATALOGUE[0].code}], ITEMS).lines[0].amount == 1


@pytest.mark.parametrize("count", [0, MAX_LINES + 1])
def test_a_bill_has_its_limits(count: int) -> None:
    with pytest.raises(BillError, match=r"^A bill has 1 to 200 lines\.$"):
        price([{"code": CATALOGUE[0].code}] * count, ITEMS)
    assert price([{"code": CATALOGUE[0].code}] * MAX_LINES, ITEMS).lines[0].amount == MAX_LINES


def test_the_day_of_sale_is_today_unless_it_is_given() -> None:
    assert sale_day(None, TODAY) == TODAY
    assert sale_day("2024-02-29", TODAY) == date(2024, 2, 29)
    assert sale_day("2000-01-01", TODAY) == date(2000, 1, 1)


def test_a_till_a_time_zone_ahead_may_be_a_day_ahead() -> None:
    assert sale_day("2026-08-01", TODAY) == date(2026, 8, 1)


@pytest.mark.parametrize("text", ["2026-08-02", "1999-12-31", "2023-02-29", "soon", "", 20260731, True, ["2026-07-31"]])
def test_a_day_that_is_none_is_named(text: object) -> None:
    with pytest.raises(BillError, match="is not a day like 2026-07-31, at most today"):
        sale_day(text, TODAY)
