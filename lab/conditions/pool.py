"""The rows that an experiment draws from, and the class of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cart_common.process.settings import SettingError
from child_cart.model.arrays import Array, leaves
from child_cart.model.task import Row, Task

MOST_CLASSES: Final = 10
"""Fractional targets with more different values than this are a regression's, and are divided into deciles."""

Places = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The rows that an experiment draws from.

    Attributes:
        rows: all of them.
        labels: the class of each row: (rows,).
    """

    rows: Sequence[Row]
    labels: Places


def pool_of(task: Task, rows: Sequence[Row]) -> Pool:
    """Return these rows with the labels that the task's targets give.

    Raises:
        SettingError: if there are no rows.
    """
    if not rows:
        raise SettingError(f"The task {task.name!r} brings no rows; --data must name a file with rows to learn from.")
    return Pool(rows, labels_of(leaves(task.arrays(rows)[1])[0]))


def labels_of(targets: Array) -> Places:
    """Return the class of each row: class numbers as they are, the place of a one-hot, else the decile of the number.

    Args:
        targets: (rows, ...); several numbers of a row count as their mean.
    """
    columns = targets.reshape(len(targets), -1)
    if columns.shape[1] > 1:
        is_one_hot = np.isin(columns, (0, 1)).all() and (columns.sum(axis=1) == 1).all()
        numbers = columns.argmax(axis=1) if is_one_hot else columns.mean(axis=1)
    else:
        numbers = columns[:, 0]
    if numbers.dtype.kind in "iub":
        return np.asarray(numbers, np.int64)
    values = np.unique(numbers)
    bounds = values[1:] if len(values) <= MOST_CLASSES else np.quantile(numbers, np.arange(1, 10) / 10)
    return np.asarray(np.searchsorted(bounds, numbers, side="right"), np.int64)
