"""How wrong a model is on each row: plain arrays in, plain arrays out."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from .arrays import Array

MOST_LOSS: Final = 5.0
"""Most that a row counts for: one that a model is sure about and wrong must not decide alone."""


def row_losses(scores: Array, targets: Array) -> Array:
    """Return the loss of each row, from 0 to 5: (rows,).

    Of classes it is the cross-entropy in nats; of numbers the squared error over the variance of the targets.

    Args:
        scores: (rows, classes) probabilities or logits, or (rows, numbers).
        targets: (rows,) class numbers, (rows, classes) one-hot, or (rows, numbers).
    """
    if len(targets) == 0:
        return np.zeros(0)
    rows = np.asarray(scores, np.float64).reshape(len(targets), -1)
    if _of_classes(scores, targets):
        classes = targets.argmax(axis=-1) if targets.ndim > 1 else targets
        losses = -_log_probabilities(rows)[np.arange(len(rows)), classes]
    else:
        wanted = np.asarray(targets, np.float64).reshape(len(targets), -1)
        losses = np.square(rows - wanted).mean(axis=1) / (wanted.var(axis=0).mean() or 1.0)
    # A model that says nothing at all is as wrong as one can be.
    return np.asarray(np.nan_to_num(np.minimum(losses, MOST_LOSS), nan=MOST_LOSS))


def guess_loss(scores: Array, targets: Array) -> float:
    """Return the mean loss of a model that knows nothing of the inputs: it gives all classes alike, or the mean."""
    return math.log(scores.shape[-1]) if _of_classes(scores, targets) else 1.0


def alike(targets: Array, taught: Array) -> Array:
    """Return which targets are among those that a training has taught: (rows,) of truth values.

    Args:
        targets: (rows, ...), as of ``row_losses``.
        taught: the same of the rows of the training; of numbers their range counts.
    """
    if targets.ndim > 1 and targets.shape[-1] > 1:
        targets, taught = targets.argmax(axis=-1), taught.argmax(axis=-1)
    flat, flat_taught = targets.reshape(-1), taught.reshape(-1)
    if targets.dtype.kind in "iu":
        return np.isin(flat, flat_taught)
    return np.asarray((flat >= flat_taught.min()) & (flat <= flat_taught.max()))


def _of_classes(scores: Array, targets: Array) -> bool:
    if scores.ndim < 2 or scores.shape[-1] < 2:
        return False
    one_hot = targets.ndim > 1 and targets.shape == scores.shape and bool((targets.sum(axis=-1) == 1).all())
    return one_hot or (targets.ndim == 1 and targets.dtype.kind in "iu")


def _log_probabilities(rows: Array) -> Array:
    sums = rows.sum(axis=1)
    if (rows >= 0).all() and np.allclose(sums, 1.0, atol=1e-2):
        return np.log(np.maximum(rows, 1e-12))
    shifted = rows - rows.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
