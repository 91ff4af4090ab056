"""A process of its own for each backend of Keras: train the same models from the same weights on the same rows.

Called with ``real`` (a cart's learner on TensorFlow) or ``lab`` (the vectorised engine on JAX), and a folder: both
write start and end of each model there. ``lab`` trains from the start that ``real`` has written.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from child_cart.model.task import KerasTask

CLASSES = 4


def dense(keras, **changes):
    hidden = changes.pop("hidden", [])
    loss, optimizer = changes.pop("loss", "sparse_categorical_crossentropy"), changes.pop("optimizer", None)
    layers = [keras.layers.Dense(12, activation="relu", **changes), *hidden, keras.layers.Dense(CLASSES, "softmax")]
    model = keras.Sequential([keras.Input((6,)), *layers])
    model.compile(optimizer=optimizer or keras.optimizers.SGD(0.1), loss=loss)
    return model


def shaped(keras, shape, *layers):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Reshape(shape), *layers])
    model.add(keras.layers.Dense(CLASSES, "softmax"))
    model.compile(optimizer=keras.optimizers.SGD(0.05), loss="sparse_categorical_crossentropy")
    return model


def regression(keras):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    return model


def functional(keras):
    inputs = keras.Input((6,))
    inner = keras.layers.LayerNormalization()(keras.layers.Dense(6, "gelu")(inputs))
    outputs = keras.layers.Dense(CLASSES, "softmax")(keras.layers.Add()([inputs, inner]))
    model = keras.Model(inputs, outputs)
    model.compile(optimizer=keras.optimizers.AdamW(0.01), loss="sparse_categorical_crossentropy")
    return model


def schedule(keras):
    return keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.2, 3, 0.7))


MODELS: dict[str, Callable] = {
    "sparse": dense,
    "one-hot": lambda keras: dense(keras, loss="categorical_crossentropy"),
    "regression": regression,
    "adam": lambda keras: dense(keras, optimizer=keras.optimizers.Adam(0.01)),
    "momentum": lambda keras: dense(keras, optimizer=keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True)),
    "clipped": lambda keras: dense(keras, optimizer=keras.optimizers.RMSprop(0.01, clipnorm=0.5)),
    "schedule": lambda keras: dense(keras, optimizer=schedule(keras)),
    "regulariser": lambda keras: dense(keras, kernel_regularizer=keras.regularizers.L2(0.05)),
    "batch-normalization": lambda keras: dense(keras, hidden=[keras.layers.BatchNormalization()]),
    "dropout-of-nothing": lambda keras: dense(keras, hidden=[keras.layers.Dropout(0.0)]),
    "frozen": lambda keras: dense(keras, trainable=False, kernel_initializer="identity"),
    "functional": functional,
    "convolution": lambda keras: shaped(
        keras, (3, 2, 1), keras.layers.Conv2D(5, 2, activation="relu", padding="same"), keras.layers.Flatten()
    ),
    "truncated-normal": lambda keras: dense(keras, kernel_initializer="he_normal"),
    "normal": lambda keras: dense(keras, kernel_initializer=keras.initializers.RandomNormal(0.5, 0.2)),
    "uniform": lambda keras: dense(keras, kernel_initializer=keras.initializers.RandomUniform(-0.3, 0.2, seed=9)),
    "lstm": lambda keras: shaped(keras, (3, 2), keras.layers.LSTM(5)),
}
# 19 rows: two whole batches of 8 and a smaller one.
CASES = [*((model, 19) for model in MODELS), ("sparse", 1), ("sparse", 16), ("batch-normalization", 1)]


class Case(KerasTask):
    name = "case"
    seed = 3
    epochs = 4
    batch_size = 8

    def __init__(self, model: str) -> None:
        self.model = model

    def build_model(self):
        import keras

        return MODELS[self.model](keras)


def rows_of(model: str, count: int):
    random = np.random.default_rng(7)
    inputs = random.standard_normal((count, 6)).astype(np.float32)
    targets = random.integers(0, CLASSES, count)
    if model == "one-hot":
        return inputs, np.eye(CLASSES, dtype=np.float32)[targets]
    return inputs, inputs[:, :1] * 2 if model == "regression" else targets


def real(folder: Path) -> None:
    for model, count in CASES:
        learner = Case(model).build_learner()
        inputs, targets = rows_of(model, count)
        np.savez(folder / f"{model}-{count}-start.npz", *learner.weights())
        learner.train(inputs, targets, lambda *_: None)
        np.savez(folder / f"{model}-{count}-real.npz", learner.predict(inputs), *learner.weights())


def lab(folder: Path) -> None:
    from child_cart.model.trainer_commands import Predict, Train
    from lab.engines.vectorised import Vectorised

    for model, count in CASES:
        engine = Vectorised(Case(model))
        np.savez(folder / f"{model}-{count}-lab-start.npz", *engine.start())
        with np.load(folder / f"{model}-{count}-start.npz") as found:
            start = [found[name] for name in found.files]
        inputs, targets = rows_of(model, count)
        other = Train([array + 1 for array in start], inputs, targets)
        alone = engine.train([Train(start, inputs, targets)])[0]
        beside = engine.train([other, Train(start, inputs, targets), other])[1]
        assert all(map(np.array_equal, alone, beside))
        (scores,) = engine.predict([Predict(alone, inputs)])
        np.savez(folder / f"{model}-{count}-lab.npz", scores, *alone)
        engine.close()


if __name__ == "__main__":
    os.environ["KERAS_BACKEND"] = {"real": "tensorflow", "lab": "jax"}[sys.argv[1]]
    {"real": real, "lab": lab}[sys.argv[1]](Path(sys.argv[2]))
