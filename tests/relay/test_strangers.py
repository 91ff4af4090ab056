"""Connections that have not attached are bounded together; a crowd displaces its own oldest, and no other's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.websocket.fair_reading import FairReading
from cart_common.websocket.send_queue import SendQueue
from parent_cart.bridge.allowance import Allowance, RateLimits
from parent_cart.relay.cart_connection import CartConnection, Phase
from parent_cart.relay.relay import Relay
from parent_cart.relay.strangers import ATTACHES_WITHIN_S, STRANGERS_MOST, NoPlace, Strangers


class NoRelay(Relay):
    def __init__(self) -> None:
        self.fair_reading = FairReading()


def come(strangers: Strangers, address: str, now: float) -> CartConnection:
    """Let a connection in as the relay does."""
    displaced = strangers.displaced_by(address, now)
    if displaced is not None:
        strangers.remove(displaced)
    connection = CartConnection(NoRelay(), address, SendQueue(0), Allowance(RateLimits(), now))
    strangers.add(connection, now)
    return connection


async def test_a_crowd_of_one_address_gives_its_places_to_others_and_none_to_itself_at_once() -> None:
    strangers = Strangers()
    crowd = [come(strangers, "192.0.2.1", 0.0) for _ in range(STRANGERS_MOST)]
    with pytest.raises(NoPlace):
        strangers.displaced_by("192.0.2.1", 1.0)
    assert strangers.displaced_by("192.0.2.2", 1.0) is crowd[0]
    assert strangers.displaced_by("192.0.2.1", ATTACHES_WITHIN_S) is crowd[0]
    crowd[0].move_to(Phase.LEAVING)  # it was refused: nothing is lost with it
    assert strangers.displaced_by("192.0.2.1", 1.0) is crowd[0]
    honest = come(strangers, "192.0.2.2", 1.0)
    for second in range(2 * STRANGERS_MOST):
        come(strangers, "192.0.2.1", 10.0 + second)
    assert len(strangers) == STRANGERS_MOST
    strangers.remove(honest)
    assert len(strangers) == STRANGERS_MOST - 1  # it was there all the time
    strangers.remove(honest)
    assert len(strangers) == STRANGERS_MOST - 1


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(0, 5), st.booleans()), max_size=60))
async def test_whoever_comes_and_goes_the_bound_holds_and_nothing_is_kept(steps: list[tuple[str, int, bool]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("parent_cart.relay.strangers.STRANGERS_MOST", 4)
        strangers, there, now = Strangers(), list[CartConnection](), 0.0
        for address, seconds, leaves in steps:
            now += seconds
            if leaves and there:
                strangers.remove(there.pop())
                continue
            try:
                there.append(come(strangers, address, now))
            except NoPlace:
                assert len(strangers) == 4
            assert len(strangers) <= 4
        for connection in there:
            strangers.remove(connection)
        assert len(strangers) == 0
        assert not strangers._of_network
