"""Aggregators are pure: mixes of equal models are these, orders do not matter, and few hostile models do not decide."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.config import CartSettings
from child_cart.model.aggregation.base import Aggregator, Contribution, Mix, Quality
from child_cart.model.aggregation.mixes import Mixes
from child_cart.model.aggregation.registry import (
    AGGREGATORS,
    DEFAULT_AGGREGATOR,
    AggregatorError,
    check_aggregator,
    load_aggregator,
)
from child_cart.model.aggregation.subset import LEFT_OUT_NATS, Subset
from child_cart.model.aggregation.weighted_average import average
from child_cart.model.arrays import specs_of

ROOT = Path(__file__).resolve().parents[2]
NUMBERS = st.floats(-8, 8, width=32)
every_aggregator = pytest.mark.parametrize("name", AGGREGATORS)


def model(values, samples=None) -> Contribution:
    """A model of one matrix, one vector of halves and one counter."""
    numbers = np.array(values, np.float32)
    return Contribution(
        [numbers.reshape(2, 2), numbers[:2].astype(np.float64), np.array([int(numbers[0])], np.int64)], samples
    )


MODELS = st.builds(model, st.lists(NUMBERS, min_size=4, max_size=4), st.none() | st.integers(0, 2**53))
SEVERAL = st.lists(MODELS, min_size=1, max_size=8)


def by_distance(weights) -> Quality:
    """Measure weights: those nearer to zero are better."""
    loss = float(np.abs(weights[0]).mean())
    return Quality(loss, 1 / (1 + loss))


def mixed(aggregator: Aggregator, own, received, measure=by_distance, asked=None) -> Mix:
    steps = aggregator.mix(own, received)
    if not isinstance(steps, Generator):
        return steps
    qualities = None
    try:
        while True:
            wanted = steps.send(qualities)
            qualities = [measure(weights) for weights in wanted]
            if asked is not None:
                asked.append(len(qualities))
    except StopIteration as end:
        return end.value


def equal(one, other, tolerance=1e-5) -> bool:
    return all(np.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(one, other, strict=True))


@every_aggregator
@given(own=MODELS, count=st.integers(1, 8))
def test_the_mix_of_equal_models_is_this_model(name, own, count):
    assert equal(mixed(load_aggregator(name), own, [own] * count).weights, own.weights)


@every_aggregator
@given(own=MODELS, received=SEVERAL)
def test_a_mix_has_the_shapes_and_dtypes_of_the_own_model_and_lies_between_all(name, own, received):
    found = mixed(load_aggregator(name), own, received)
    assert specs_of(found.weights) == specs_of(own.weights)
    stacked = np.stack([own.weights[0], *(one.weights[0] for one in received)])
    assert (found.weights[0] >= stacked.min(axis=0) - 1e-5).all()
    assert (found.weights[0] <= stacked.max(axis=0) + 1e-5).all()
    assert set(found.left_out) <= set(range(len(received)))


@pytest.mark.parametrize("name", [name for name in AGGREGATORS if "krum" not in name])  # of equal scores Krum takes one
@given(
    own=MODELS,
    numbered=st.permutations(range(6)),
    values=st.lists(st.integers(-50, 50), min_size=6, max_size=6, unique=True),
)
def test_the_order_of_received_models_does_not_matter(name, own, numbered, values):
    received = [model([value, value / 7, -value, value * 2], 5) for value in values]
    aggregator = load_aggregator(name)
    straight, shuffled = (mixed(aggregator, own, given) for given in (received, [received[n] for n in numbered]))
    assert by_distance(straight.weights).loss == pytest.approx(by_distance(shuffled.weights).loss, abs=1e-4)


@every_aggregator
@given(own=MODELS, received=SEVERAL)
def test_no_model_is_changed(name, own, received):
    before = [[np.array(array) for array in one.weights] for one in (own, *received)]
    mixed(load_aggregator(name), own, received)
    for weights, one in zip(before, (own, *received), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(weights, one.weights, strict=True))


@pytest.mark.parametrize("name", ["median", "trimmed_mean", "multi_krum", "krum", "subset"])
def test_two_hostile_models_of_seven_do_not_decide(name):
    honest = [model([1 + place / 10] * 4) for place in range(5)]
    hostile = [model([8e5] * 4), model([-3e5] * 4)]
    found = mixed(load_aggregator(name), honest[0], [hostile[0], *honest[1:], hostile[1]])
    assert np.abs(found.weights[0] - 1.2).max() < 0.3


def test_clipped_gossip_moves_no_further_than_the_median_distance():
    own, near, far = model([0.0] * 4), model([1.0] * 4), model([1e6] * 4)
    found = mixed(load_aggregator("clipped_gossip"), own, [near, near, far])
    assert 0 < found.weights[0].max() <= 3 / 4 + 1e-6


@given(own=MODELS, received=SEVERAL)
def test_the_best_subset_is_at_least_as_good_as_the_own_model_and_as_all(own, received):
    found = mixed(Subset(most_exhaustive=8), own, received)
    alone = by_distance(own.weights).loss + LEFT_OUT_NATS * len(received)
    everything = by_distance(average([own.weights, *(one.weights for one in received)], [1.0] * (1 + len(received))))
    assert by_distance(found.weights).loss <= min(alone, everything.loss) + 1e-5


@given(own=MODELS, received=SEVERAL)
def test_the_greedy_subset_is_between_the_best_one_and_the_better_of_both_ends(own, received):
    def cost(found):
        return by_distance(found.weights).loss + LEFT_OUT_NATS * len(found.left_out)

    best, greedy = (cost(mixed(Subset(most), own, received)) for most in (8, 0))
    alone = by_distance(own.weights).loss + LEFT_OUT_NATS * len(received)
    assert best - 1e-5 <= greedy <= alone + 1e-5


def test_a_greedy_search_asks_less_than_an_exhaustive_one():
    received = [model([value] * 4) for value in range(1, 11)]
    asked: list[int] = []
    mixed(Subset(0), model([0.5] * 4), received, asked=asked)
    assert sum(asked) <= 2 + 10 * 11


@given(own=MODELS, received=SEVERAL, data=st.data())
def test_mixes_are_the_averages_of_their_shares(own, received, data):
    models = [own.weights, *(one.weights for one in received)]
    shares = [
        [1.0, *data.draw(st.lists(st.floats(0, 9), min_size=len(received), max_size=len(received)))] for _ in range(3)
    ]
    mixes = Mixes(models, shares)
    assert len(mixes) == 3
    for made, again, parts in zip(mixes, mixes[0:3], shares, strict=True):
        exact = average(models, parts)
        assert specs_of(made) == specs_of(exact)
        assert equal(made[:2], exact[:2], 1e-4)
        assert equal(made, again, 0)


@given(own=MODELS, received=MODELS)
def test_a_claim_of_samples_counts_for_at_most_as_much_as_the_own_ones(own, received):
    samples = load_aggregator("samples")
    share = samples.weight(received, own)
    assert share <= max(own.samples or 0, 1)
    assert received.samples is not None or share == samples.weight(own, own) or not own.samples


def test_accuracy_is_measured_and_never_claimed():
    good, bad = model([0.0] * 4, 1), model([8.0] * 4, 2**53)
    found = mixed(load_aggregator("accuracy"), good, [bad], lambda weights: Quality(0.0, float(weights[0].max() == 0)))
    assert equal(found.weights, good.weights)


def test_the_default_is_there_and_every_name_loads():
    assert CartSettings().aggregator == DEFAULT_AGGREGATOR == "subset"
    assert all(isinstance(load_aggregator(name), Aggregator) for name in AGGREGATORS)


class First(Aggregator):
    """Take the first received model."""

    def mix(self, own, received):
        return Mix(received[0].weights, tuple(range(1, len(received))))


def test_one_of_ones_own_is_loaded_by_its_class():
    assert isinstance(load_aggregator(f"{__name__}:First"), Aggregator)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no_such_module:Class", "No module named"),
        (f"{__name__}:Nothing", "has no attribute"),
        ("pathlib:Path", "must be derived from"),
    ],
)
def test_one_that_cannot_be_used_is_named(name, why):
    assert check_aggregator(name) is None
    with pytest.raises(AggregatorError, match=why):
        load_aggregator(name)


@pytest.mark.parametrize("name", ["", "luck", "a:b:c", "a b:C", "../x:C"])
def test_a_name_of_another_form_is_refused(name):
    assert "subset" in check_aggregator(name)


def test_the_names_need_no_numpy():
    code = "import sys; import child_cart.model.aggregation.registry; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
