"""The built-in tasks really learn with Keras. The only tests that import TensorFlow; they share one process."""

import numpy as np
import pytest

from child_cart.model.aggregation import average
from child_cart.model.arrays import specs_of
from child_cart.model.digits import Digits
from child_cart.model.learner import ExportError
from child_cart.model.partition import Partition
from child_cart.model.shopping import Shopping, purchases


def accuracy(learner, inputs, targets):
    return learner.metric.value(learner.predict(inputs), targets)


@pytest.fixture(scope="module")
def learners():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
        yield {task.name: (task, task.build_learner(), task.build_learner()) for task in (Shopping(), Digits())}


@pytest.mark.parametrize("name", ["shopping", "digits"])
def test_every_cart_starts_from_the_same_weights(learners, name):
    _, one, other = learners[name]
    for first, second in zip(one.weights(), other.weights(), strict=True):
        assert (first == second).all()


def test_shopping_learns_from_a_thousand_rows(learners):
    task, learner, _ = learners["shopping"]
    assert [spec.shape for spec in specs_of(learner.weights())] == [
        (2, 512),
        (512,),
        (512, 512),
        (512,),
        (512, 7),
        (7,),
    ]
    losses = []
    start = learner.weights()
    learner.train(*task.arrays(purchases(1000, seed=8)), lambda epoch, epochs, loss: losses.append(loss))
    assert len(losses) == task.epochs
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy(learner, *task.arrays(purchases(1000, seed=9))) > 0.8
    assert task.summary(learner.predict)["trending"][0]["shares"][0] > 0.5  # category 1 in January
    learner.set_weights(start)
    assert all((a == b).all() for a, b in zip(start, learner.weights(), strict=True))


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
@pytest.mark.parametrize("name", ["shopping", "digits"])
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


def test_a_format_that_there_is_not_is_refused(learners, tmp_path):
    with pytest.raises(ExportError, match="no format 'exe'"):
        learners["shopping"][1].export("exe", tmp_path / "model.exe")
    assert list(tmp_path.iterdir()) == []


def test_what_tensorflow_cannot_convert_is_said_in_a_sentence(tmp_path):
    class Broken:
        optimizer = None

    from child_cart.model.keras_learner import _tflite

    with pytest.raises(ExportError, match="TensorFlow cannot convert this model to TFLite"):
        _tflite(Broken())
