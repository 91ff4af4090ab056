"""Learn digits 5 to 9 with a head of kilobytes on a frozen base of megabytes, which has learned digits 0 to 4."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from child_cart.model.arrays import Array
from child_cart.model.digits import OWN_DIGITS, PIXELS, Digits
from child_cart.model.partition import Partition, partition_rows
from child_cart.model.task import Row, TaskError

BASE = Path(__file__).with_name("base.npz")
CLASSES = 5


class FrozenBase(Digits):
    """Learn the digits that the base has never seen; only the head travels."""

    name = "frozen-base"
    path = BASE

    def build_model(self) -> Any:
        """Return the base of the file, frozen, with a head that is trained."""
        import keras

        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = [file[f"{place}"] for place in range(4)]
        except FileNotFoundError:
            raise TaskError(
                f"There is no base {self.path}: make it once with python -m examples.frozen_base.make_base, and give "
                "the same file to every cart."
            ) from None
        base = base_of(arrays[0].shape[1])
        base.set_weights(arrays)
        base.trainable = False
        model = keras.Sequential([keras.Input((PIXELS,)), base, keras.layers.Dense(CLASSES, "softmax")])
        model.compile(optimizer=keras.optimizers.SGD(0.3), loss="sparse_categorical_crossentropy")
        return model

    def starter_rows(self, partition: Partition) -> list[Row]:
        """Return the digits 5 to 9 of this partition: mostly two or three of the five."""
        rows = _unseen(super().starter_rows(Partition()))
        digits = [row["digit"] - CLASSES for row in rows]
        return [rows[place] for place in partition_rows(digits, CLASSES, partition, OWN_DIGITS, 2.0, seed=4)]

    def evaluation_rows(self) -> list[Row]:
        """Return digits 5 to 9 that no cart trains on."""
        return _unseen(super().evaluation_rows())

    def test_rows(self) -> list[Row]:
        """Return digits 5 to 9 that no cart ever sees."""
        return _unseen(super().test_rows())

    def arrays(self, rows: Sequence[Row]) -> tuple[Array, Array]:
        """Return inputs (rows, 64), each 0 to 1; targets (rows,), 0 for the digit 5 to 4 for the digit 9."""
        inputs, digits = super().arrays(rows)
        return inputs, digits % CLASSES


def base_of(width: int) -> Any:
    """Return a network that turns pixels into this many features."""
    import keras

    layers = [keras.layers.Dense(width, "relu"), keras.layers.Dense(width, "relu")]
    return keras.Sequential([keras.Input((PIXELS,)), *layers], name="base")


def _unseen(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row["digit"] >= CLASSES]
