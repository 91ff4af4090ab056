"""Models as Keras users write them: the metric is what ``evaluate`` of the exported file says of the same rows."""

import numpy as np
import pytest

from child_cart.model.task import KerasTask
from child_cart.model.task_metrics import metric_of

ROWS = 48


@pytest.fixture(scope="module", autouse=True)
def quiet():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        yield


def numbers(*shape):
    return np.random.default_rng(7).normal(size=(ROWS, *shape)).astype(np.float32)


X = numbers(4)
YES = (X[:, 0] > 0).astype(np.float32)
THIRDS = np.digitize(X[:, 0], [-0.5, 0.5])
SIZES = (3 * X[:, 0] - X[:, 1] + 10).astype(np.float32)


def stacked(*layers, inputs=(4,), loss, dtype=None, **compiled):
    import keras

    model = keras.Sequential([keras.Input(inputs, dtype=dtype), *layers])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss=loss, **compiled)
    return model


def one_sigmoid(k):
    return stacked(k.layers.Dense(8, "relu"), k.layers.Dense(1, "sigmoid"), loss="binary_crossentropy"), X, YES


def one_sigmoid_column(k):
    model, x, y = one_sigmoid(k)
    return model, x, y.reshape(-1, 1)


def one_logit(k):
    loss = k.losses.BinaryCrossentropy(from_logits=True)
    return stacked(k.layers.Dense(1), loss=loss, metrics=["accuracy"]), X, YES


def class_logits(k):
    return stacked(k.layers.Dense(3), loss=k.losses.SparseCategoricalCrossentropy(from_logits=True)), X, THIRDS


def one_hot(k):
    return stacked(k.layers.Dense(3, "softmax"), loss="categorical_crossentropy"), X, np.eye(3)[THIRDS]


def sparse_column(k):
    return stacked(k.layers.Dense(3, "softmax"), loss="crossentropy"), X, THIRDS.reshape(-1, 1)


def many_labels(k):
    return stacked(k.layers.Dense(2, "sigmoid"), loss="binary_crossentropy"), X, (X[:, :2] > 0).astype(np.float32)


def label_a_step(k):
    model = stacked(
        *(k.layers.LSTM(4, return_sequences=True), k.layers.Dense(3, "softmax")),
        inputs=(4, 1),
        loss="sparse_categorical_crossentropy",
    )
    return model, X[..., None], np.digitize(X, [-0.5, 0.5])


def regression(k):
    return stacked(k.layers.Dense(8, "relu"), k.layers.Dense(1), loss="mse", metrics=["mse"]), X, SIZES


def regression_column(k):
    return stacked(k.layers.Dense(1), loss=k.losses.Huber()), X, SIZES.reshape(-1, 1)


def several_numbers(k):
    return stacked(k.layers.Dense(2), loss="mae"), X, np.stack([SIZES, -SIZES], 1)


def own_loss(k):
    def quantile(y_true, y_pred):
        error = y_true - y_pred
        return k.ops.mean(k.ops.maximum(0.9 * error, -0.1 * error), axis=-1)

    return stacked(k.layers.Dense(1), loss=quantile), X, SIZES.reshape(-1, 1)


def autoencoder(k):
    return stacked(k.layers.Dense(2, "relu"), k.layers.Dense(4), loss="mse"), X, X


def batch_normalised(k):
    layers = (k.layers.Dense(8), k.layers.BatchNormalization(), k.layers.ReLU(), k.layers.Dense(3, "softmax"))
    return stacked(*layers, loss="sparse_categorical_crossentropy"), X, THIRDS


def adapted(k):
    normal = k.layers.Normalization()
    normal.adapt(100 + 5 * X)
    return stacked(normal, k.layers.Dense(1), loss="mse"), 100 + 5 * X, SIZES


def gru(k):
    return stacked(k.layers.GRU(4), k.layers.Dense(1), inputs=(4, 1), loss="mse"), X[..., None], SIZES


def pictures(k):
    layers = (k.layers.Conv2D(4, 3, activation="relu"), k.layers.GlobalAveragePooling2D(), k.layers.Dense(3, "softmax"))
    return stacked(*layers, inputs=(8, 8, 1), loss="sparse_categorical_crossentropy"), numbers(8, 8, 1), THIRDS


def dropped_out(k):
    layers = (k.layers.Dense(16, "relu"), k.layers.Dropout(0.5), k.layers.Dense(1, "sigmoid"))
    return stacked(*layers, loss="binary_crossentropy"), X, YES


