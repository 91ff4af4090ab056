"""Rows with the labels that the old model gives them: a training that takes them, too, does not forget what it knew.

They are the task's evaluation rows, which are public, so no private row is used a second time. Their own labels are not
taken: they measure models.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from .arrays import Tree, leaves, mapped
from .task import Row
from .task_metrics import TaskMetric


def drawn_rows(rows: Sequence[Row], most: int, seed: int) -> list[Row]:
    """Return at most this many of the rows, as the seed decides."""
    return random.Random(seed).sample(rows, min(most, len(rows)))  # noqa: S311


def with_labels(metric: TaskMetric, arrays: Sequence[Tree], predictions: Tree) -> Sequence[Tree]:
    """Return the arrays of rows with these predictions as targets; none where the metric makes no targets of them.

    Args:
        metric: of the task.
        arrays: inputs and targets of the rows, and what else the task gives.
        predictions: what the model says of these inputs.
    """
    inputs, targets, *more = arrays
    if len(leaves(targets)) != 1 or len(leaves(predictions)) != 1:
        return ()
    labels = metric.labels(predictions, targets)
    return () if labels is None else (inputs, mapped(lambda _: labels, targets), *more)
