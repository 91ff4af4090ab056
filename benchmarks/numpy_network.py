"""The network of the task ``digits`` in NumPy: the same layers, loss, optimiser, batches and orders, in any program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


class NumpyNetwork:
    """A dense network with one hidden layer, softmax and plain SGD.

    Args:
        weights: kernel and bias of the hidden layer, and of the last one.
        epochs: passes over the rows in one training.
        batch_size: rows per step.
        rate: of learning.
        seed: of the order of the rows, as of every learner of a cart.
    """

    def __init__(self, weights: Sequence[Any], epochs: int, batch_size: int, rate: float, seed: int) -> None:
        self._weights = [np.array(array, np.float32) for array in weights]
        self._epochs, self._batch_size, self._rate, self._seed = epochs, batch_size, np.float32(rate), seed

    def weights(self) -> list[Any]:
        """Return copies of all weights."""
        return [array.copy() for array in self._weights]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Replace the weights."""
        self._weights = [np.array(array, np.float32) for array in weights]

    def train(self, inputs: Any, targets: Any, report: Callable[[int, int, float], None]) -> None:
        """Train on these rows. ``inputs``: (rows, features), ``targets``: (rows,) class numbers."""
        random = np.random.default_rng(self._seed)
        for _ in range(self._epochs):
            order = random.permutation(len(inputs))
            for start in range(0, len(order), self._batch_size):
                batch = order[start : start + self._batch_size]
                self._step(inputs[batch], targets[batch])

    def predict(self, inputs: Any) -> Any:
        """Return the scores of the classes: (rows, classes)."""
        return self._forward(inputs)[1]

    def _forward(self, inputs: Any) -> tuple[Any, Any]:
        kernel, bias, last_kernel, last_bias = self._weights
        hidden = np.maximum(inputs @ kernel + bias, 0)
        logits = hidden @ last_kernel + last_bias
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        return hidden, scores / scores.sum(axis=1, keepdims=True)

    def _step(self, inputs: Any, targets: Any) -> None:
        hidden, scores = self._forward(inputs)
        scores[np.arange(len(targets)), targets] -= 1
        scores /= np.float32(len(targets))
        back = (scores @ self._weights[2].T) * (hidden > 0)
        gradients = [inputs.T @ back, back.sum(axis=0), hidden.T @ scores, scores.sum(axis=0)]
        self._weights = [
            array - self._rate * gradient for array, gradient in zip(self._weights, gradients, strict=True)
        ]
