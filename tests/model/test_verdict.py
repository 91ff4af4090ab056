"""A received model is judged by the window and by its numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.model.arrays import specs_of
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
    inside = local - backward / 100 < received < local + forward / 100
    assert (reason is VerdictReason.ACCEPTED) == inside
    if reason is VerdictReason.TOO_STRONG:
        assert received > local - backward / 100


def test_an_accuracy_that_is_none_is_never_accepted():
    assert AcceptWindow(100, 100).judge(0.5, float("nan")) is VerdictReason.TOO_WEAK


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
