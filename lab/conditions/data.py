"""The rows of a run: what carts draw from, and what no cart ever sees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from cart_common.process.settings import SettingError
from child_cart.db.store import is_held_out
from child_cart.model.arrays import Tree
from child_cart.model.csv_rows import read_rows
from child_cart.model.partition import Partition
from child_cart.model.task import Row, Task

from ..config import LabSettings
from .partition import RowPartition, partition_of
from .pool import Pool, pool_of

TEST_PART: Final = 0.2
SPLIT: Final = 601
LEAST_ROWS: Final = 3


class RunData:
    """The rows of a run.

    Args:
        pool: what carts draw from.
        test_rows: what models are measured on.
        task: makes arrays of rows.
        settings: say how rows are drawn.

    Attributes:
        test: inputs and targets of the test rows.
        words: how the rows are drawn, as a sentence.
    """

    def __init__(self, pool: Pool, test_rows: Sequence[Row], task: Task, settings: LabSettings) -> None:
        self.pool = pool
        self.test = task.arrays(test_rows)
        self._task = task
        self._partition, note = _partition(pool, task, settings)
        self.words = f"{self._partition.words}{note}; {len(test_rows):,} rows for the test."

    def rows_of(self, cart: int, round_number: int) -> list[Row]:
        """Return the rows that a cart gets in a round."""
        return [self.pool.rows[place] for place in self._partition.places(cart, round_number).tolist()]

    def sample(self, rows: int) -> tuple[Tree, ...]:
        """Return inputs and targets of as many rows as a cart trains on in its first round."""
        return self._task.arrays(trained_rows(self.pool.rows[:rows], 1))

    def arrays(self, rows: Sequence[Row]) -> tuple[Tree, ...]:
        """Return inputs and targets of rows."""
        return self._task.arrays(rows)


def trained_rows(rows: Sequence[Row], first: int) -> list[Row]:
    """Return the rows that a cart trains on: those that are not held out, where the first has this number."""
    return [row for number, row in enumerate(rows, first) if not is_held_out(number)]


def data_of(settings: LabSettings, task: Task) -> RunData:
    """Return the rows that a run's settings name.

    Raises:
        SettingError, CsvError: if there are none, or they do not suit the partition.
    """
    if settings.data:
        rows = read_rows(task, Path(settings.data))
        rows, test_rows = _split(rows, settings.seed, f"{settings.data} has {_counted(len(rows), 'row')}")
    else:
        rows = task.starter_rows(Partition())
        test_rows = task.test_rows() if hasattr(task, "test_rows") else []
        if not rows:
            raise SettingError(
                f"The task {task.name!r} has no starter rows: give rows of your own with --data rows.csv."
            )
        if not test_rows:
            rows, test_rows = _split(
                rows, settings.seed, f"The task {task.name!r} has {_counted(len(rows), 'starter row')}"
            )
    return RunData(pool_of(task, rows), test_rows, task, settings)


def _partition(pool: Pool, task: Task, settings: LabSettings) -> tuple[RowPartition, str]:
    """Return the partition, and what is to be said after its words."""

    def named(spec: str) -> RowPartition:
        return partition_of(spec, pool, task, settings.carts, settings.rows, settings.seed)

    if settings.partition != "auto":
        return named(settings.partition), ""
    if settings.data:
        return named("iid"), ""
    try:
        return named("own"), ""
    except SettingError:
        return named("iid"), "; iid, since the parts of the task hold other rows than its whole"


def _split(rows: Sequence[Row], seed: int, having: str) -> tuple[list[Row], list[Row]]:
    order = np.random.default_rng([seed, SPLIT]).permutation(len(rows)).tolist()
    test = round(TEST_PART * len(rows))
    if not test:
        raise SettingError(f"{having}: too few to keep a fifth for the test. Give at least {LEAST_ROWS}.")
    return [rows[place] for place in order[test:]], [rows[place] for place in order[:test]]


def _counted(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"
