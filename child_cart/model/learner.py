"""What the model package needs of a model, in any library."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

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


def accuracy(learner: Learner, inputs: Array, targets: Array) -> float:
    """Return the fraction of rows whose highest score is the right class; 0 for no rows.

    Args:
        learner: the model.
        inputs: (rows, ...).
        targets: (rows,) class numbers, or (rows, classes) one-hot.
    """
    if len(inputs) == 0:
        return 0.0
    classes = targets.argmax(axis=-1) if targets.ndim > 1 else targets
    return float((learner.predict(inputs).argmax(axis=-1) == classes).mean())
