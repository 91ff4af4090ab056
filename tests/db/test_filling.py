"""A filling of a store that fails, or was killed, leaves nothing in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from child_cart.db.migration import UNFINISHED, filling
from child_cart.db.records import Item
from child_cart.db.sqlite import SqliteStore

ITEM = Item("0200000000103", "Bread", 1, 100, False)


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_store_whose_filling_fails_is_empty_again(tmp_path: Path, failure: type[BaseException]) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    filled = filling(store, "there")
    filled.__enter__()
    store.change_items([ITEM])
    assert not filled.__exit__(failure, failure(), None)
    assert not store.items()
    assert store.note(UNFINISHED) is None
    store.close()


def test_what_a_killed_filling_has_left_is_removed_by_the_next_one(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    store.put_note(UNFINISHED, "there")
    store.change_items([ITEM])
    with filling(store, "elsewhere"):
        assert not store.items()
        assert store.note(UNFINISHED) == "elsewhere"
    store.close()
