"""What a cart keeps of a mix: nothing worse than its own model, and nothing out of proportion."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from child_cart.model.aggregation.base import Contribution
from child_cart.model.aggregation.registry import load_aggregator
from child_cart.model.metric import Metric, MetricDirection
from child_cart.model.mixing import Judge, mixed
from child_cart.model.momentum import with_momentum
from child_cart.model.paired_test import is_worse, student_quantile
from child_cart.model.proportion import (
    MOST_RATIO,
    REFUSED_RATIO,
    in_proportion,
    largest_ratio,
    out_of_step,
)
from child_cart.model.row_losses import MOST_LOSS, alike, guess_loss, row_losses
from child_cart.model.task_metrics import BinaryAccuracy, ClassAccuracy, MeanAbsoluteError, TaskMetric

RANDOM = np.random.default_rng(7)
INPUTS = RANDOM.standard_normal((60, 4)).astype(np.float32)
TEACHER = RANDOM.standard_normal((4, 3)).astype(np.float32)
TARGETS = (INPUTS @ TEACHER).argmax(axis=1)
ACCURACY, NUMBERS, YES_OR_NO = ClassAccuracy(), MeanAbsoluteError(), BinaryAccuracy()
COMMON = Judge(INPUTS, TARGETS, ACCURACY, is_common=True)
OWN = Judge(INPUTS, TARGETS, ACCURACY, is_common=False)
GOOD, WRONG, POOR = [3 * TEACHER], [-3 * TEACHER], [3 * TEACHER + RANDOM.standard_normal((4, 3)).astype(np.float32)]


def kept(own, received, judge, aggregator="uniform", earlier=None, momentum=0.0):
    steps = mixed(
        load_aggregator(aggregator),
        Contribution(own, 10),
        [Contribution(weights) for weights in received],
        judge,
        earlier,
        momentum,
    )
    scores = None
    try:
        while True:
            wanted = steps.send(scores)
            scores = [wanted.inputs @ weights[0] for weights in wanted.models]
    except StopIteration as end:
        return end.value


def test_a_mix_that_is_worse_on_the_common_rows_is_not_kept():
    found = kept(GOOD, [WRONG, WRONG], COMMON)
    assert found.weights is None
    assert (found.own.value, found.mix.value < 0.5) == (1.0, True)


def test_a_mix_that_is_better_is_kept():
    found = kept(POOR, [GOOD, GOOD], COMMON)
    assert np.allclose(found.weights[0], (POOR[0] + 2 * GOOD[0]) / 3, atol=1e-5)


def test_the_subset_leaves_out_what_makes_the_mix_worse():
    found = kept(POOR, [GOOD, WRONG], COMMON, "subset")
    assert found.left_out == (1,)
    assert found.weights is not None


def test_own_rows_refuse_ruin_alone():
    worse = kept(GOOD, [POOR, POOR], OWN)
    assert worse.weights is not None
    assert kept(GOOD, [WRONG, WRONG], OWN).weights is None


def test_without_any_rows_the_mix_is_kept_and_nothing_is_measured():
    found = kept(GOOD, [WRONG], None, "subset")
    assert (found.mix, found.own) == (None, None)
    assert found.weights is not None


def test_where_no_received_model_takes_part_the_own_one_is_kept():
    found = kept(GOOD, [WRONG, WRONG], COMMON, "subset", earlier=(POOR, WRONG), momentum=0.5)
    assert (found.weights, found.left_out, found.mix, found.own.value) == (None, (0, 1), None, 1.0)


def test_momentum_that_makes_the_mix_worse_is_left_out():
    found = kept(GOOD, [GOOD], COMMON, earlier=(WRONG, GOOD), momentum=0.9)
    assert np.allclose(found.weights[0], GOOD[0])
    moved = kept(POOR, [GOOD], COMMON, earlier=(GOOD, POOR), momentum=0.5)
    assert np.allclose(moved.weights[0], (POOR[0] + GOOD[0]) / 2 + (GOOD[0] - POOR[0]) / 2, atol=1e-5)


@given(st.floats(0, 0.95), st.integers(0, 99))
def test_momentum_leaves_counters_alone_and_makes_no_variance_negative(momentum, seed):
    random = np.random.default_rng(seed)
    mix = [random.random(5), np.array([3]), np.append(random.standard_normal(4), -1.0)]
    start = [random.random(5), np.array([9]), random.standard_normal(5)]
    moved = with_momentum(mix, start, [10 * array for array in start], momentum)
    assert (moved[0] >= 0).all()
    assert moved[1] == 3
    assert np.allclose(moved[2], mix[2] - 9 * momentum * start[2])


@given(st.lists(st.floats(0, 5), min_size=5, max_size=200), st.floats(0, 5), st.integers(0, 9))
def test_a_model_is_never_worse_than_itself_nor_than_one_that_is_worse_on_each_row(losses, more, seed):
    own = np.array(losses)
    assert not is_worse(own, own)
    assert not is_worse(own, own + more * np.random.default_rng(seed).random(len(own)))
    assert is_worse(own + 0.1, own)


def test_chance_alone_is_called_worse_in_one_of_twenty():
    random = np.random.default_rng(3)
    called = [is_worse(random.random(100), random.random(100)) for _ in range(4000)]
    assert 0.035 < np.mean(called) < 0.065


@pytest.mark.parametrize("degrees", [4, 9, 29, 99, 1999])
def test_the_quantile_is_that_of_student(degrees):
    assert student_quantile(0.95, degrees) == pytest.approx(stats.t.ppf(0.95, degrees), rel=3e-3)


def network(seed=0, inputs=6, hidden=8):
    random = np.random.default_rng(seed)
    shapes = ((inputs, hidden), (hidden,), (hidden, 3), (3,))
    return [random.standard_normal(shape).astype(np.float32) * 0.3 for shape in shapes]


@given(st.floats(0.3, 1e7), st.integers(0, 7), st.sampled_from([0, 2]), st.integers(0, 5))
def test_no_unit_is_larger_than_the_most_that_is_allowed(ratio, unit, place, seed):
    own, received = network(seed), network(seed + 1)
    if place == 0:
        received[0][:, unit] *= ratio
    else:
        received[2][unit] *= ratio
    bounded = in_proportion([received], own)[0]
    for array, own_array in zip(bounded, own, strict=True):
        assert array.dtype == own_array.dtype
        if array.ndim == 2:
            for axis in (0, 1):
                norms, own_norms = (np.linalg.norm(one, axis=axis) for one in (array, own_array))
                least = np.sqrt(np.mean(np.square(np.concatenate([own[0].ravel(), own[2].ravel()])))) * np.sqrt(
                    own_array.shape[axis]
                )
                assert norms.max() <= MOST_RATIO * max(own_norms.max(), least) * 1.0001


@given(st.integers(0, 50))
def test_models_in_proportion_are_not_touched(seed):
    own, received = network(seed), network(seed + 1)
    assert all(one is other for one, other in zip(in_proportion([received], own)[0], received, strict=True))
    assert largest_ratio(received, own) < MOST_RATIO


def test_a_sleeper_is_refused_and_a_huge_bias_is_clipped():
    own, received = network(), network(1)
    received[0][:, 3], received[2][3] = 1e5, 0
    assert largest_ratio(received, own) > REFUSED_RATIO
    received = network(1)
    received[1][2] = 50.0
    assert math.isclose(largest_ratio(received, own), largest_ratio(network(1), own))
    assert np.abs(in_proportion([received], own)[0][1]).max() < 20


def test_an_array_that_is_still_zero_lets_a_peer_teach_it():
    own, received = network(), network(1)
    own[2][:] = 0
    assert in_proportion([received], own)[0][2] is received[2]


def test_a_model_of_zeros_has_no_proportions_yet():
    own, received = [np.zeros((2, 3), np.float32), np.zeros(3, np.float32)], [np.eye(2, 3), np.ones(3)]
    assert largest_ratio(received, own) < REFUSED_RATIO


def test_a_cart_that_has_learned_little_learns_from_several():
    own, received = [0.001 * array for array in network()], [network(seed) for seed in (1, 2, 3)]
    assert largest_ratio(received[0], own) < REFUSED_RATIO
    assert all(
        a is b
        for one, other in zip(in_proportion(received, own), received, strict=True)
        for a, b in zip(one, other, strict=True)
    )


@given(st.floats(2, 1e5), st.integers(0, 5))
def test_one_sleeper_among_three_is_out_of_step(ratio, seed):
    own = network(seed)
    random = np.random.default_rng(seed)
    received = [
        [array + 0.05 * random.standard_normal(array.shape).astype(np.float32) for array in own] for _ in range(3)
    ]
    assert out_of_step(received, own) == frozenset()
    received[1][0][:, 3] = ratio * np.linalg.norm(own[0], axis=0).max() / math.sqrt(len(own[0]))
    assert out_of_step(received, own) == {1}


def test_which_targets_a_training_has_taught():
    assert alike(ACCURACY, np.array([0, 1, 2]), np.array([2, 2])).tolist() == [False, False, True]
    assert alike(ACCURACY, np.eye(3), np.eye(3)[:1]).tolist() == [True, False, False]
    assert alike(YES_OR_NO, np.array([[0.0], [1.0]]), np.array([[1.0]])).tolist() == [False, True]
    assert alike(NUMBERS, np.array([[0.5], [2.0]]), np.array([[0.0], [1.0]])).tolist() == [True, False]
    assert alike(NUMBERS, {"a": np.zeros(2)}, {"a": np.ones(2)}).tolist() == [True, True]


def test_losses_of_probabilities_logits_and_numbers():
    probabilities = np.array([[0.5, 0.5], [1.0, 0.0]])
    assert row_losses(ACCURACY, probabilities, np.array([0, 1])) == pytest.approx([math.log(2), MOST_LOSS])
    assert row_losses(ACCURACY, probabilities, np.array([[0.0], [1.0]])) == pytest.approx([math.log(2), MOST_LOSS])
    assert row_losses(ACCURACY, np.array([[2.0, 2.0]]), np.array([1])) == pytest.approx([math.log(2)])
    assert row_losses(ACCURACY, np.array([[0.0, 1.0]]), np.array([[0, 1]])) == pytest.approx([0.0], abs=1e-9)
    assert row_losses(NUMBERS, np.array([[1.0], [3.0]]), np.array([1.0, 5.0])) == pytest.approx([0.0, 1.0])
    assert row_losses(ACCURACY, np.array([[np.nan, np.nan]]), np.array([0])) == pytest.approx([MOST_LOSS])
    assert guess_loss(ACCURACY, probabilities, np.array([0, 1])) == math.log(2)
    assert guess_loss(NUMBERS, np.zeros((2, 1)), np.zeros(2)) == 1.0


def test_of_all_else_the_losses_are_those_of_the_metric():
    wanted = np.array([0, 1, 1, 0])
    assert row_losses(YES_OR_NO, np.array([[0.1], [0.9], [0.2], [0.3]]), wanted).tolist() == [0, 0, 1, 0]
    steps = np.eye(3)[np.array([[0, 1], [2, 2]])]
    assert row_losses(ACCURACY, steps, np.array([[0, 2], [2, 2]])).tolist() == [0.5, 0]


@pytest.mark.parametrize("constant", [0.1, 0.9])
def test_a_model_that_says_the_same_of_every_row_knows_nothing(constant):
    wanted = np.arange(40) % 2
    said = np.full((40, 1), constant)
    assert row_losses(YES_OR_NO, said, wanted).mean() >= guess_loss(YES_OR_NO, said, wanted)
    right = 0.8 * wanted[:, np.newaxis]
    assert row_losses(YES_OR_NO, right, wanted).mean() < guess_loss(YES_OR_NO, right, wanted)


class TwoHeads(TaskMetric):
    """A task's own metric of a model with two outputs."""

    metric = Metric("distance", "m", MetricDirection.LOWER)

    def losses(self, predictions, targets):
        both = [np.abs(predictions[name] - targets[name]).mean(axis=1) for name in ("far", "near")]
        return np.sum(both, axis=0)


