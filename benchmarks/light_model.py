"""Tasks to measure rounds without learning: models of given sizes in NumPy that do not train, scored on few rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from child_cart.model.arrays import Array, Weights
from child_cart.model.learner import EpochCallback
from child_cart.model.task import KerasTask, Row, whole_number

INPUTS = 2
CLASSES = 7
ROWS = 32
NOISE = 1e-3


class Dense:
    """A ``Learner`` with layers as those of ``shopping-dense``, of any width, that never learns."""

    def __init__(self, width: int) -> None:
        random = np.random.default_rng(1)
        sides = [(INPUTS, width), (width,), (width, width), (width,), (width, CLASSES), (CLASSES,)]
        self._weights = [random.standard_normal(side).astype(np.float32) / np.float32(width) for side in sides]

    def weights(self) -> list[Array]:
        """Return copies of all weights."""
        return [array.copy() for array in self._weights]

    def set_weights(self, weights: Weights) -> None:
        """Replace all weights."""
        self._weights = [np.array(array) for array in weights]

    def train(self, inputs: Array, targets: Array, report: EpochCallback) -> None:
        """Learn nothing, but become another model than that of any other cart: the same one counts once in a mix."""
        self._weights[1] += np.float32(NOISE) * np.random.default_rng().standard_normal(
            self._weights[1].shape, np.float32
        )

    def predict(self, inputs: Array) -> Array:
        """Return the scores of the classes."""
        values = inputs
        for place in (0, 2, 4):
            values = values @ self._weights[place] + self._weights[place + 1]
            values = np.maximum(values, 0) if place < 4 else values
        return values


class _Light(KerasTask):
    width = 0

    def build_learner(self) -> Dense:
        """Return the model."""
        return Dense(self.width)

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        """Return the class."""
        return {"class": whole_number(fields, "class", 0, CLASSES - 1)}

    def evaluation_rows(self) -> list[Row]:
        """Return a few rows of each class."""
        return [{"class": place % CLASSES} for place in range(ROWS)]

    def arrays(self, rows: Sequence[Row]) -> tuple[Array, Array]:
        """Return inputs (rows, 2) and targets (rows,)."""
        classes = np.array([row["class"] for row in rows], np.int64)
        return np.stack([classes, classes % 2], axis=1).astype(np.float32).reshape(-1, INPUTS), classes


class Light1(_Light):
    """A model of 1.07 MB."""

    name = "light-1"
    width = 512


class Light25(_Light):
    """A model of 25.1 MB."""

    name = "light-25"
    width = 2500
