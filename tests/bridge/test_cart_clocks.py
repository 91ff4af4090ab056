"""A bridge compares its clock with those of its carts."""

from __future__ import annotations

import pytest

from parent_cart.bridge.cart_clocks import CartClocks


class Times:
    """A machine's two clocks."""

    def __init__(self) -> None:
        self.steady_s = 50.0
        self.wall_s = 1_800_000_000.0

    def pass_s(self, seconds: float) -> None:
        self.steady_s += seconds
        self.wall_s += seconds

    def clocks(self) -> CartClocks:
        return CartClocks(lambda: self.steady_s, lambda: self.wall_s)


def test_without_a_cart_nothing_is_known() -> None:
    clocks = Times().clocks()
    assert (clocks.ahead_s(), clocks.count_off(), clocks.sentence()) == (None, 0, "")


def test_one_cart_of_three_that_is_off_is_counted() -> None:
    times = Times()
    clocks = times.clocks()
    for cart_id, ahead_s in (("a", 0.0), ("b", -1.0), ("c", 86400.0)):
        clocks.note(cart_id, times.wall_s + ahead_s)
    times.pass_s(1000.0)
    assert clocks.ahead_s() == 0.0
    assert clocks.count_off() == 1
    assert clocks.sentence().startswith("By their clocks 1 cart is off by more than 60 s")
    clocks.forget("c")
    clocks.forget("c")
    assert clocks.sentence() == ""


@pytest.mark.parametrize(("offset_s", "words"), [(86400.0, "1 d 0 h ahead of"), (-3600.0, "1 h 0 min behind")])
def test_a_bridge_that_is_off_itself_says_so_until_its_clock_is_set(offset_s: float, words: str) -> None:
    times = Times()
    clocks = times.clocks()
    for cart_id in "abc":
        clocks.note(cart_id, times.wall_s - offset_s)
    assert clocks.ahead_s() == offset_s
    assert clocks.count_off() == 3
    assert clocks.sentence().startswith(f"This machine's clock is {words} those of most carts.")
    times.wall_s -= offset_s
    assert clocks.sentence() == ""
