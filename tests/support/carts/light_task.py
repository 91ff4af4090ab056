"""A task that needs no TensorFlow: which third of a ring a point lies in, learned by softmax regression in NumPy."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from child_cart.model.arrays import Array, Weights
from child_cart.model.learner import EpochCallback, ExportError
from child_cart.model.partition import Partition, partition_rows
from child_cart.model.task import KerasTask, Row, RowError, whole_number

CLASSES = 3
EPOCHS = 5


class SoftmaxRegression:
    """A ``Learner``: one layer, trained by plain gradient steps over all rows."""

    def __init__(self) -> None:
        self._weights = [np.zeros((2, CLASSES), np.float32), np.zeros(CLASSES, np.float32)]
        ballast = int(os.environ.get("LIGHT_TASK_BALLAST_BYTES", "0")) // 4
        if ballast:  # carried along and never used, so that a model takes its time on a line
            self._weights.append(np.random.default_rng(4).standard_normal(ballast, np.float32))
        self._epoch_s = float(os.environ.get("LIGHT_TASK_EPOCH_S", "0"))
        self._train_bytes = int(os.environ.get("LIGHT_TASK_TRAIN_BYTES", "0"))
        self._predict_s = float(os.environ.get("LIGHT_TASK_PREDICT_S", "0"))

    def weights(self) -> list[Array]:
        return [array.copy() for array in self._weights]

    def set_weights(self, weights: Weights) -> None:
        self._weights = [np.array(array) for array in weights]

    def train(self, inputs: Array, targets: Array, report: EpochCallback) -> None:
        held = np.ones(self._train_bytes, np.uint8)
        for epoch in range(EPOCHS):
            time.sleep(self._epoch_s)
            error = self.predict(inputs) - np.eye(CLASSES, dtype=np.float32)[targets]
            self._weights[0] -= inputs.T @ error / len(inputs)
            self._weights[1] -= error.mean(axis=0)
            report(epoch + 1, EPOCHS, float(np.abs(error).mean()))
        del held

    def predict(self, inputs: Array) -> Array:
        time.sleep(self._predict_s)
        scores = np.exp(inputs @ self._weights[0] + self._weights[1])
        return scores / scores.sum(axis=1, keepdims=True)

    def export(self, kind: str, target: Path) -> None:
        if kind != "keras":
            raise ExportError(f"A softmax regression has no {kind} form.")
        target.write_bytes(b"light")


class LightTask(KerasTask):
    """Learn thirds of a ring."""

    name = "light"

    def build_learner(self) -> SoftmaxRegression:
        return SoftmaxRegression()

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        degrees = whole_number(fields, "degrees", 0, 359)
        third = whole_number(fields, "third", 0, CLASSES - 1)
        if "note" in fields:
            raise RowError("note is not a field of this task")
        return {"degrees": degrees, "third": third}

    def starter_rows(self, partition: Partition) -> list[Row]:
        rows = points(600, seed=1)
        return [
            rows[place]
            for place in partition_rows([row["third"] for row in rows], CLASSES, partition, 0.9, 1.0, seed=2)
        ]

    def evaluation_rows(self) -> list[Row]:
        return points(100, seed=3)

    def arrays(self, rows: Sequence[Row]) -> tuple[Array, Array]:
        angles = np.radians([row["degrees"] for row in rows])
        inputs = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32).reshape(-1, 2)
        return inputs, np.array([row["third"] for row in rows], np.int64)


class TurnTask(LightTask):
    """The same for a user's own rows: it brings none, and ``parse_row`` does not take what it returns."""

    name = "turn"

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        try:
            degrees = int(float(str(fields["turn"])) * 360)
        except (KeyError, ValueError):
            raise RowError("turn must be a number") from None
        return super().parse_row({"degrees": degrees, "third": fields.get("third")})

    def starter_rows(self, partition: Partition) -> list[Row]:
        return []


def points(count: int, seed: int) -> list[Row]:
    """Return seeded points of the ring and the third that each lies in."""
    degrees = np.random.default_rng(seed).integers(0, 360, count).tolist()
    return [{"degrees": angle, "third": angle // 120} for angle in degrees]
