"""The comparison: it uses the rows that a cart has really trained on, and the model that it really has."""

import time

import numpy as np
import pytest

from child_cart.db.records import ModelVersion, Origin, Outcome, RoundRecord
from child_cart.db.sqlite import SqliteStore
from child_cart.model.digits import Digits
from child_cart.model.shopping import Shopping
from child_cart.model.weights_file import write_weights
from demo.fleet import cart_folder
from demo.kept import kept_by
from demo.references import Follower, MeasuringRequest, answers, rows_never_seen
from tests.support.carts.light_task import LightTask, SoftmaxRegression, points

LIGHT = LightTask()


class WrittenCart:
    """The folder of a cart, written as a cart writes it."""

    def __init__(self, folder, rows, weights):
        (folder / "models").mkdir(parents=True)
        self.folder = folder
        self.store = SqliteStore(folder / "cart.db")
        self.store.record_rows("a", rows)
        self._number = 0
        self._weights = weights
        self.version(Origin.INITIAL, 0, 0, 0)
        self.version(Origin.STARTER, 0, 0, 0)

    def version(self, origin, first, last, round_number):
        path = self.folder / "models" / f"{self._number}.h5"
        digest = write_weights(path, self._weights)
        self.store.add_version(
            ModelVersion(
                number=self._number,
                task="light",
                origin=origin,
                file_name=path.name,
                digest=digest,
                signature="s",
                value=0.5,
                samples=1,
                trained_from=first,
                trained_to=last,
                created_at=time.time(),
                round_number=round_number,
            )
        )
        self._number += 1

    def round(self, number, first, last, outcome=Outcome.AGGREGATED):
        """Write a round; without an outcome it has trained and not ended yet."""
        self.version(Origin.LOCAL, first, last, number)
        if outcome is Outcome.AGGREGATED:
            self.version(Origin.AGGREGATED, last, last, number)
        self.store.save_round(RoundRecord(f"r{number}", number, 0.0, outcome=outcome))


@pytest.fixture
def cart(tmp_path):
    """Return a function that writes a cart which has ended two rounds and waits with five rows."""
    written = []

    def write(number=1, rows=None, weights=None):
        folder = cart_folder(tmp_path, number)
        written.append(WrittenCart(folder, rows or points(35, seed=number), weights or LIGHT.build_learner().weights()))
        written[-1].round(1, 0, 20)
        written[-1].round(2, 20, 30, Outcome.NOT_ENOUGH_PEERS)
        return written[-1]

    yield write
    for one in written:
        one.store.close()


def learned():
    learner = LIGHT.build_learner()
    learner.train(*LIGHT.arrays(points(300, seed=5)), lambda *_: None)
    return learner.weights()


def test_the_rows_of_each_training_without_those_held_out(cart):
    rows = points(35, seed=9)
    folder = cart(rows=rows).folder
    kept = kept_by(folder, points(7, seed=1))  # while the cart has its store open
    assert {number: len(batch) for number, batch in kept.batches.items()} == {0: 7, 1: 18, 2: 9}  # five rows still wait
    assert list(kept.batches[1]) == [row for place, row in enumerate(rows[:20], 1) if place % 10]
    assert (kept.averaged, kept.ended, kept.trained_to) == (1, 2, 30)
    assert len(kept.weights(2)) == 2
    assert kept_by(folder, []).averaged == 1, "reading has changed nothing"


def test_a_round_that_has_not_ended_does_not_count(cart):
    written = cart()
    written.round(3, 30, 35, outcome=None)
    kept = kept_by(written.folder, [])
    assert kept.ended == 2
    assert set(kept.batches) == set(kept.models) - {0} == {1, 2}
    assert kept.trained_to == 30


def test_what_is_known_is_not_read_again(cart):
    written = cart(rows=points(45, seed=1))
    written.round(3, 30, 45)
    whole, rest = kept_by(written.folder, []), kept_by(written.folder, [], known_rows=30)
    assert rest.batches == {3: whole.batches[3]}
    assert len(rest.batches[3]) == 14


