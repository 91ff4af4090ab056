"""What a cart may send in a second: who takes more waits for just as long as it takes to earn it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parent_cart.bridge.allowance import BURST_S, Allowance, RateLimits


def test_without_limits_nobody_waits() -> None:
    assert Allowance(RateLimits(), 0.0).spend(10**9, 10**12, 0.0) == 0


def test_a_burst_is_free_and_then_it_is_earned() -> None:
    allowance = Allowance(RateLimits(bytes_per_s=1000), 0.0)
    assert allowance.spend(1, 1000, 0.0) == 0
    assert allowance.spend(1, 500, 0.0) == pytest.approx(0.5)
    assert allowance.spend(1, 0, 0.5) == 0
    assert allowance.spend(1, 100, 0.5) == pytest.approx(0.1)


def test_frames_count_as_well_and_the_longer_wait_holds() -> None:
    allowance = Allowance(RateLimits(frames_per_s=10, bytes_per_s=1000), 0.0)
    assert allowance.spend(30, 1500, 0.0) == pytest.approx(2.0)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 5000), st.floats(0, 10)), max_size=50),
    st.integers(1, 100),
    st.integers(1, 10_000),
)
def test_who_waits_as_told_never_passes_the_rate(reads: list[tuple[int, int, float]], frames: int, count: int) -> None:
    allowance, now = Allowance(RateLimits(frames, count), 0.0), 0.0
    seen_frames = seen_bytes = 0
    for read_frames, read_bytes, idle_s in reads:
        now += idle_s
        now += allowance.spend(read_frames, read_bytes, now)
        seen_frames, seen_bytes = seen_frames + read_frames, seen_bytes + read_bytes
        assert seen_frames <= frames * (now + BURST_S) * (1 + 1e-9) + 1e-6
        assert seen_bytes <= count * (now + BURST_S) * (1 + 1e-9) + 1e-6
