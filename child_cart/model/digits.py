"""The built-in task ``digits``: the 1,797 handwritten digits that ship with scikit-learn (8 x 8 pixels, 0 to 16).

Source of the data: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, 1998. The
partition is uneven: a cart sees mostly two or three of the ten digits, and cannot learn the rest alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np

from .arrays import Array
from .partition import Partition, partition_rows
from .task import KerasTask, Row, RowError, row_parsed_by, whole_number

PIXELS: Final = 64
BRIGHTEST: Final = 16
DIGITS: Final = 10
TEST_ROWS: Final = 297
"""Rows that no cart ever sees; they measure the result of an experiment."""
EVALUATION_ROWS: Final = 100
OWN_DIGITS: Final = 0.975
"""Fraction of a digit's rows that goes to the carts that own the digit."""
DIGITS_PER_CART: Final = 3.0


class Digits(KerasTask):
    """Learn to read handwritten digits."""

    name = "digits"
    seed = 64
    epochs = 10
    batch_size = 8

    def build_model(self) -> Any:
        """Return a 64-256-10 dense network."""
        import keras  # noqa: PLC0415 - takes seconds; only the trainer needs it

        model = keras.Sequential(
            [
                keras.Input((PIXELS,)),
                keras.layers.Dense(256, activation="relu"),
                keras.layers.Dense(DIGITS, activation="softmax"),
            ]
        )
        # Not Adam: its per-weight steps pull apart the models that see different digits, and their average knows less.
        model.compile(optimizer=keras.optimizers.SGD(0.3), loss="sparse_categorical_crossentropy")
        return model

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        """Return pixels (64 numbers from 0 to 16) and digit (0-9)."""
        return row_parsed_by(
            {
                "pixels": lambda: _pixels(fields.get("pixels")),
                "digit": lambda: whole_number(fields, "digit", 0, DIGITS - 1),
            }
        )

    def stored_row(self, row: Mapping[str, object]) -> Row:
        """Check a row that comes back from an export: rows are stored as they are parsed."""
        return self.parse_row(row)

    def starter_rows(self, partition: Partition) -> list[Row]:
        """Return the digits of this partition: mostly two or three of the ten."""
        pool = _rows()[TEST_ROWS + EVALUATION_ROWS :]
        digits = [row["digit"] for row in pool]
        return [pool[place] for place in partition_rows(digits, DIGITS, partition, OWN_DIGITS, DIGITS_PER_CART, seed=4)]

    def evaluation_rows(self) -> list[Row]:
        """Return 100 digits of all kinds that no cart trains on."""
        return _rows()[TEST_ROWS : TEST_ROWS + EVALUATION_ROWS]

    def test_rows(self) -> list[Row]:
        """Return 297 digits that no cart ever sees."""
        return _rows()[:TEST_ROWS]

    def arrays(self, rows: Sequence[Row]) -> tuple[Array, Array]:
        """Return inputs (rows, 64), each 0 to 1; targets (rows,), the digits."""
        inputs = np.array([row["pixels"] for row in rows], np.float32).reshape(-1, PIXELS) / BRIGHTEST
        return inputs, np.array([row["digit"] for row in rows], np.int64)


def _pixels(value: object) -> list[int]:
    if not isinstance(value, list) or len(value) != PIXELS:
        raise RowError(f"pixels must be a list of {PIXELS} numbers")
    return [whole_number({"pixel": pixel}, "pixel", 0, BRIGHTEST) for pixel in value]


@cache
def _rows() -> list[Row]:
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second; only the trainer needs it

    data = load_digits()
    order = np.random.default_rng(5).permutation(len(data.target))
    return [{"pixels": [int(p) for p in data.data[k]], "digit": int(data.target[k])} for k in order]
