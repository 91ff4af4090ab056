"""Check rows that come back as they were stored: what ``parse_row`` returned once need not be what it takes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import numpy as np

from .arrays import leaves
from .task import Row, RowError, Task, checked_row

_OWN_CHECK: Final = "stored_row"


class StoredRowCheck:
    """Checks the rows of one archive.

    A task may say itself what a stored row is (``stored_row``). Otherwise ``parse_row`` is a check of the rows that it
    gives back as they are. A row that it makes another of is kept as it is, if the task makes finite arrays of it; so
    is one that it refuses, unless it has given back every row before.

    Args:
        task: whose rows they are.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._own = getattr(task, _OWN_CHECK, None)
        self._gives_back: bool | None = None
        """Whether ``parse_row`` has given back every row so far; None before the first."""

    def __call__(self, fields: Row, row: Row, is_same: Callable[[Row], bool]) -> Row:
        """Return the row that is kept.

        Args:
            fields: what ``parse_row`` takes.
            row: as it was stored.
            is_same: tells whether a row is the stored one.

        Raises:
            RowError: if it is not a row of the task.
        """
        if self._own is not None:
            return _plain(self._own(fields))
        try:
            parsed = checked_row(self._task, fields)
            is_given_back = is_same(parsed)
        except Exception:
            if self._gives_back:
                raise
            is_given_back = False
        self._gives_back = is_given_back and self._gives_back is not False
        if is_given_back:
            return parsed  # the stored row; where a cell does not tell a number from its text, the task does
        self._check_arrays(_plain(row))
        return row

    def _check_arrays(self, row: Row) -> None:
        try:
            arrays = [np.asarray(array) for array in leaves(self._task.arrays([row]))]
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