def shared_layers(k):
    left, right = k.Input((2,)), k.Input((2,))
    shared = k.layers.Dense(4, "relu")
    output = k.layers.Dense(1, "sigmoid")(k.layers.Concatenate()([shared(left), shared(right)]))
    model = k.Model([left, right], output)
    model.compile(optimizer="adam", loss="binary_crossentropy")
    return model, (X[:, :2], X[:, 2:]), YES


def named_inputs(k):
    heat, rest = k.Input((1,), name="heat"), k.Input((3,), name="rest")
    output = k.layers.Dense(3, "softmax")(k.layers.Concatenate()([heat, rest]))
    model = k.Model({"heat": heat, "rest": rest}, output)
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model, {"heat": X[:, :1], "rest": X[:, 1:]}, THIRDS


def two_outputs(k):
    inputs = k.Input((4,))
    hidden = k.layers.Dense(8, "relu")(inputs)
    outputs = {
        "kind": k.layers.Dense(3, "softmax", name="kind")(hidden),
        "size": k.layers.Dense(1, name="size")(hidden),
    }
    model = k.Model(inputs, outputs)
    losses = {"kind": "sparse_categorical_crossentropy", "size": "mse"}
    model.compile(optimizer="adam", loss=losses, loss_weights={"kind": 1.0, "size": 0.1})
    return model, X, {"kind": THIRDS, "size": SIZES}


def listed_outputs(k):
    inputs = k.Input((4,))
    outputs = [k.layers.Dense(1, name="a")(inputs), k.layers.Dense(1, name="b")(inputs)]
    model = k.Model(inputs, outputs)
    model.compile(optimizer="adam", loss=["mse", "mae"])
    return model, X, [SIZES, YES]


def mixed_precision(k):
    policy = "mixed_float16"
    layers = (k.layers.Dense(8, "relu", dtype=policy), k.layers.Dense(3, "softmax", dtype="float32"))
    return stacked(*layers, loss="sparse_categorical_crossentropy"), X, THIRDS


def regularised_classes(k):
    layer = k.layers.Dense(3, "softmax", kernel_regularizer="l2")
    return stacked(layer, loss=k.losses.CategoricalFocalCrossentropy()), X, np.eye(3)[THIRDS]


LOSS, ERROR, ACCURACY = "loss", "mean_absolute_error", "accuracy"
MODELS = {
    **dict.fromkeys((one_sigmoid, one_sigmoid_column, one_logit, class_logits, one_hot, sparse_column), ACCURACY),
    **dict.fromkeys((many_labels, label_a_step, batch_normalised, pictures, dropped_out, shared_layers), ACCURACY),
    **dict.fromkeys((named_inputs, mixed_precision, regularised_classes), ACCURACY),
    **dict.fromkeys((regression, regression_column, several_numbers, autoencoder, adapted, gru), ERROR),
    **dict.fromkeys((own_loss, two_outputs, listed_outputs), LOSS),
}


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras
@pytest.mark.parametrize("made", MODELS, ids=lambda made: made.__name__)
def test_what_is_measured_is_what_evaluate_of_the_exported_file_says(made, tmp_path):
    import keras

    class Task(KerasTask):
        name, epochs, unit = made.__name__, 2, "mm"

        def build_model(self):
            return made(keras)[0]

    task = Task()
    learner = task.build_learner()
    _, inputs, targets = made(keras)
    metric = metric_of(task, learner.metric)
    before = metric.value(learner.predict(inputs), targets)
    start = learner.weights()
    losses = []
    learner.train(inputs, targets, lambda epoch, epochs, loss: losses.append(loss))
    assert len(losses) == 2
    assert losses[1] < losses[0] or made is dropped_out
    assert any((one != other).any() for one, other in zip(start, learner.weights(), strict=True))
    value = metric.value(learner.predict(inputs), targets)
    assert value != before or metric.metric.unit == "fraction"
    assert metric.losses(learner.predict(inputs), targets).shape == (ROWS,)
    learner.export("keras", tmp_path / "model.keras")
    objects = {"quantile": own_loss(keras)[0].loss} if made is own_loss else None
    told = keras.models.load_model(tmp_path / "model.keras", objects).evaluate(
        inputs, targets, verbose=0, return_dict=True
    )
    name = MODELS[made]
    assert metric.metric.name == name.replace("_", " ")
    assert told[name] == pytest.approx(value, rel=2e-3, abs=1e-5)
