"""Flip the labels of rows of any task: find the fields that decide the target alone, and exchange their values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

import numpy as np

from cart_common.process.settings import SettingError
from child_cart.model.task import Row, Task

from .pool import labels_of

TRIED_ROWS: Final = 20


class LabelFlipper:
    """Flips the labels of rows of one task.

    Args:
        task: its evaluation rows show what other labels look like.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self._examples = task.evaluation_rows()

    def flipped(self, rows: Sequence[Row]) -> list[Row]:
        """Return the rows with the labels in reverse order: of ten, the first becomes the last, the second the ninth.

        Labels are those of the rows and of the task's evaluation rows; if there is only one, the rows stay as they are.

        Raises:
            SettingError: if no field of the rows decides the target alone.
        """
        known = [*rows, *self._examples]
        if not rows:
            return []
        found, examples, which = np.unique(
            labels_of(self.task.arrays(known)[1]), return_index=True, return_inverse=True
        )
        fields = label_fields(known, self.task)
        if len(found) > 1 and not fields:
            raise SettingError(
                f"--hostile cannot flip the labels of {self.task.name!r}: no field decides the target alone."
            )
        mirrors = [known[example] for example in examples[::-1]]
        return [
            {**row, **{field: mirrors[label][field] for field in fields}}
            for row, label in zip(rows, which[: len(rows)].tolist(), strict=True)
        ]


def label_fields(rows: Sequence[Row], task: Task) -> list[str]:
    """Return the fields whose values change the target of a row and never its input."""
    inputs, targets = task.arrays(rows)
    first = rows[0]
    others = [number for number in range(1, len(rows)) if not np.array_equal(targets[number], targets[0])]
    found = []
    for field in first:
        trials = [{**first, field: rows[n][field]} for n in islice(others, TRIED_ROWS) if field in rows[n]]
        if not trials:
            continue
        tried_inputs, tried_targets = task.arrays(trials)
        if (tried_inputs == inputs[0]).all() and (tried_targets != targets[0]).any():
            found.append(field)
    return found