def test_a_killed_cart_is_read_with_what_it_had_committed(cart, tmp_path):
    """A cart that is killed leaves the last pages of its store in the write-ahead log."""
    written = cart()
    assert (written.folder / "cart.db-wal").stat().st_size > 0
    left = tmp_path / "left"
    (left / "models").mkdir(parents=True)
    for file in written.folder.glob("cart.db*"):
        if not file.name.endswith("-shm"):
            (left / file.name).write_bytes(file.read_bytes())
    assert kept_by(left, []).ended == 2


def test_the_references_learn_what_is_new_and_end_as_if_trained_at_once(cart, tmp_path):
    carts = [cart(number, points(45, seed=number), learned()) for number in (1, 2)]
    step_by_step = Follower(tmp_path, LIGHT, 2, 50)
    first = step_by_step.point([1, 2])
    assert (first.round, first.carts, first.test_rows) == (2, 2, 100)
    assert first.federated > 0.8
    carts[0].round(3, 30, 45)
    assert step_by_step.point([1, 2]) == first, "the other cart has not ended its third round"
    assert step_by_step.point([1]).round == 3
    carts[1].round(3, 30, 45)
    third = step_by_step.point([1, 2])
    *steps, results = step_by_step.results()
    assert [step["done"] for step in steps] == [1, 2, 3, 4]
    assert results["carts"][0]["rows"] == 50 + 27 + 14
    assert results["together_rows"] == 2 * 91
    assert results["together"] == third.together > 0.8
    at_once = Follower(tmp_path, LIGHT, 2, 50)
    assert at_once.point([1, 2]).alone == third.alone
    *_, again = at_once.results()
    assert again["carts"] == results["carts"]


def test_figures_do_not_depend_on_how_often_the_carts_are_looked_at(cart, tmp_path):
    """The learner draws the order of its rows, as one of Keras does."""

    class Drawing(LightTask):
        def build_learner(self):
            learner, draw, train = super().build_learner(), np.random.default_rng(1), SoftmaxRegression.train

            def train_some(inputs, targets, report):
                chosen = draw.permutation(len(inputs))[: len(inputs) // 2]
                train(learner, inputs[chosen], targets[chosen], report)

            learner.train = train_some
            return learner

    carts = [cart(number, points(45, seed=number)) for number in (1, 2)]
    often = Follower(tmp_path, Drawing(), 2, 50)
    often.point([1, 2])
    for one in carts:
        one.round(3, 30, 45)
    assert often.point([1, 2]) == Follower(tmp_path, Drawing(), 2, 50).point([1, 2])


def test_a_cart_without_a_model_file_has_no_accuracy(cart, tmp_path):
    cart(1)
    for path in (cart(2).folder / "models").iterdir():
        path.unlink()
    *_, results = Follower(tmp_path, LIGHT, 2, 50).results()
    assert results["carts"][0]["federated"] is not None
    assert results["carts"][1]["federated"] is None


def test_a_request_is_answered_by_a_point_and_the_last_one_also_by_the_results(cart, tmp_path):
    cart(1), cart(2)
    follower = Follower(tmp_path, LIGHT, 2, 50)
    assert [next(iter(answer)) for answer in answers(follower, MeasuringRequest([1, 2]))] == ["point"]
    last = [next(iter(answer)) for answer in answers(follower, MeasuringRequest([1, 2], is_last=True))]
    assert last == ["point", "done", "done", "done", "carts"]


def test_without_rows_to_measure_on_nothing_has_an_accuracy(cart, tmp_path):
    class Unmeasured(LightTask):
        def evaluation_rows(self):
            return []

    cart(1)
    follower = Follower(tmp_path, Unmeasured(), 1, 50)
    point = follower.point([1])
    assert (point.alone, point.federated, point.together, point.test_rows) == (None, None, None, 0)
    *_, results = follower.results()
    assert results["carts"][0]["rows"] > 50


@pytest.mark.parametrize("task", [Shopping(), Digits()])
def test_no_cart_trains_on_the_rows_to_measure_on(task):
    assert rows_never_seen(task) == task.test_rows()


def test_a_task_without_test_rows_is_measured_on_its_evaluation_rows():
    assert rows_never_seen(LIGHT) == LIGHT.evaluation_rows()
