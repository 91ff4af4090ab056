"""Whatever a cart hears from its bridge, it may lose transfers or its link: a fault it never meets."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.bridges.hostile_bridge import hostile_relay
from support.bridges.in_process import Bridge
from support.carts.node import Node, model_of, running
from support.odd_values import ODD

from cart_common.wire.chunk import HEADER_BYTES
from cart_common.wire.messages import KINDS
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.bridge_requests import NotEnoughPeers

SIZE = 600_000
TRIES = 10
SOON = {"answer_timeout_s": 0.3, "stall_timeout_s": 0.3, "resume_timeout_s": 0.5}


class Mutation:
    """Changes messages and chunks by chance; more often the larger ``share`` is."""

    def __init__(self, seed: int, share: float) -> None:
        self._dice = random.Random(seed)
        self._share = share

    def message(self, body: dict[str, Any]) -> dict[str, Any]:
        dice, share = self._dice, self._share
        if body["type"] in ("WELCOME", "ATTACHED") and dice.random() < 0.7:
            return body  # or the cart would hear little else
        body = dict(body)
        for name in [name for name in body if name != "type"]:
            if dice.random() < share:
                body[name] = dice.choice(ODD)
            if isinstance(body[name], int) and dice.random() < share:
                body[name] = dice.choice([0, 1, body[name] + 1, 2**53 - 1])
            if dice.random() < share / 4:
                del body[name]
        if dice.random() < 0.05:
            body["type"] = dice.choice(sorted(KINDS))
        return body

    def chunks(self, frame: bytes) -> list[bytes]:
        what = self._dice.random()
        if what < 0.8:
            return [frame]
        if what < 0.9:
            return [frame, frame] if what < 0.85 else []
        changed = bytearray(frame)
        changed[self._dice.randrange(HEADER_BYTES)] ^= 1 << self._dice.randrange(8)
        return [bytes(changed)]


async def fetch(giver: Node, taker: Node) -> str:
    """Return how a fetch has ended: in the whole model, or in an error that has a name."""
    try:
        cluster = await taker.cluster()
        received = await taker.exchange.fetch(cluster.peers[0] if cluster.peers else giver.id, cluster.cluster_id)
    except NotEnoughPeers:
        return "NotEnoughPeers"
    except TransferError as error:
        return error.code
    assert giver.model is not None
    assert await asyncio.to_thread(received.path.read_bytes) == giver.model.payload
    received.path.unlink()
    return "whole"


@pytest.mark.parametrize("seed", range(8))
async def test_mutated_words_of_a_bridge(
    bridge: Bridge, tmp_path: Path, seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    ends: set[str] = set()
    faults: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with hostile_relay(bridge.url) as hostile:
        giver, taker = (
            Node(hostile.url, tmp_path, model_of(os.urandom(SIZE)), **SOON),
            Node(hostile.url, tmp_path, **SOON),
        )
        async with running(giver, taker):
            honest = hostile.message, hostile.chunks
            mutation = Mutation(seed, 0.1 if seed % 2 else 0.005)
            hostile.message, hostile.chunks = mutation.message, mutation.chunks
            for _ in range(TRIES):
                with suppress(TimeoutError):
                    async with asyncio.timeout(2):
                        await asyncio.gather(giver.link.wait_attached(), taker.link.wait_attached())
                        ends.add(await fetch(giver, taker))
            assert hostile.changed
            assert ends
            hostile.message, hostile.chunks = honest
            async with asyncio.timeout(30):  # both carts go on: what is left of before ends by its deadlines
                while await fetch(giver, taker) != "whole":
                    await asyncio.sleep(0.05)
        assert taker.spooled == []
    assert not faults
    assert not [record for record in caplog.records if record.exc_info]
