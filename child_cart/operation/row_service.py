"""Rows that programs send to be learned from, beside those that sales make."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from cart_common.process.json_values import Json

from ..db.records import SetAsideRow
from ..db.store import Store
from ..model.task import RowError, Task, checked_row
from . import set_aside_csv

NAMED_ROWS: Final = 5
"""How many wrong rows an error names; a batch may have thousands."""
MOST_WRITTEN: Final = 100_000


class RowService:
    """Takes rows into the store, and shows those that spoil trainings. Every method may be called from any thread.

    Args:
        store: where rows are kept.
        task: checks them.
        rows_added: is called after each batch.
    """

    def __init__(self, store: Store, task: Task, rows_added: Callable[[], None]) -> None:
        self._store = store
        self._task = task
        self._rows_added = rows_added

    def add(self, batch_id: str, rows: Sequence[object]) -> bool:
        """Keep a batch of rows. Returns False, and keeps nothing more, if the batch was kept before.

        Raises:
            RowError: naming the rows that the task does not take; no row is kept then.
        """
        added = self._store.record_rows(batch_id, self._checked(rows))
        self._rows_added()
        return added

    def set_aside(self, limit: int) -> list[SetAsideRow]:
        """Return the rows that are set aside, the newest rows first."""
        return self._store.set_aside_rows(limit)

    def set_aside_csv(self) -> str:
        """Return them as CSV."""
        return set_aside_csv.written(self._store.set_aside_rows(MOST_WRITTEN))

    def _checked(self, rows: Sequence[object]) -> list[Json]:
        checked, wrong = [], []
        for place, fields in enumerate(rows, 1):
            if not isinstance(fields, dict):
                wrong.append(f"Row {place} is not an object with fields.")
                continue
            try:
                checked.append(checked_row(self._task, fields))
            except RowError as error:
                wrong.append(f"Row {place}: {error}.")
        if wrong:
            more = [f"{len(wrong) - NAMED_ROWS} more rows are wrong."] if len(wrong) > NAMED_ROWS else []
            raise RowError(" ".join([*wrong[:NAMED_ROWS], *more]))
        return checked
