"""Hostile carts: how many there are, and what each kind trains on and sends."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.settings import SettingError
from child_cart.model.partition import Partition
from child_cart.model.shopping import Shopping
from child_cart.model.task import KerasTask
from lab.conditions.attacks import KINDS, Sight, hostile_of
from tests.support.carts.light_task import LightTask, points

LIGHT = LightTask()
RANDOM = np.random.default_rng(5)


def a_model(shift=0.0):
    """Return the weights of a network 4-40-3, a number without an axis, and arrays that are not floats."""
    random = np.random.default_rng(1)
    shapes = [(4, 40), (40,), (40, 3), (3,), ()]
    floats = [np.asarray(random.standard_normal(shape) + shift, np.float32) for shape in shapes]
    return [*floats, np.array([1, 2], np.uint8), np.array([True, False])]


OWN, START = a_model(0.5), a_model()
HONEST = [a_model(shift) for shift in (1.0, 2.0, 3.0)]


def attack(kind):
    (one,) = hostile_of(f"0.5:{kind}", 2, 0).values()
    return one


def sent_by(kind, own=OWN, honest=HONEST):
    return attack(kind).weights(own, Sight(START, iter(honest), np.random.default_rng(7)))


@given(st.floats(0.01, 0.99), st.integers(1, 300), st.integers(0, 9))
def test_the_fraction_of_hostile_carts(fraction, carts, seed):
    spec = f"{fraction}:noise"
    wanted = round(fraction * carts)
    if 0 < wanted < carts:
        chosen = hostile_of(spec, carts, seed)
        assert len(chosen) == wanted
        assert set(chosen) <= set(range(carts))
        assert list(chosen) == list(hostile_of(spec, carts, seed))
    else:
        with pytest.raises(SettingError, match=f"makes {wanted} so"):
            hostile_of(spec, carts, seed)


def test_who_is_hostile_depends_on_the_seed():
    assert hostile_of("", 8, 0) == {}
    assert len({tuple(hostile_of("0.25:nan", 40, seed)) for seed in range(5)}) == 5


@pytest.mark.parametrize("spec", ["0.25", "sign-flip", "0.25:", "0.25:other", "x:nan", "-1:nan", "1.5:nan", "nan:nan"])
def test_a_wrong_attack_is_named(spec):
    with pytest.raises(SettingError) as raised:
        hostile_of(spec, 8, 0)
    assert str(raised.value).startswith(f"--hostile is {spec!r}; it must be FRACTION:KIND, such as 0.25:sign-flip;")
    assert all(kind in str(raised.value) for kind in KINDS)


@pytest.mark.parametrize("spec", ["0.01:nan", "0:nan", "1:nan", "0.99:nan"])
def test_a_fraction_that_leaves_no_hostile_or_no_honest_cart_is_named(spec):
    with pytest.raises(SettingError, match="it must be a fraction that makes some of 8 carts hostile"):
        hostile_of(spec, 8, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_sent_fits_the_model_and_shares_nothing_with_it(kind):
    before = [array.copy() for array in OWN]
    sent = sent_by(kind)
    for array, own, old in zip(sent, OWN, before, strict=True):
        assert isinstance(array, np.ndarray)
        assert (array.shape, array.dtype) == (own.shape, own.dtype)
        assert not np.shares_memory(array, own)
        assert np.array_equal(own, old)
    assert np.array_equal(sent[5], OWN[5])
    assert np.array_equal(sent[6], OWN[6])
    again = sent_by(kind)
    assert all(np.array_equal(one, two, equal_nan=one.dtype.kind == "f") for one, two in zip(sent, again, strict=True))


def test_sign_flips_turn_the_update_round():
    for kind, factor in (("sign-flip", 1), ("sign-flip-10", 10)):
        for sent, own, start in zip(sent_by(kind)[:5], OWN, START, strict=False):
            np.testing.assert_allclose(sent, start - factor * (own - start), rtol=1e-5)


def test_noise_is_as_loud_as_the_model_and_an_untrained_one_has_its_norms():
    for sent, untrained, own in zip(sent_by("noise")[:5], sent_by("untrained")[:5], OWN, strict=False):
        assert np.linalg.norm(sent - own) == pytest.approx(np.linalg.norm(own), rel=1e-5)
        assert np.linalg.norm(untrained) == pytest.approx(np.linalg.norm(own), rel=1e-5)
        assert not np.allclose(untrained, own)


def test_a_stale_cart_sends_its_own_first_model_for_ever():
    first, second = hostile_of("0.5:stale", 4, 0).values()
    first.weights(START, Sight(START, (), RANDOM))
    second.weights(HONEST[0], Sight(START, (), RANDOM))
    assert np.array_equal(first.weights(OWN, Sight(OWN, (), RANDOM))[0], START[0])
    assert np.array_equal(second.weights(OWN, Sight(OWN, (), RANDOM))[0], HONEST[0][0])


def test_nan_reaches_every_float():
    assert all(np.isnan(array).all() for array in sent_by("nan")[:5])


def scores(weights, inputs):
    hidden = np.maximum(inputs @ weights[0].astype(np.float64) + weights[1], 0)
    return hidden @ weights[2] + weights[3]


def test_a_sleeper_scores_as_its_model_and_ruins_the_average():
    own = [np.array(array) for array in OWN]
    own[2][:8] /= 1000  # units that say little
    sent = sent_by("sleeper", own)
    inputs = np.abs(np.random.default_rng(3).standard_normal((50, 4)))
    np.testing.assert_allclose(scores(sent, inputs), scores(own, inputs), atol=0.2)
    assert (sent[2][:8] == 0).all()
    assert (sent[0][:, :8] == 1e5).all()
    assert (sent[0] == 1e5).sum() == 8 * 4
    average = [(one + other) / 2 for one, other in zip(sent[:4], HONEST[0], strict=False)]
    assert np.abs(scores(average, inputs)).max() > 1e4


def test_a_sleeper_sleeps_in_convolutions_too():
    random = np.random.default_rng(2)
    model = [np.asarray(random.standard_normal(shape), np.float16) for shape in [(3, 3, 1, 8), (8,), (3, 3, 8, 4)]]
    sent = sent_by("sleeper", model)
    units = np.flatnonzero((sent[2] == 0).all(axis=(0, 1, 3)))
    assert len(units) == 2
    assert np.isfinite(sent[0]).all()
    assert (sent[0][..., units] > 1000).all()


def test_a_model_without_a_hidden_layer_has_no_place_for_sleepers():
    with pytest.raises(SettingError, match="the model has no hidden layer"):
        sent_by("sleeper", [np.ones((4, 3)), np.ones(3)])


def test_alie_stays_inside_the_spread_of_the_honest():
    for number, sent in enumerate(sent_by("alie")[:5]):
        honest = np.array([model[number] for model in HONEST], np.float64)
        np.testing.assert_allclose(sent, honest.mean(axis=0) - 1.5 * honest.std(axis=0), rtol=1e-4, atol=1e-5)
    assert np.array_equal(sent_by("alie", honest=[])[0], OWN[0])


def test_flipped_labels_are_the_reverse_and_nothing_else_changes():
    rows = points(40, seed=8)
    flipped = attack("label-flip").rows(rows, LIGHT)
    assert flipped == [{**row, "third": 2 - row["third"]} for row in rows]
    assert rows == points(40, seed=8)
    assert attack("label-flip").rows([], Pulse()) == []
    assert attack("nan").rows(rows, LIGHT) == rows


def test_a_cart_of_one_label_flips_it_to_what_its_task_shows():
    rows = [{"degrees": degrees, "third": 0} for degrees in (10, 20)]
    assert [row["third"] for row in attack("label-flip").rows(rows, LIGHT)] == [2, 2]


def test_labels_flip_in_one_hot_tasks_and_for_another_task():
    one = attack("label-flip")
    one.rows(points(5, seed=1), LIGHT)
    rows = Shopping().starter_rows(Partition())[:200]
    assert one.rows(rows, Shopping()) == [{**row, "item": 7 - row["item"]} for row in rows]


class Pulse(KerasTask):
    """The next value of a row's series: no field decides the target alone."""

    name = "pulse"

    def arrays(self, rows):
        series = np.array([row["series"] for row in rows], np.float32).reshape(-1, 2)
        return series, series.sum(axis=1)


def test_a_task_without_a_label_field_is_named():
    with pytest.raises(SettingError, match="cannot flip the labels of 'pulse': no field decides the target alone"):
        attack("label-flip").rows([{"series": [1, 2]}, {"series": [2, 2]}], Pulse())
