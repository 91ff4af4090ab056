"""Draws come from the system's random source, which is asked once for many of them."""

from __future__ import annotations

from parent_cart.bridge.secure_draws import BYTES_OF_ONE, FETCHED_AT_ONCE, SecureDraws


def test_many_draws_take_one_call_and_each_takes_bytes_of_its_own() -> None:
    calls = list[int]()

    def counting(count: int) -> bytes:
        calls.append(count)
        return b"".join(number.to_bytes(BYTES_OF_ONE, "little") for number in range(count // BYTES_OF_ONE))

    draws = SecureDraws(counting)
    drawn = [draws.randrange(10, 10 + FETCHED_AT_ONCE) for _ in range(FETCHED_AT_ONCE)]
    assert sorted(drawn) == list(range(10, 10 + FETCHED_AT_ONCE))
    assert calls == [FETCHED_AT_ONCE * BYTES_OF_ONE]
    draws.randrange(0, 2)
    assert len(calls) == 2


def test_each_number_of_a_range_is_drawn_and_none_beyond_it() -> None:
    draws = SecureDraws()
    assert {draws.randrange(3, 6) for _ in range(1000)} == {3, 4, 5}
