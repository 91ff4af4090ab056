"""A received model is judged by the window and by its numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.model.arrays import specs_of
from child_cart.model.metric import Metric, MetricDirection
from child_cart.model.verdict import MAX_WEIGHT, AcceptWindow, VerdictReason, weights_problem

ACCURACY = st.floats(0, 1)


@pytest.mark.parametrize(
    ("received", "reason"),
    # a window of 12.5 and 25 points around 0.5; its borders are exact in binary
    [(0.5, "ACCEPTED"), (0.376, "ACCEPTED"), (0.375, "TOO_WEAK"), (0.749, "ACCEPTED"), (0.75, "TOO_STRONG")],
)
def test_the_window(received, reason):
    assert AcceptWindow(12.5, 25).judge(0.5, received) == reason


@given(ACCURACY, ACCURACY, st.floats(0, 100), st.floats(0, 100))
def test_exactly_one_side_or_accepted(local, received, backward, forward):
    reason = AcceptWindow(backward, forward).judge(local, received)
    inside = -backward < 100 * (received - local) < forward
    assert (reason is VerdictReason.ACCEPTED) == inside
    if reason is VerdictReason.TOO_STRONG:
        assert 100 * (received - local) > -backward


def test_an_accuracy_that_is_none_is_never_accepted():
    assert AcceptWindow(100, 100).judge(0.5, float("nan")) is VerdictReason.TOO_WEAK


ERROR = Metric("mean absolute error", "mm", MetricDirection.LOWER)


@pytest.mark.parametrize(
    ("received", "reason"),
    # Points of an error are per cent of the larger of both: a window of 50 and 20 around 8 mm.
    [(8.0, "ACCEPTED"), (15.9, "ACCEPTED"), (16.0, "TOO_WEAK"), (6.5, "ACCEPTED"), (6.3, "TOO_STRONG")],
)
def test_the_window_around_an_error(received, reason):
    assert AcceptWindow(50, 20, ERROR).judge(8.0, received) == reason


def test_the_widest_window_takes_any_error():
    assert AcceptWindow(100, 100, ERROR).judge(0.001, 5e9) is VerdictReason.ACCEPTED
    assert AcceptWindow(100, 100, ERROR).judge(0.0, 0.0) is VerdictReason.ACCEPTED
    assert AcceptWindow(25, 75, ERROR).judge(1.0, float("nan")) is VerdictReason.TOO_WEAK


def test_what_was_not_measured_is_not_judged():
    assert AcceptWindow(0, 0).judge(0.5, None) is VerdictReason.ACCEPTED
    assert AcceptWindow(0, 0, ERROR).judge(None, 0.5) is VerdictReason.ACCEPTED


GOOD = [np.ones((2, 2), np.float32), np.zeros(0, np.float32), np.ones(3, np.int32)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: w, None),
        (lambda w: w[:2], VerdictReason.WRONG_SHAPE),
        (lambda w: [w[0].T.reshape(4), *w[1:]], VerdictReason.WRONG_SHAPE),
        (lambda w: [w[0].astype(np.float64), *w[1:]], VerdictReason.WRONG_SHAPE),
        (lambda w: [np.array([[1, np.nan], [0, 0]], np.float32), *w[1:]], VerdictReason.NOT_FINITE),
        (lambda w: [np.array([[1, -np.inf], [0, 0]], np.float32), *w[1:]], VerdictReason.NOT_FINITE),
        (lambda w: [np.full((2, 2), -2 * MAX_WEIGHT, np.float32), *w[1:]], VerdictReason.HUGE_WEIGHTS),
    ],
)
def test_weights_are_checked_before_they_are_scored(change, reason):
    assert weights_problem(change(GOOD), specs_of(GOOD)) is reason
