"""A compiled Keras model as a ``Learner``. Imports TensorFlow, so only the trainer process imports this module.

An epoch is one compiled function over all its batches. On a cart's small models and data sets, ``Model.fit`` spends
most of its time on callbacks and iterators, and ``Model.predict`` even more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .arrays import Array, Tree, Weights, mapped
from .keras_metric import default_metric, name_in_export
from .learner import EpochCallback, ExportError, epoch_orders


class KerasLearner:
    """Train a compiled Keras model, and predict with it.

    Args:
        model: built and compiled; its loss and optimizer are used.
        epochs: passes over the rows in one training.
        batch_size: rows per step.
        seed: of the order of the rows: a training depends on weights, rows and seed alone.
        unit: of the targets, for errors; empty if it is not known.

    Attributes:
        metric: how the predictions are measured where the task does not say.
    """

    def __init__(self, model: Any, epochs: int, batch_size: int, seed: int, unit: str = "") -> None:
        self._model = model
        self.metric = default_metric(model, unit)
        self._epochs = epochs
        self._batch_size = batch_size
        self._seed = seed
        self._optimizer = model.optimizer
        self._optimizer.build(model.trainable_variables)
        self._fresh_optimizer = [variable.numpy() for variable in self._optimizer.variables]
        self._epoch = tf.function(self._run_epoch, reduce_retracing=True)
        self._scores = tf.function(lambda inputs: self._model(inputs, training=False), reduce_retracing=True)

    def weights(self) -> list[Array]:
        """Return copies of all weights."""
        return [np.array(variable) for variable in self._model.get_weights()]

    def set_weights(self, weights: Weights) -> None:
        """Replace the weights by others of the same shapes."""
        self._model.set_weights(list(weights))

    def train(self, inputs: Array, targets: Array, report: EpochCallback) -> None:
        """Train on these rows. The optimizer is reset: its moments belong to other weights."""
        for variable, value in zip(self._optimizer.variables, self._fresh_optimizer, strict=True):
            variable.assign(value)
        for epoch, order in enumerate(epoch_orders(len(inputs), self._epochs, self._seed)):
            loss = self._epoch(_tensor(inputs[order]), _tensor(targets[order]))
            report(epoch + 1, self._epochs, float(loss))

    def predict(self, inputs: Tree) -> Tree:
        """Return what the model says of each row: (rows, ...), or several outputs."""
        return mapped(np.asarray, self._scores(mapped(_tensor, inputs)))

    def export(self, kind: str, target: Path) -> None:
        """Write the model as ``keras`` or ``tflite``; raise ``ExportError`` if TensorFlow cannot convert it."""
        if kind == "keras":
            name_in_export(self._model, self.metric)
            self._model.save(target)
        elif kind == "tflite":
            target.write_bytes(_tflite(self._model))
        else:
            raise ExportError(f"There is no format {kind!r}.")

    def _run_epoch(self, inputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        rows = tf.shape(inputs)[0]
        total = tf.constant(0.0)
        for start in tf.range(0, rows, self._batch_size):
            batch, wanted = inputs[start : start + self._batch_size], targets[start : start + self._batch_size]
            with tf.GradientTape() as tape:
                scores = self._model(batch, training=True)
                loss = self._model.compute_loss(x=batch, y=wanted, y_pred=scores)
            gradients = tape.gradient(loss, self._model.trainable_variables)
            self._optimizer.apply(gradients, self._model.trainable_variables)
            total += loss * tf.cast(tf.shape(batch)[0], tf.float32)
        return total / tf.cast(rows, tf.float32)


def _tflite(model: Any) -> bytes:
    try:
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    except Exception as error:  # the converter may raise anything, even from its C++ side
        first_line = next(iter(str(error).splitlines()), type(error).__name__)
        raise ExportError(f"TensorFlow cannot convert this model to TFLite ({first_line[:200]}).") from error


def _tensor(array: Array) -> tf.Tensor:
    return tf.convert_to_tensor(np.ascontiguousarray(array))


def set_seed(seed: int) -> None:
    """Seed Keras, so that the next model has the same starting weights on every cart."""
    keras.utils.set_random_seed(seed)
