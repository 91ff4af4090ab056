"""Delays grow, are capped, are never zero, and start again after a success."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.backoff import Backoff, jittered


@given(st.floats(0.001, 10), st.floats(0.001, 100), st.integers(1, 80), st.randoms(use_true_random=False))
def test_each_delay_lies_between_half_and_all_of_its_step(
    first_s: float, cap_s: float, tries: int, chance: random.Random
) -> None:
    backoff = Backoff(first_s, cap_s, chance.uniform)
    for number in range(tries):
        ceiling = min(cap_s, first_s * 2.0**number)
        assert ceiling / 2 <= backoff.next_delay_s() <= ceiling


@given(st.floats(0, 1e6), st.floats(0, 1), st.floats(1, 3), st.randoms(use_true_random=False))
def test_a_jittered_time_lies_between_its_bounds(
    seconds: float, least: float, most: float, chance: random.Random
) -> None:
    rounding = 1 + 1e-12
    assert least * seconds / rounding <= jittered(seconds, least, most, chance.uniform) <= most * seconds * rounding
    assert seconds / 2 <= jittered(seconds) <= seconds


def test_it_grows_to_the_cap_and_starts_again_after_a_success() -> None:
    backoff = Backoff(1.0, 10.0, lambda low, high: high)
    assert [backoff.next_delay_s() for _ in range(6)] == [1, 2, 4, 8, 10, 10]
    backoff.reset()
    assert backoff.next_delay_s() == 1


def test_a_week_of_tries_costs_nothing() -> None:
    backoff = Backoff(0.5, 60.0)
    delays = [backoff.next_delay_s() for _ in range(10_000)]
    assert 30 <= delays[-1] <= 60
