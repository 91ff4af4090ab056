"""Selling: items and prices from the catalogue, sales into the store. Every method may be called from any thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Final

from cart_common.process.json_values import Json

from ..db.records import Item, Sale
from ..db.store import Store
from ..model.task import SoldLine, Task
from . import billing
from .catalogue import written_price
from .checkout_limit import CheckoutLimit

NAMED_CHANGES: Final = 3
"""How many changed lines a sentence names; a bill may have hundreds."""


class CheckoutService:
    """The till.

    Args:
        store: holds the catalogue, and takes sales and the rows that they make.
        task: makes rows from what was sold.
        rows_added: is called when a sale has made rows.
        limit: bounds how often a stranger checks out.
        days_back: how many days ago a stranger's sale may have been.
    """

    def __init__(
        self, store: Store, task: Task, rows_added: Callable[[], None], limit: CheckoutLimit, days_back: int
    ) -> None:
        self._store = store
        self._task = task
        self._rows_added = rows_added
        self._limit = limit
        self._days_back = days_back

    def items(self) -> list[Item]:
        """Return the items that are sold."""
        return [item for item in self._store.items() if not item.retired]

    def quote(self, lines: object) -> billing.Bill:
        """Return the priced bill of lines, without selling anything; it says what differs from the prices seen.

        Raises:
            BillError: if the lines make no bill.
        """
        return billing.price(lines, billing.index(self._store.items()))

    def sale(self, sale_id: str) -> Sale | None:
        """Return what was sold under this id, or None."""
        return self._store.sale(sale_id)

    def newest_sales(self, limit: int) -> list[Sale]:
        """Return the last sales, the newest first."""
        return self._store.sales(limit)

    def check_out(self, sale_id: str, request: Json, stranger: str | None = None) -> tuple[Sale, bool]:
        """Sell a bill: keep the sale and the rows it makes. Returns the sale, and False if it was kept before.

        Args:
            sale_id: the same one in each repetition of a request.
            request: ``gender``, ``lines``, and ``sold_on`` for a day other than today.
            stranger: the address of who asks, which has limits; None for the operator and programs, which have none.

        Raises:
            BillChanged: if a price is higher than the shopper has seen, or an item is no longer sold.
            BillError: if the request makes no sale; nothing is kept then.
            TooManySales: if the stranger has checked out too often; nothing is kept then.
        """
        kept = self._store.sale(sale_id)
        if kept is not None:
            return kept, False  # a receipt shows what was sold, whatever the repeated request says
        gender = billing.shopper(request.get("gender"))
        days_back = None if stranger is None else self._days_back
        day = billing.sale_day(request.get("sold_on"), date.today(), days_back)
        bill = self.quote(request.get("lines"))
        if any(change.needs_consent for change in bill.changes):
            raise billing.BillChanged(changes_sentence(bill), bill)
        sale = Sale(sale_id, time.time(), day.isoformat(), gender, bill.lines, bill.total_cents)
        sold = [SoldLine(day, line.category, gender, line.amount) for line in bill.lines]
        rows = [row for row in map(self._task.sale_row, sold) if row is not None]
        with self._counted(stranger):
            added = self._store.record_sale(sale, rows)
        if rows:
            self._rows_added()
        return sale if added else self._store.sale(sale_id) or sale, added

    @contextmanager
    def _counted(self, stranger: str | None) -> Iterator[None]:
        """Count a stranger's sale; a sale that fails in this block counts for nothing."""
        if stranger is None:
            yield
            return
        self._limit.take(stranger, time.monotonic())
        try:
            yield
        except BaseException:
            self._limit.give_back(stranger, time.monotonic())
            raise


def changes_sentence(bill: billing.Bill) -> str:
    """Return what a shopper has to agree to before the bill can be sold."""
    changes = [change for change in bill.changes if change.needs_consent]
    told = [_change_words(change) for change in changes[:NAMED_CHANGES]]
    more = [f"{len(changes) - NAMED_CHANGES} more lines have changed."] if len(changes) > NAMED_CHANGES else []
    return " ".join(
        [
            *told,
            *more,
            f"The total is {written_price(bill.total_cents)} now. Nothing was sold: check out again to agree.",
        ]
    )


def _change_words(change: billing.LineChange) -> str:
    name = change.name[:40]
    if change.price_cents is None:
        return f"{name} is no longer sold: take it off the bill."
    return f"{name} costs {written_price(change.price_cents)} now, not {written_price(change.seen_cents)}."
