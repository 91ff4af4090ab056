"""A connection is greeted, attached and leaves, in this order and by one function."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from cart_common.websocket.fair_reading import FairReading
from cart_common.websocket.send_queue import SendQueue
from parent_cart.bridge.allowance import Allowance, RateLimits
from parent_cart.relay.cart_connection import TRANSITIONS, CartConnection, Phase
from parent_cart.relay.relay import Relay


class Owner(Relay):
    def __init__(self) -> None:
        self.fair_reading = FairReading()


def connection_in(phase: Phase) -> CartConnection:
    connection = CartConnection(Owner(), "127.0.0.1", SendQueue(0), Allowance(RateLimits(), 0.0))
    connection.phase = phase
    return connection


@pytest.mark.parametrize(("now", "then"), [*itertools.product(Phase, Phase)])
async def test_the_table_alone_says_what_follows_a_phase(now: Phase, then: Phase) -> None:
    connection = connection_in(now)
    if then in TRANSITIONS[now]:
        connection.move_to(then)
        assert connection.phase is then
        return
    with pytest.raises(RuntimeError, match=f"from {now} to {then}"):
        connection.move_to(then)
    assert connection.phase is now


async def test_nothing_follows_the_last_phase_and_every_phase_can_come() -> None:
    assert not TRANSITIONS[Phase.LEAVING]
    assert {Phase.GREETED}.union(*TRANSITIONS.values()) == set(Phase)


async def test_an_attach_that_has_come_or_never_will_is_not_waited_for() -> None:
    for phase in (Phase.ATTACHED, Phase.LEAVING):
        connection = connection_in(Phase.GREETED)
        connection.attach_timer = timer = asyncio.get_running_loop().call_later(60, pytest.fail)
        connection.move_to(phase)
        assert timer.cancelled()
        assert connection.attach_timer is None
