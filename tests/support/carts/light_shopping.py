"""The built-in task ``shopping`` with a model that needs no TensorFlow, so that real rounds are quick in tests."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from child_cart.model.arrays import Array, Weights
from child_cart.model.learner import EpochCallback
from child_cart.model.partition import Partition
from child_cart.model.shopping import CLASSES, MONTHS, NOT_SAID, Shopping
from child_cart.model.task import Row

EPOCHS = 4
STEP = 0.5


class Shares:
    """A ``Learner``: for each month and gender the share of each category, moved towards what was bought."""

    def __init__(self) -> None:
        self._shares = np.full((MONTHS, NOT_SAID + 1, CLASSES), 1 / CLASSES, np.float32)
        self._epoch_s = float(os.environ.get("LIGHT_TASK_EPOCH_S", "0"))

    def weights(self) -> list[Array]:
        return [self._shares.copy()]

    def set_weights(self, weights: Weights) -> None:
        self._shares = np.array(weights[0])

    def train(self, inputs: Array, targets: Array, report: EpochCallback) -> None:
        months, genders = _places(inputs)
        for epoch in range(EPOCHS):
            time.sleep(self._epoch_s)
            for place in set(zip(months.tolist(), genders.tolist(), strict=True)):
                here = (months == place[0]) & (genders == place[1])
                self._shares[place] += STEP * (targets[here].mean(axis=0) - self._shares[place])
            report(epoch + 1, EPOCHS, float(np.abs(targets - self.predict(inputs)).mean()))

    def predict(self, inputs: Array) -> Array:
        return self._shares[_places(inputs)]

    def export(self, kind: str, target: Path) -> None:
        target.write_bytes(f"shares as {kind}".encode())


class LightShopping(Shopping):
    name = "light-shopping"

    def build_learner(self) -> Shares:
        return Shares()

    def starter_rows(self, partition: Partition) -> list[Row]:
        return super().starter_rows(partition)[:600]


class UnmeasuredShopping(LightShopping):
    """The same without common evaluation rows: every mix that is no ruin is kept, and nobody is left out of it."""

    def evaluation_rows(self) -> list[Row]:
        return []


def _places(inputs: Array) -> tuple[Array, Array]:
    return inputs[:, 0].astype(int) - 1, inputs[:, 1].astype(int)
