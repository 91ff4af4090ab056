"""Tokens are earned at a rate and never faster; addresses of one owner share a bucket."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.token_bucket import AddressBuckets, TokenBucket


def test_a_bucket_is_full_at_first_and_refills_at_its_rate() -> None:
    bucket = TokenBucket(per_s=2, most=10, counted_at=5)
    assert bucket.is_full(5)
    assert bucket.take(8, 5) == 2
    assert bucket.left(6) == 4
    assert bucket.wait_s(6, 6) == 1
    assert bucket.wait_s(4, 6) == 0
    assert bucket.take(9, 6) == -5  # overdrawn
    assert bucket.wait_s(1, 6) == 3
    assert bucket.left(1000) == 10


def test_what_is_given_back_is_there_again_and_no_more_than_fits() -> None:
    bucket = TokenBucket(per_s=1, most=3, counted_at=0)
    bucket.take(2, 0)
    bucket.give_back(1)
    assert bucket.left(0) == 2
    bucket.give_back(100)
    assert bucket.left(0) == 3
    assert bucket.take(3, 0) == 0


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 20)), max_size=60))
def test_no_more_is_taken_than_was_there_and_was_earned(steps: list[tuple[float, float]]) -> None:
    bucket, now, taken = TokenBucket(per_s=3, most=20, counted_at=0), 0.0, 0.0
    for pause_s, count in steps:
        now += pause_s
        if bucket.wait_s(count, now) == 0:
            bucket.take(count, now)
            taken += count
        assert taken <= (20 + 3 * now) * (1 + 1e-9)


def test_addresses_of_one_network_share_a_bucket_until_it_is_forgotten() -> None:
    buckets = AddressBuckets(per_s=1, most=2, kept=3)
    buckets.of("2001:db8::1", 0).take(2, 0)
    assert buckets.of("2001:db8::2", 0).left(0) == 0
    assert buckets.of("2001:db8:0:1::2", 0).left(0) == 2
    buckets.forget("2001:db8::3")
    assert buckets.of("2001:db8::1", 0).left(0) == 2


def test_the_longest_unseen_goes_first() -> None:
    buckets = AddressBuckets(per_s=1, most=2, kept=2)
    for address in ("a", "b", "a", "c"):
        buckets.of(address, 0).take(1, 0)
    assert len(buckets) == 2
    assert [buckets.of(address, 0).left(0) for address in ("a", "c")] == [0, 1]
