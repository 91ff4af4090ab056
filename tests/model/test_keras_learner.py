"""The built-in tasks really learn with Keras. The only tests that import TensorFlow; they share one process."""

import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from child_cart.model.aggregation import average
from child_cart.model.arrays import specs_of
from child_cart.model.learner import ExportError
from child_cart.model.partition import Partition
from child_cart.model.shopping import DENSE_0_1, NOT_SAID, purchases
from child_cart.model.task import load_task
from child_cart.model.trainer_commands import model_signature
from child_cart.model.worker import Worker


def accuracy(learner, inputs, targets):
    return learner.metric.value(learner.predict(inputs), targets)


@pytest.fixture(scope="module")
def learners():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        tasks = {name: load_task(name) for name in ("shopping", "shopping-dense", "digits")}
        yield {name: (task, task.build_learner(), task.build_learner()) for name, task in tasks.items()}


@pytest.mark.parametrize("name", ["shopping", "digits"])
def test_every_cart_starts_from_the_same_weights(learners, name):
    _, one, other = learners[name]
    for first, second in zip(one.weights(), other.weights(), strict=True):
        assert (first == second).all()


def test_shopping_learns_from_a_thousand_rows(learners):
    task, learner, _ = learners["shopping"]
    assert [spec.shape for spec in specs_of(learner.weights())] == [(14, 32), (32,), (32, 7), (7,)]
    losses = []
    start = learner.weights()
    learner.train(*task.arrays(purchases(1000, seed=8)), lambda epoch, epochs, loss: losses.append(loss))
    assert len(losses) == task.epochs
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy(learner, *task.arrays(purchases(1000, seed=9))) > 0.8
    assert task.summary(learner.predict)["trending"][0]["shares"][0] > 0.5  # category 1 in January
    not_said = learner.predict(np.array([[month, NOT_SAID] for month in range(1, 13)], np.float32))
    assert (not_said.argmax(axis=1) == np.arange(12) // 2 + 1).sum() >= 10  # the main category of the month
    learner.set_weights(start)
    assert all((a == b).all() for a, b in zip(start, learner.weights(), strict=True))


def test_the_dense_model_of_0_1_takes_raw_values_too(learners):
    task, learner, _ = learners["shopping-dense"]
    assert model_signature(task.name, learner.weights()) == DENSE_0_1
    said = learner.predict(np.array([[6, 0], [6, 1], [6, NOT_SAID]], np.float32))
    weights = learner.weights()
    values = np.array([[0.5, 0], [0.5, 1], [0.5, 0.5]], np.float32)
    for place in (0, 2):
        values = np.maximum(values @ weights[place] + weights[place + 1], 0)
    values = values @ weights[4] + weights[5]
    expected = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    assert np.allclose(said, expected, atol=1e-6)


def test_digits_are_learned_together_but_not_alone(learners):
    task, learner, _ = learners["digits"]
    test = task.arrays(task.test_rows())
    hands = [task.starter_rows(Partition(index, 4)) for index in range(4)]
    start = merged = learner.weights()
    for _ in range(4):
        models = []
        for hand in hands:
            learner.set_weights(merged)
            learner.train(*task.arrays(hand), lambda *_: None)
            models.append(learner.weights())
        merged = average(models, [1.0] * 4)
    learner.set_weights(merged)
    together = accuracy(learner, *test)
    learner.set_weights(start)
    for place in range(0, 300, 60):  # alone, it sees its rows as they come
        learner.train(*task.arrays(hands[0][place : place + 60]), lambda *_: None)
    assert together > 0.85
    assert accuracy(learner, *test) < 0.5


def test_a_row_of_zeros_is_predicted(learners):
    _, learner, _ = learners["digits"]
    assert np.isfinite(learner.predict(np.zeros((1, 64), np.float32))).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras
@pytest.mark.parametrize("name", ["shopping", "shopping-dense", "digits"])
def test_an_exported_model_says_what_the_learner_says(learners, name, tmp_path):
    import keras
    import tensorflow as tf

    task, learner, _ = learners[name]
    inputs, _ = task.arrays(task.evaluation_rows()[:5])
    said = learner.predict(inputs)
    learner.export("keras", tmp_path / "model.keras")
    assert np.allclose(keras.models.load_model(tmp_path / "model.keras").predict(inputs, verbose=0), said, atol=1e-5)
    learner.export("tflite", tmp_path / "model.tflite")
    with pytest.warns(UserWarning, match="tf.lite.Interpreter is deprecated"):
        phone = tf.lite.Interpreter(model_path=str(tmp_path / "model.tflite"))
    phone.resize_tensor_input(phone.get_input_details()[0]["index"], inputs.shape)
    phone.allocate_tensors()
    phone.set_tensor(phone.get_input_details()[0]["index"], inputs)
    phone.invoke()
    assert np.allclose(phone.get_tensor(phone.get_output_details()[0]["index"]), said, atol=1e-4)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # within Keras
@pytest.mark.parametrize("kind", ["keras", "tflite"])
def test_a_file_takes_raw_values_and_says_which(learners, tmp_path, kind):
    import keras
    import tensorflow as tf

    task, learner, _ = learners["shopping"]
    worker = Worker.__new__(Worker)  # without a second model
    worker._task, worker._learner = task, learner
    worker.commands = SimpleNamespace(base=lambda _: learner.weights())
    path = tmp_path / f"model.{kind}"
    worker.carry_out("export", {"base": {}, "kind": kind, "target": str(path)}, lambda _: None)
    said = json.loads(zipfile.ZipFile(path).read("model_description.json"))
    month, gender = said["inputs"]
    assert (month["name"], month["unit"]) == ("month", "number of the month")
    assert list(month["values"].items())[::11] == [("1", "January"), ("12", "December")]
    assert gender["values"] == {"0": "woman", "1": "man", "2": "not said"}
    assert len(said["outputs"]) == 7
    raw = np.array([[5, 0]], np.float32)
    if kind == "keras":
        scores = keras.models.load_model(path).predict(raw, verbose=0)
    else:
        with pytest.warns(UserWarning, match="tf.lite.Interpreter is deprecated"):
            phone = tf.lite.Interpreter(model_path=str(path))
        scores = phone.get_signature_runner()(month_and_gender=raw)["output_0"]
    assert np.allclose(scores, learner.predict(raw), atol=1e-5)


def test_a_format_that_there_is_not_is_refused(learners, tmp_path):
    with pytest.raises(ExportError, match="no format 'exe'"):
        learners["shopping"][1].export("exe", tmp_path / "model.exe")
    assert list(tmp_path.iterdir()) == []


def test_what_tensorflow_cannot_convert_is_said_in_a_sentence(tmp_path):
    class Broken:
        optimizer = None

    from child_cart.model.tflite_file import tflite_bytes

    with pytest.raises(ExportError, match="TensorFlow cannot convert this model to TFLite"):
        tflite_bytes(Broken())
