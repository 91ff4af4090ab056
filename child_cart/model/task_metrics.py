"""How a task measures a model: predictions and targets in, a loss for each row and one value out. Pure NumPy.

A task brings its own by deriving from ``TaskMetric``. Otherwise the model's loss and output decide which is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Final

import numpy as np

from .arrays import Array, Tree
from .metric import ACCURACY, Metric, MetricDirection

HALF: Final = 0.5


class TaskMetric(ABC):
    """Measures predictions.

    Attributes:
        metric: name, unit and direction of the value.
    """

    metric: Metric

    @abstractmethod
    def losses(self, predictions: Tree, targets: Tree) -> Array:
        """Return what each row costs, lower is better: (rows,), float64.

        Two models that are measured on the same rows can be compared row by row. The value depends on the mean of the
        losses alone, and gets better as it falls.

        Args:
            predictions: (rows, ...), or several outputs as the model gives them.
            targets: (rows, ...), or several as the task gives them.
        """

    def value(self, predictions: Tree, targets: Tree) -> float:
        """Return the value for these rows, of which there must be one at least: ``value_of`` their losses."""
        return self.value_of(self.losses(predictions, targets))

    def value_of(self, losses: Array) -> float:
        """Return the value for rows of these losses: their mean, or 1 minus it where higher is better."""
        mean = float(np.mean(losses))
        return 1 - mean if self.metric.is_higher_better else mean

    def labels(self, predictions: Tree, targets: Tree) -> Array | None:
        """Return the targets by which these predictions would be right; None where this metric cannot say that.

        Args:
            predictions: (rows, ...).
            targets: of any model for as many rows; the labels are of their form and dtype.
        """
        return None


class ClassAccuracy(TaskMetric):
    """The fraction of rows, or of steps, whose highest score is the right class.

    Predictions are (rows, classes) or (rows, steps, classes), probabilities or logits; targets are class numbers, with
    or without a last axis of one, or one-hot.
    """

    metric = ACCURACY

    def losses(self, predictions: Tree, targets: Tree) -> Array:
        """Return 0 for a row that is right and 1 for one that is wrong; of several steps their mean: (rows,)."""
        scores, wanted = _one(predictions), _one(targets)
        if wanted.ndim == scores.ndim and wanted.shape[-1] == scores.shape[-1] and scores.shape[-1] > 1:
            wanted = wanted.argmax(axis=-1)
        wanted = wanted.reshape(scores.shape[:-1])
        return _row_means(scores.argmax(axis=-1) != wanted)

    def labels(self, predictions: Tree, targets: Tree) -> Array | None:
        """Return the class of the highest score of each row or step: (rows, ...)."""
        scores, wanted = _one(predictions), _one(targets)
        classes: Array = scores.argmax(axis=-1)
        if wanted.shape == scores.shape and scores.shape[-1] > 1:
            classes = np.eye(scores.shape[-1])[classes]
        return classes.reshape(wanted.shape).astype(wanted.dtype)


class BinaryAccuracy(TaskMetric):
    """The fraction of right answers of one unit, or of several that each answer yes or no.

    Predictions are (rows,), (rows, 1) or (rows, labels). Targets have as many elements: 0 or 1, or -1 or 1.

    Args:
        threshold: the prediction above which the answer is yes: 0.5 for a probability, 0 for a logit.
    """

    metric = ACCURACY

    def __init__(self, threshold: float = HALF) -> None:
        self.threshold = threshold

    def losses(self, predictions: Tree, targets: Tree) -> Array:
        """Return the fraction of wrong answers of each row: (rows,)."""
        scores = _one(predictions)
        wanted = _one(targets).reshape(scores.shape)
        return _row_means((scores > self.threshold) != (wanted > HALF))

    def labels(self, predictions: Tree, targets: Tree) -> Array | None:
        """Return each answer as 1, or else as the lowest of the targets, which is 0 or -1: (rows, ...)."""
        wanted = _one(targets)
        answers = _one(predictions).reshape(wanted.shape) > self.threshold
        return np.where(answers, 1, min(wanted.min(), 0)).astype(wanted.dtype)


class MeanAbsoluteError(TaskMetric):
    """How far predicted numbers are from the right ones, in the unit of the targets.

    Predictions and targets have as many elements: (rows,), (rows, 1), (rows, numbers) or (rows, steps, numbers).

    Args:
        unit: of the targets; empty if it is not known.
    """

    def __init__(self, unit: str = "") -> None:
        self.metric = Metric("mean absolute error", unit, MetricDirection.LOWER)

    def losses(self, predictions: Tree, targets: Tree) -> Array:
        """Return the mean absolute error of each row: (rows,)."""
        found = _one(predictions)
        return _row_means(np.abs(found.astype(np.float64) - _one(targets).reshape(found.shape).astype(np.float64)))

    def labels(self, predictions: Tree, targets: Tree) -> Array | None:
        """Return the predicted numbers: (rows, ...)."""
        wanted = _one(targets)
        return _one(predictions).reshape(wanted.shape).astype(wanted.dtype)


def metric_of(task: Any, default: TaskMetric | None) -> TaskMetric:
    """Return how a task's models are measured: by its own ``metric``, else by the model's, else by accuracy.

    Raises:
        TypeError: if the task's metric is not a ``TaskMetric``.
    """
    own = getattr(task, "metric", None)
    found = own if own is not None else default or ClassAccuracy()
    if not isinstance(found, TaskMetric):
        raise TypeError(
            f"The metric of the task is {found!r}; it must be a TaskMetric of child_cart.model.task_metrics"
        )
    return found


def _one(tree: Tree) -> Array:
    """Return the only array of a tree."""
    while isinstance(tree, dict | list | tuple):
        (tree,) = tree.values() if isinstance(tree, dict) else tree
    return np.asarray(tree)


def _row_means(elements: Array) -> Array:
    means: Array = np.asarray(elements, np.float64).reshape(len(elements), -1).mean(axis=1)
    return means
