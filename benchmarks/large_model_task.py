"""A task whose model is a dense network of a given size that Adam trains: to measure what large models take."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from child_cart.model.arrays import Array
from child_cart.model.task import KerasTask, Row, whole_number

MEGABYTES = "BENCH_MODEL_MEGABYTES"
"""The environment variable with the size of the weights file."""
CLASSES = 7


class Large(KerasTask):
    """Learn nothing of use from few rows."""

    name = "large"
    epochs = 2

    def build_model(self) -> Any:
        """Return a network with one square layer that has nearly all weights."""
        import keras  # noqa: PLC0415 - takes seconds; only the trainer needs it

        width = math.isqrt(int(float(os.environ[MEGABYTES]) * 1e6 / 4))
        layers = [keras.Input((2,)), keras.layers.Dense(width), keras.layers.Dense(width), keras.layers.Dense(CLASSES)]
        model = keras.Sequential(layers)
        model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        """Return the class."""
        return {"class": whole_number(fields, "class", 0, CLASSES - 1)}

    def arrays(self, rows: Sequence[Row]) -> tuple[Array, Array]:
        """Return inputs (rows, 2) and targets (rows,)."""
        classes = np.array([row["class"] for row in rows], np.int64)
        return np.stack([classes, classes % 2], axis=1).astype(np.float32).reshape(-1, 2), classes
