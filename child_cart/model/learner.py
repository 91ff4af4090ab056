"""What the model package needs of a model, in any library."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .arrays import Array, Tree, Weights

EpochCallback = Callable[[int, int, float], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the mean loss."""


class Learner(Protocol):
    """A model that can train, predict, and exchange its weights.

    It may have a ``metric``, a ``TaskMetric``: how its predictions are measured where the task does not say; and a
    ``layout``, a ``Layout``: what its weights are. Its ``train`` may take ``sample_weights`` (rows,) as a further
    argument, for a task whose ``arrays`` gives them.
    """

    def weights(self) -> list[Array]:
        """Return copies of all weights, always in the same order."""

    def set_weights(self, weights: Weights) -> None:
        """Replace the weights by others of the same shapes."""

    def train(self, inputs: Tree, targets: Tree, report: EpochCallback) -> None:
        """Train on these rows, starting from the present weights. ``inputs``: (rows, ...), ``targets``: (rows, ...)."""

    def predict(self, inputs: Tree) -> Tree:
        """Return what the model says of each row: (rows, classes), (rows, 1), ..., or several outputs."""

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


def row_weights(
    targets: Tree, class_weight: Mapping[int, float] | None, sample_weights: Array | None
) -> NDArray[np.float32] | None:
    """Return how much each row counts in a training: (rows,); None if all count alike.

    Args:
        targets: (rows,) or (rows, 1) class numbers, or (rows, classes) one-hot; anything without class weights.
        class_weight: of each class; 1 for one that it does not name.
        sample_weights: (rows,), by which those of the classes are multiplied.
    """
    if class_weight is None:
        return None if sample_weights is None else np.asarray(sample_weights, np.float32)
    flat = targets.reshape(len(targets), -1)
    classes = flat.argmax(axis=1) if flat.shape[1] > 1 else flat[:, 0]
    weights = np.array([class_weight.get(int(one), 1.0) for one in classes], np.float32)
    return weights if sample_weights is None else weights * np.asarray(sample_weights, np.float32)
