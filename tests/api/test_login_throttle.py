"""How often a password may be tried."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.api.access.login_throttle import ADDRESSES_KEPT, LoginThrottle


def test_an_address_has_a_few_tries_and_then_one_each_half_minute() -> None:
    attempts = LoginThrottle()
    assert [attempts.take("a", 0.0) for _ in range(6)] == [0, 0, 0, 0, 0, 30]
    assert attempts.take("b", 0.0) == 0
    assert attempts.take("a", 29.0) == pytest.approx(1)
    assert attempts.take("a", 30.0) == 0
    assert attempts.take("a", 30.0) == 30


def test_all_addresses_together_have_a_bound() -> None:
    attempts = LoginThrottle(in_all=3, all_refill_s=3)
    assert [attempts.take(str(number), 0.0) for number in range(4)] == [0, 0, 0, 3]
    assert attempts.take("9", 3.0) == 0


def test_a_right_password_gives_the_tries_back() -> None:
    attempts = LoginThrottle(in_all=2)
    for _ in range(20):
        assert attempts.take("a", 0.0) == 0
        attempts.give_back("a")


@given(st.lists(st.tuples(st.integers(0, 3000), st.floats(0, 50)), max_size=400))
def test_nobody_gets_more_tries_than_time_has_brought(asked: list[tuple[int, float]]) -> None:
    attempts, now, taken = LoginThrottle(), 0.0, 0
    for address, pause_s in asked:
        now += pause_s
        wait_s = attempts.take(str(address), now)
        assert wait_s >= 0
        taken += wait_s == 0
        assert taken <= (20 + now / 3) * (1 + 1e-9)
        assert len(attempts._addresses) <= ADDRESSES_KEPT
