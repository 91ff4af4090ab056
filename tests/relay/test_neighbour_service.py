"""One account fills neither the places of those who seek carts nor keeps others from saying where they are."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from cart_common.wire.messages import Message, Role, Seek, Whereabouts
from parent_cart.bridge.hub import Hub
from parent_cart.bridge.neighbourhood import Neighbourhood
from parent_cart.bridge.rules import Limits
from parent_cart.relay.neighbour_service import SEEKING_MOST, SEEKING_OF_ONE, NeighbourService


class SlowNeighbourhood:
    """Never finds a cart, and takes long for it."""

    def __init__(self) -> None:
        self.records = list[str]()

    async def find(self, cart_id: str) -> None:
        await asyncio.get_running_loop().create_future()

    def take_record(self, cart_id: str, record: str) -> None:
        self.records.append(cart_id)


async def test_one_account_seeks_so_many_carts_at_once_and_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("parent_cart.bridge.accounts.account_of", lambda *, cart_id: cart_id[0])
    hub = Hub(Limits(), lambda: 0.0, lambda: 0.0, lambda: "cc" * 16, lambda low, high: low)
    refused, slow = list[str](), SlowNeighbourhood()

    def say(cart_id: str, message: Message) -> None:
        refused.append(cart_id)

    service = NeighbourService(cast(Neighbourhood, slow), hub, say)
    owners = "abcdef"
    for owner in owners:
        for number in range(3):
            hub.attach(f"{owner}{number:031x}", Role.SHELL, "aa" * 16, 1)
    seek, here = Seek("11" * 16, "22" * 16), Whereabouts("not a record")
    for number in range(SEEKING_OF_ONE + 1):
        service.take(f"a{number % 3:031x}", seek)
    assert len(refused) == 1
    for owner in owners[1:]:
        for _ in range(SEEKING_OF_ONE):
            service.take(f"{owner}{0:031x}", seek)
    assert len(refused) == 1 + len(owners) * SEEKING_OF_ONE - SEEKING_MOST
    service.take(f"f{1:031x}", here)
    assert slow.records == [f"f{1:031x}"]  # it needs no place of those who seek
    await service.close()
    await asyncio.sleep(0)
    assert not service._seeking
