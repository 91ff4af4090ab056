"""A compiled Keras model as a ``Learner``. Imports TensorFlow, so only the trainer process imports this module.

An epoch is one compiled function over all its batches, each taken by the model's own ``train_step``. On a cart's small
models and data sets, ``Model.fit`` spends most of its time on callbacks and iterators, and ``Model.predict`` even more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from .arrays import Array, Tree, Weights, mapped, rows_in
from .keras_layout import KerasLayout
from .keras_metric import default_metric, name_in_export
from .learner import EpochCallback, ExportError, epoch_orders, row_weights
from .tflite_file import tflite_bytes


class KerasLearner:
    """Train a compiled Keras model, and predict with it.

    Args:
        model: built and compiled; it takes the steps of a training, with its loss and its optimizer.
        epochs: passes over the rows in one training.
        batch_size: rows per step.
        seed: of the order of the rows: a training depends on weights, rows and seed alone.
        unit: of the targets, for errors; empty if it is not known.
        class_weight: how much rows of a class count, as in ``Model.fit``; None for all alike.
        personal_layers: the names of layers whose arrays are never sent.

    Attributes:
        metric: how the predictions are measured where the task does not say.
        layout: what the weights are.
    """

    def __init__(
        self,
        model: Any,
        epochs: int,
        batch_size: int,
        seed: int,
        unit: str = "",
        class_weight: Mapping[int, float] | None = None,
        personal_layers: Sequence[str] = (),
    ) -> None:
        self._model = model
        self.metric = default_metric(model, unit)
        self._variables = KerasLayout.of(model, personal_layers)
        self.layout = self._variables.layout
        self._epochs = epochs
        self._batch_size = batch_size
        self._seed = seed
        self._class_weight = class_weight
        self._optimizer = model.optimizer
        self._optimizer.build(model.trainable_variables)
        resets = [*self._optimizer.variables, *self._variables.fresh]
        self._starting = [(variable, np.array(variable.numpy())) for variable in resets]
        self._epoch = tf.function(self._run_epoch, reduce_retracing=True)
        self._answers = tf.function(lambda inputs: self._model(inputs, training=False), reduce_retracing=True)

    def weights(self) -> list[Array]:
        """Return copies of the weights that a training changes."""
        return self._variables.weights()

    def set_weights(self, weights: Weights) -> None:
        """Replace the weights by others of the same shapes."""
        for variable, array in zip(self._variables.learned, weights, strict=True):
            variable.assign(array)

    def train(self, inputs: Tree, targets: Tree, report: EpochCallback, sample_weights: Array | None = None) -> None:
        """Train on these rows.

        The optimizer is reset, with its moments, which belong to other weights, its loss scale and its learning-rate
        schedule. So are seeds and counters of layers.
        """
        for variable, value in self._starting:
            variable.assign(value)
        counts = row_weights(targets, self._class_weight, sample_weights)
        rows = (inputs, targets) if counts is None else (inputs, targets, counts)
        self._model._symbolic_build(data_batch=_taken(rows, slice(self._batch_size)))
        for epoch, order in enumerate(epoch_orders(rows_in(inputs), self._epochs, self._seed)):
            self._model.reset_metrics()
            loss = self._epoch(_taken(rows, order))
            report(epoch + 1, self._epochs, float(loss))

    def predict(self, inputs: Tree) -> Tree:
        """Return what the model says of each row: (rows, ...), or several outputs."""
        return mapped(_array, self._answers(mapped(_tensor, inputs)))

    def export(self, kind: str, target: Path) -> None:
        """Write the model as ``keras`` or ``tflite``; raise ``ExportError`` if TensorFlow cannot convert it."""
        if kind == "keras":
            name_in_export(self._model, self.metric)
            self._model.save(target)
        elif kind == "tflite":
            target.write_bytes(tflite_bytes(self._model))
        else:
            raise ExportError(f"There is no format {kind!r}.")

    def _run_epoch(self, rows: Tree) -> tf.Tensor:
        """Take the steps of an epoch; return the loss as the model's step says it."""
        count = tf.shape(keras.tree.flatten(rows)[0])[0]
        loss = tf.constant(float("nan"), tf.float64)
        for start in tf.range(0, count, self._batch_size):
            batch = _part(rows, start, start + self._batch_size)
            loss = _loss_in(self._model.train_step(batch))
        return loss


def _taken(rows: Tree, places: NDArray[np.int64] | slice) -> Tree:
    return mapped(lambda array: _tensor(array[places]), rows)


def _part(rows: Tree, start: Any, end: Any) -> Tree:
    return mapped(lambda array: array[start:end], rows)


def _loss_in(logs: Any) -> tf.Tensor:
    """Return the loss that a training step says, or the first value if it says none of this name; NaN without any."""
    said = logs if isinstance(logs, dict) else {}
    value = said.get("loss", next((one for one in said.values() if not isinstance(one, dict)), float("nan")))
    return tf.cast(value, tf.float64)


def _tensor(array: Array) -> tf.Tensor:
    return tf.convert_to_tensor(np.ascontiguousarray(array))


def _array(tensor: Any) -> Array:
    """Return a tensor as an array, in single precision where NumPy has no such dtype."""
    return np.asarray(tf.cast(tensor, tf.float32) if tensor.dtype == tf.bfloat16 else tensor)


def set_seed(seed: int) -> None:
    """Seed Keras, so that the next model has the same starting weights on every cart."""
    keras.utils.set_random_seed(seed)


def built(model: Any, inputs: Tree) -> Any:
    """Return the model, built for inputs of this form if it has no ``Input`` of its own."""
    if not model.built:
        model.build(mapped(lambda array: (None, *array.shape[1:]), inputs))
    return model
