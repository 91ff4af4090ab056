"""How often an address may check out: a burst, then a rate, each address by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.shop.checkout_limit import CheckoutLimit, TooManySales


def taken(limit: CheckoutLimit, address: str, now: float) -> bool:
    try:
        limit.take(address, now)
    except TooManySales:
        return False
    return True


def test_a_burst_and_then_one_at_a_time() -> None:
    limit = CheckoutLimit(per_minute=6, at_once=3)
    assert [taken(limit, "10.0.0.1", 0.0) for _ in range(4)] == [True, True, True, False]
    with pytest.raises(
        TooManySales, match=r"this address has sent too many sales\. Wait 6 s, then check out"
    ) as refused:
        limit.take("10.0.0.1", 4.5)
    assert refused.value.wait_s == pytest.approx(5.5)
    assert [taken(limit, "10.0.0.1", now) for now in (10.0, 10.1, 20.1)] == [True, False, True]


def test_addresses_are_counted_apart_and_those_of_one_ipv6_network_together() -> None:
    limit = CheckoutLimit(per_minute=6, at_once=1)
    assert taken(limit, "10.0.0.1", 0.0)
    assert taken(limit, "10.0.0.2", 0.0)
    assert taken(limit, "2001:db8::1", 0.0)
    assert not taken(limit, "2001:db8::ffff:2", 0.0)
    assert not taken(limit, "::ffff:10.0.0.1", 0.0)


def test_a_sale_that_was_not_kept_counts_for_nothing() -> None:
    limit = CheckoutLimit(per_minute=6, at_once=1)
    limit.take("10.0.0.1", 0.0)
    limit.give_back("10.0.0.1", 0.1)
    assert taken(limit, "10.0.0.1", 0.2)


def test_zero_is_no_limit() -> None:
    limit = CheckoutLimit(per_minute=0, at_once=1)
    assert all(taken(limit, "10.0.0.1", 0.0) for _ in range(1000))
    limit.give_back("10.0.0.1", 0.0)


@given(st.lists(st.floats(0, 3600), max_size=300), st.integers(1, 30), st.integers(1, 60))
def test_no_hour_has_more_sales_than_the_burst_and_the_rate_give(
    times: list[float], at_once: int, per_minute: int
) -> None:
    limit = CheckoutLimit(per_minute, at_once)
    sold = sum(taken(limit, "10.0.0.1", now) for now in sorted(times))
    assert sold <= at_once + 60 * per_minute + 1
