"""Check rows that come back as they were stored: what ``parse_row`` returned once need not be what it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import numpy as np

from .task import Row, RowError, Task, checked_row

_OWN_CHECK: Final = "stored_row"


class StoredRowCheck:
    """Checks the rows of one archive.

    A task may say itself what a stored row is (``stored_row``). Otherwise the first row decides: if ``parse_row`` gives
    it back as it is, all rows must pass ``parse_row``; if not, the task must make finite arrays of each row.

    Args:
        task: whose rows they are.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._own = getattr(task, _OWN_CHECK, None)
        self._is_parsed: bool | None = None

    def __call__(self, fields: Row, row: Row, is_same: Callable[[Row], bool]) -> Row:
        """Return the row that is kept.

        Args:
            fields: what ``parse_row`` takes.
            row: as it was stored.
            is_same: tells whether a row is the stored one.

        Raises:
            RowError: if it is not a row of the task.
        """
        if self._is_parsed is None:
            self._is_parsed = self._own is not None or self._gives_back(fields, is_same)
        if self._is_parsed:
            return checked_row(self._task, fields) if self._own is None else _plain(self._own(fields))
        self._check_arrays(_plain(row))
        return row

    def _gives_back(self, fields: Row, is_same: Callable[[Row], bool]) -> bool:
        try:
            return is_same(checked_row(self._task, fields))
        except Exception:
            return False

    def _check_arrays(self, row: Row) -> None:
        try:
            arrays = [np.asarray(array) for array in self._task.arrays([row])]
        except Exception as error:
            raise RowError(f"the task cannot learn from it ({type(error).__name__}: {error})") from None
        if not all(np.isfinite(array).all() for array in arrays if array.dtype.kind == "f"):
            raise RowError("the task makes numbers of it that are not finite")


def _plain(row: Row) -> Row:
    try:
        json.dumps(row, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RowError(f"it cannot be kept ({error})") from None
    return row
