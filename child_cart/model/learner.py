"""What the model package needs of a model, in any library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, Weights

EpochCallback = Callable[[int, int, float], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the mean loss."""


class Learner(Protocol):
    """A model that can train, predict, and exchange its weights."""

    def weights(self) -> list[Array]:
        """Return copies of all weights, always in the same order."""

    def set_weights(self, weights: Weights) -> None:
        """Replace the weights by others of the same shapes."""

    def train(self, inputs: Array, targets: Array, report: EpochCallback) -> None:
        """Train on these rows, starting from the present weights. ``inputs``: (rows, ...), ``targets``: (rows, ...)."""

    def predict(self, inputs: Array) -> Array:
        """Return the scores of the classes: (rows, classes)."""

    def export(self, kind: str, target: Path) -> None:
        """Write the model as ``keras`` or ``tflite``.

        Raises:
            ExportError: if this model has no such form.
        """


class ExportError(Exception):
    """A model cannot be written in this format; the message says why."""


def epoch_orders(rows: int, epochs: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the order in which each epoch of a training takes its rows: one permutation an epoch."""
    random = np.random.default_rng(seed)
    return [random.permutation(rows) for _ in range(epochs)]


def right_count(scores: Array, targets: Array) -> int:
    """Return how many rows have their highest score at the right class.

    Args:
        scores: (rows, classes).
        targets: (rows,) class numbers, or (rows, classes) one-hot.
    """
    classes = targets.argmax(axis=-1) if targets.ndim > 1 else targets
    return int((scores.argmax(axis=-1) == classes).sum())


def accuracy(learner: Learner, inputs: Array, targets: Array) -> float:
    """Return the fraction of rows whose highest score is the right class; 0 for no rows.

    Args:
        learner: the model.
        inputs: (rows, ...).
        targets: (rows,) class numbers, or (rows, classes) one-hot.
    """
    return right_count(learner.predict(inputs), targets) / len(inputs) if len(inputs) else 0.0
