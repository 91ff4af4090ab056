"""A PyTorch module as a ``Learner``, for any task whose targets are class numbers. Imports PyTorch."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from child_cart.model.arrays import Array, Weights
from child_cart.model.learner import EpochCallback, ExportError, epoch_orders


class TorchLearner:
    """Train a PyTorch module, and predict with it.

    Args:
        model: maps inputs (rows, ...) to scores (rows, classes); its whole state is exchanged and averaged.
        loss: maps scores and class numbers to a mean.
        optimizer: makes one for these parameters; each training has a fresh one, since moments belong to weights.
        epochs: passes over the rows in one training.
        batch_size: rows per step.
        seed: of the order of the rows, and of layers that draw: a training depends on weights, rows and seed alone.
    """

    def __init__(
        self,
        model: Any,
        loss: Callable[[Any, Any], Any],
        optimizer: Callable[[Iterator[Any]], Any],
        epochs: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._model = model
        self._loss = loss
        self._optimizer = optimizer
        self._epochs = epochs
        self._batch_size = batch_size
        self._seed = seed

    def weights(self) -> list[Array]:
        """Return copies of all weights, in the order of the module's state."""
        return [tensor.numpy(force=True).copy() for tensor in self._model.state_dict().values()]

    def set_weights(self, weights: Weights) -> None:
        """Replace the weights by others of the same shapes."""
        state = self._model.state_dict()
        copies = (torch.from_numpy(np.array(array)) for array in weights)
        self._model.load_state_dict(dict(zip(state, copies, strict=True)))

    def train(self, inputs: Array, targets: Array, report: EpochCallback) -> None:
        """Train on these rows, starting from the present weights."""
        torch.manual_seed(self._seed)
        self._model.train()
        optimizer = self._optimizer(self._model.parameters())
        for epoch, order in enumerate(epoch_orders(len(inputs), self._epochs, self._seed), 1):
            total = 0.0
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                optimizer.zero_grad()
                loss = self._loss(self._model(torch.from_numpy(inputs[batch])), torch.from_numpy(targets[batch]))
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
            report(epoch, self._epochs, total / len(inputs))

    def predict(self, inputs: Array) -> Array:
        """Return the scores of the classes: (rows, classes)."""
        self._model.eval()
        with torch.inference_mode():
            scores: Array = self._model(torch.from_numpy(np.ascontiguousarray(inputs))).numpy(force=True)
        return scores

    def export(self, kind: str, target: Path) -> None:
        """Raise ``ExportError``: the formats that a cart offers are those of Keras."""
        raise ExportError(f"A model of PyTorch has no {kind} form.")
