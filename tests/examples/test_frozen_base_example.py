"""The example with a frozen base: the head alone travels, and learns together what the base has never seen."""

import pytest

from child_cart.model.aggregation import average
from child_cart.model.codec import encode
from child_cart.model.partition import Partition
from child_cart.model.precision import halved
from child_cart.model.task import TaskError
from child_cart.model.trainer_commands import model_signature
from examples.frozen_base import FrozenBase
from examples.frozen_base.make_base import make

WIDTH = 128


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    task = FrozenBase()
    task.path = tmp_path_factory.mktemp("base") / "base.npz"
    assert make(task.path, WIDTH) > 0.9
    return task


def test_two_carts_learn_what_the_base_has_never_seen_and_send_the_head_alone(task):
    learner = task.build_learner()
    start = learner.weights()
    assert [array.shape for array in start] == [(WIDTH, 5), (5,)]
    assert len(encode(halved(start))) < task.path.stat().st_size / 30
    inputs, targets = task.arrays(task.test_rows())

    def value(weights):
        learner.set_weights(weights)
        return learner.metric.value(learner.predict(inputs), targets)

    merged = start
    for number in range(4):
        models = []
        for index in range(2):
            rows = task.starter_rows(Partition(index, 2))[50 * number : 50 * (number + 1)]
            learner.set_weights(merged)
            learner.train(*task.arrays(rows), lambda *_: None)
            models.append(learner.weights())
        merged = average(models, [1.0, 1.0])
    assert value(merged) > max(0.65, *map(value, models))


def test_carts_with_another_base_do_not_average(task, tmp_path):
    other = FrozenBase()
    other.path = tmp_path / "other.npz"
    with pytest.raises(TaskError, match="make it once with"):
        other.build_learner()
    make(other.path, WIDTH // 2)
    signatures = [
        model_signature("one", [array[:1] for array in learner.weights()], learner.layout)
        for learner in (task.build_learner(), task.build_learner(), other.build_learner())
    ]
    assert signatures[0] == signatures[1] != signatures[2]
