"""What a cart has stored comes back as it was: what an earlier version took is no reason to refuse a backup."""

from __future__ import annotations

import pytest

from child_cart.db.records import BillLine, Item, Sale
from child_cart.operation.import_checks import import_checks
from tests.support.carts.light_task import LightTask

CHECKS = import_checks(LightTask())


@pytest.mark.parametrize(
    "code", ["12345678901234", "10.0", "1.00", "012345678905", "978-0-306-40615-7", "1E5", "01234565"]
)
def test_an_item_keeps_the_code_that_it_was_stored_under(code: str) -> None:
    item = Item(code, "Bolts", 1, 100)
    assert CHECKS.item(item) == item


@pytest.mark.parametrize("code", ["", "-1", "a b", "a\n", "x" * 65, "=1", "\u0661"])
def test_what_no_version_stores_is_no_code(code: str) -> None:
    with pytest.raises(ValueError, match="code is"):
        CHECKS.item(Item(code, "Bolts", 1, 100))


def sold_on(day: str) -> Sale:
    return Sale("s", 86_500.0, day, 0, (BillLine("A1", "Bolts", 1, 100, 1),), 100)


@pytest.mark.parametrize("day", ["1970-01-02", "2099-12-31", "2024-02-29"])
def test_a_sale_of_a_day_when_the_clock_was_wrong_comes_back(day: str) -> None:
    assert CHECKS.sale(sold_on(day)) == sold_on(day)


@pytest.mark.parametrize("day", ["", "2026-02-29", "20260501", "2026-W01-1", "today", "=2026-05-01"])
def test_what_is_no_day_is_refused(day: str) -> None:
    with pytest.raises(ValueError, match="sold_on is"):
        CHECKS.sale(sold_on(day))
