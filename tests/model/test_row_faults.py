"""Rows that spoil a training are found and left out of it, whatever is wrong with them; others never are."""

from __future__ import annotations

import numpy as np
import pytest

from child_cart.model.layout import Layout
from child_cart.model.mixing import PredictAll
from child_cart.model.model_files import DISK
from child_cart.model.partition import Partition
from child_cart.model.row_faults import ALONE_TRIES, MOST_TRIES
from child_cart.model.task import KerasTask
from child_cart.model.task_metrics import ClassAccuracy
from child_cart.model.trainer_commands import Predict, Summarise, Train, TrainerCommands
from child_cart.model.weights_file import WeightsError


class Learner:
    """A softmax regression that raises on labels that it has no output for, as Keras does."""

    def __init__(self) -> None:
        self.trainings = 0
        self.fails_on = lambda inputs, targets: ""

    def weights(self):
        return [np.zeros((2, 2), np.float32)]

    def carried_out(self, steps):
        """Take the steps; return the result."""
        try:
            wanted = next(steps)
            while True:
                try:
                    with np.errstate(all="ignore"):
                        result = self._computed(wanted)
                except ArithmeticError as error:
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(result)
        except StopIteration as end:
            return end.value

    def _computed(self, wanted):
        match wanted:
            case Summarise():
                return {}
            case Predict(weights=weights, inputs=inputs):
                return self._scores(weights, inputs)
            case PredictAll(models=models, inputs=inputs):
                return [self._scores(weights, inputs) for weights in models]
            case Train(weights=weights, inputs=inputs, targets=targets):
                self.trainings += 1
                if words := self.fails_on(inputs, targets):
                    raise ArithmeticError(words)
                if targets.max() > 1 or targets.min() < 0:
                    raise ArithmeticError("a label value is outside the valid range")
                one_hot = np.eye(2, dtype=np.float32)[targets]
                return [weights[0] - inputs.T @ (self._scores(weights, inputs) - one_hot) / len(inputs)]

    @staticmethod
    def _scores(weights, inputs):
        scores = np.exp(inputs @ weights[0])
        return scores / scores.sum(axis=1, keepdims=True)


class Points(KerasTask):
    name = "points"

    def parse_row(self, fields):
        return dict(fields)

    def arrays(self, rows):
        return np.array([row["x"] for row in rows], np.float32), np.array([row["y"] for row in rows], np.int64)

    def build_learner(self):
        raise NotImplementedError


def points(count):
    random = np.random.default_rng(1)
    return [{"x": [float(a), float(b)], "y": int(a > b)} for a, b in random.normal(size=(count, 2))]


@pytest.fixture
def train(tmp_path):
    learner = Learner()
    steps = TrainerCommands(Points(), Partition(), None, 50, learner.weights(), ClassAccuracy(), Layout(), DISK)
    base = learner.carried_out(steps.initialise(str(tmp_path / "0.h5")))

    def trained(rows, own_rows=(), old_rows=()):
        named = {"path": str(tmp_path / "0.h5"), "digest": base["digest"]}
        result = learner.carried_out(steps.train(named, rows, list(own_rows), str(tmp_path / "1.h5"), old_rows))
        return result["rows"], {fault["place"]: fault["reason"] for fault in result["faults"]}

    trained.learner = learner
    return trained


SPOILING = {
    "its label is 2; the model has outputs for 0 to 1": {"x": [0.5, 1.0], "y": 2},
    "its label is -1; the model has outputs for 0 to 1": {"x": [0.5, 1.0], "y": -1},
    "its inputs hold a number that is not finite": {"x": [float("nan"), 1.0], "y": 1},
    "after a training with it the weights cannot be used: it may hold an extreme number": {"x": [1e38, 0.5], "y": 1},
    "the task makes no arrays of it (KeyError: 'x')": {"z": 1},
    "the task makes no arrays of it (ValueError: could not convert string to float: 'a')": {"x": ["a", "b"], "y": 1},
    "the task makes arrays of the shapes [3] and [] of it, and of others [2] and []": {"x": [1, 2, 3], "y": 1},
}


@pytest.mark.parametrize("reason", SPOILING)
@pytest.mark.parametrize("place", [0, 7, 40])
def test_a_row_that_spoils_a_training_is_left_out_with_its_reason(train, reason, place):
    rows = points(40)
    rows.insert(place, SPOILING[reason])
    assert train(rows) == (40, {place: reason})


def test_many_at_once_are_found(train):
    rows = points(40)
    for place, row in enumerate(SPOILING.values()):
        rows.insert(5 * place, row)
    kept, faults = train(rows)
    assert kept == 40
    assert faults == {5 * place: reason for place, reason in enumerate(SPOILING)}


def test_a_row_that_only_fails_beside_others_is_found(train):
    train.learner.fails_on = lambda inputs, targets: "no" if np.abs(inputs).max() > 90 and len(inputs) > 1 else ""
    rows = points(60)
    rows[17]["x"][1] = -99.0
    assert train(rows) == (59, {17: "a training with it fails (ArithmeticError: no)"})


def test_a_model_that_fails_on_any_rows_blames_none(train):
    train.learner.fails_on = lambda inputs, targets: "the model's own"
    with pytest.raises(ArithmeticError, match="the model's own"):
        train(points(400))
    assert train.learner.trainings < 3 * ALONE_TRIES + 20


def test_a_model_that_fails_on_many_rows_together_blames_none(train):
    train.learner.fails_on = lambda inputs, targets: "too many" if len(inputs) > 50 else ""
    with pytest.raises(ArithmeticError, match="too many"):
        train(points(400))
    assert train.learner.trainings < 2 * MOST_TRIES


@pytest.mark.parametrize("row", [row for row in SPOILING.values() if "x" not in row or row["x"] != [1e38, 0.5]])
def test_where_all_rows_are_wrong_none_is_blamed(train, row):
    with pytest.raises((ArithmeticError, KeyError, ValueError, WeightsError)):
        train([row] * 5)


def test_rows_that_a_learner_takes_are_left_alone(train):
    """One may take numbers that are missing: nothing is looked at unless a training has failed."""
    train.learner._computed = lambda wanted: {} if isinstance(wanted, Summarise) else train.learner.weights()
    rows = [*points(5), {"x": [float("nan"), 1.0], "y": 7}]
    assert train(rows) == (6, {})


def test_a_row_that_cannot_measure_is_left_out_too(train):
    own = [*points(3), {"z": 1}, {"x": [0.1, 0.2], "y": 5}, *points(2), {"x": [float("inf"), 0.5], "y": 1}]
    kept, faults = train(points(20), own)
    assert kept == 20
    assert faults == {
        23: "the task makes no arrays of it (KeyError: 'x')",
        24: "its label is 5; the model has outputs for 0 to 1",
        27: "the model's answer to it is not finite: it may hold an extreme number",
    }


def test_an_old_row_that_spoils_a_training_is_left_out_and_counted_as_none(train):
    rows, own = [*points(4), {"z": 1}, *points(5)], [*points(2), {"z": 1}]
    kept, faults = train(rows, own, [*points(3), {"x": [0.1, 0.2], "y": 5}])
    assert kept == 9
    assert faults.keys() == {4, 10 + 2, 10 + 3 + 3}
    assert faults[16] == "its label is 5; the model has outputs for 0 to 1"


def test_memory_that_runs_out_is_not_the_rows(train):
    def fails(inputs, targets):
        raise MemoryError

    train.learner.fails_on = fails
    with pytest.raises(MemoryError):
        train(points(20))
    assert train.learner.trainings == 1
