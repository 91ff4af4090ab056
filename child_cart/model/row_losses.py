"""How wrong a model is on each row, more finely than a metric says it: plain arrays in, plain arrays out.

Of the highest score of some classes it is the cross-entropy, and of numbers the squared error, where the model has one
output. For all else, as yes or no, a label a step, several outputs and metrics of one's own, it is what the metric
itself says of a row.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from .arrays import Array, Tree, mapped, rows_in
from .task_metrics import BinaryAccuracy, ClassAccuracy, MeanAbsoluteError, TaskMetric

MOST_LOSS: Final = 5.0
"""Most that a row counts for: one that a model is sure about and wrong must not decide alone."""
MOST_OTHER_LOSS: Final = 1e30
"""The same where the metric says the losses, whose scale is not known: it holds off what is not finite alone."""
LEAST_KNOWN: Final = 0.05
"""Part of its loss by which a model must be better than its own answers given to other rows, or it knows nothing."""


def row_losses(metric: TaskMetric, predictions: Tree, targets: Tree) -> Array:
    """Return the loss of each row, lower is better: (rows,), finite.

    Of classes it is the cross-entropy in nats, of numbers the squared error over the variance of the targets, both at
    most 5; else the losses of the metric.

    Args:
        metric: how the task measures models.
        predictions: (rows, classes) probabilities or logits, (rows, numbers), or as the metric takes them.
        targets: (rows,) or (rows, 1) class numbers, (rows, classes) one-hot, (rows, numbers), or as the metric takes
            them.
    """
    if _is_of_classes(metric, predictions):
        rows = np.asarray(predictions, np.float64)
        losses = -_log_probabilities(rows)[np.arange(len(rows)), _classes(targets, rows.shape[-1])]
    elif _is_of_numbers(metric, predictions, targets):
        wanted = np.asarray(targets, np.float64).reshape(len(targets), -1)
        found = np.asarray(predictions, np.float64).reshape(len(targets), -1)
        with np.errstate(over="ignore", invalid="ignore"):
            losses = np.square(found - wanted).mean(axis=1) / (wanted.var(axis=0).mean() or 1.0)
    else:
        return _finite(metric.losses(predictions, targets), MOST_OTHER_LOSS)
    return _finite(losses, MOST_LOSS)


def guess_loss(metric: TaskMetric, predictions: Tree, targets: Tree) -> float:
    """Return the mean loss from which on a model knows nothing of the inputs.

    Of classes it is that of a model that gives all alike, of numbers that of their mean. Else it is 0.95 of the loss of
    the model's own answers, given to other rows.
    """
    if _is_of_classes(metric, predictions):
        return math.log(predictions.shape[-1])
    if _is_of_numbers(metric, predictions, targets):
        return 1.0
    order = np.random.default_rng(0).permutation(rows_in(predictions))
    mean = float(row_losses(metric, mapped(lambda array: array[order], predictions), targets).mean())
    return mean - LEAST_KNOWN * abs(mean)


def alike(metric: TaskMetric, targets: Tree, taught: Tree) -> Array:
    """Return which targets are among those that a training has taught: (rows,) of truth values.

    Of classes and of yes or no the same ones count, of single numbers their range; of all else every row does.

    Args:
        metric: how the task measures models.
        targets: (rows, ...), as of ``row_losses``.
        taught: the same of the rows of the training.
    """
    if isinstance(targets, np.ndarray) and isinstance(taught, np.ndarray):
        if type(metric) is ClassAccuracy and targets.ndim <= 2:
            return np.isin(_classes(targets), _classes(taught))
        if targets.size == len(targets) and taught.size:
            flat, flat_taught = targets.reshape(-1), taught.reshape(-1)
            if type(metric) is BinaryAccuracy:
                return np.isin(flat, flat_taught)
            return np.asarray((flat >= flat_taught.min()) & (flat <= flat_taught.max()))
    return np.ones(rows_in(targets), bool)


def _is_of_classes(metric: TaskMetric, predictions: Tree) -> bool:
    is_one = type(metric) is ClassAccuracy and isinstance(predictions, np.ndarray)
    return bool(is_one and predictions.ndim == 2 and predictions.shape[-1] > 1)


def _is_of_numbers(metric: TaskMetric, predictions: Tree, targets: Tree) -> bool:
    is_one = isinstance(predictions, np.ndarray) and isinstance(targets, np.ndarray)
    return type(metric) is MeanAbsoluteError and is_one


def _classes(targets: Array, classes: int | None = None) -> Array:
    """Return class numbers: (rows,); of several columns, or as many as there are classes, they are one-hot."""
    is_one_hot = targets.ndim > 1 and targets.shape[-1] > 1 and classes in (None, targets.shape[-1])
    found = targets.argmax(axis=-1) if is_one_hot else targets.reshape(len(targets))
    return np.asarray(found, np.int64)


def _finite(losses: Any, most: float) -> Array:
    # A model that says nothing at all is as wrong as one can be.
    return np.asarray(np.nan_to_num(np.minimum(losses, most), nan=most))


def _log_probabilities(rows: Array) -> Array:
    sums = rows.sum(axis=1)
    if (rows >= 0).all() and np.allclose(sums, 1.0, atol=1e-2):
        return np.log(np.maximum(rows, 1e-12))
    shifted = rows - rows.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