def judged_by_two_heads(received, is_common):
    """Mix a model of two outputs, which its own rows know, with others."""
    targets = {"far": INPUTS @ TEACHER, "near": -INPUTS @ TEACHER}
    judge = Judge({"seen": INPUTS}, targets, TwoHeads(), is_common)
    steps = mixed(load_aggregator("subset"), Contribution([TEACHER]), received, judge, None, 0.0)
    answers = None
    try:
        while True:
            wanted = steps.send(answers)
            said = [wanted.inputs["seen"] @ weights[0] for weights in wanted.models]
            answers = [{"far": one, "near": -one} for one in said]
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize("is_common", [True, False])
def test_a_model_of_several_outputs_is_not_made_worse(is_common):
    hostile = [Contribution([-TEACHER]), Contribution([-1.2 * TEACHER])]
    found = judged_by_two_heads(hostile, is_common)
    assert found.weights is None or np.allclose(found.weights[0], TEACHER)
    assert found.own.value == pytest.approx(0, abs=1e-5)
    honest = judged_by_two_heads([Contribution([TEACHER + np.float32(1e-6)])], is_common)
    assert (honest.left_out, honest.weights is not None) == ((), True)


def test_what_cannot_be_measured_is_never_kept():
    class Infinite(TwoHeads):
        def losses(self, predictions, targets):
            return np.where(predictions.argmax(axis=-1) == targets, 0.0, np.inf)

    for is_common in (True, False):
        assert kept(GOOD, [WRONG, WRONG], Judge(INPUTS, TARGETS, Infinite(), is_common)).weights is None


def test_arrays_that_measure_rows_have_no_proportions():
    own, received = [*network(), np.ones(8, np.float32)], [*network(1), np.full(8, 1e6, np.float32)]
    wide = np.ones((8, 8), np.float32)
    own_matrix, matrix = [*network(), wide], [*network(1), np.where(np.arange(8) == 3, np.float32(1e6), wide)]
    assert in_proportion([received], own, {4})[0][4] is received[4]
    assert in_proportion([received], own)[0][4].max() < 1e6
    assert largest_ratio(matrix, own_matrix, {4}) < MOST_RATIO < largest_ratio(matrix, own_matrix)
    usual = [*network(1), np.full(8, 1.1, np.float32)]
    assert out_of_step([usual, usual, received], own, {4}) == frozenset()
    assert out_of_step([usual, usual, received], own) == {2}
