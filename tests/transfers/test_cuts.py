"""A long transfer over links that are cut again and again: the bytes are exact, and little is sent twice."""

from __future__ import annotations

import asyncio
import os
from itertools import pairwise
from pathlib import Path

import pytest
from support.bridges.in_process import running_bridge, until
from support.carts.node import Node, model_of, running
from support.networks.cutting_proxy import cutting_proxy

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, PROVED_BYTES, unpack_header
from cart_common.wire.messages import Code, SealedOffer
from child_cart.network.link_state import LinkState
from child_cart.transfers.active import TransferProgress
from child_cart.transfers.assembly import TransferError

CUTS = 200
PAYLOAD_BYTES = 25_000_000
# Each of the two links carries 100 KB on the average before it is cut: less than a chunk.
MOST_BYTES_BETWEEN_CUTS = 200_000
PATIENT = {"heartbeat_s": 0.3, "stall_timeout_s": 30.0, "slowest_bytes_per_s": 1e5}


def bytes_sent_again(node: Node) -> list[int]:
    """Return by how many bytes the node has gone back, for each time that it has."""
    sequences = [unpack_header(frame).sequence for frame in node.wire.frames]
    assert set(sequences) == set(range(max(sequences) + 1))
    steps_back = [before + 1 - after for before, after in pairwise(sequences) if after <= before]
    return [step * DEFAULT_CHUNK_BYTES for step in steps_back]


async def test_two_hundred_cuts_cost_at_most_a_window_each(tmp_path: Path, no_blocking: object) -> None:
    payload = os.urandom(PAYLOAD_BYTES)
    async with running_bridge() as bridge, cutting_proxy(bridge.port, PAYLOAD_BYTES) as proxy:
        giver = Node(proxy.url, tmp_path, model_of(payload), **PATIENT)
        taker = Node(proxy.url, tmp_path, **PATIENT)

        def reached() -> int:
            return sum(view.moved_bytes for view in taker.exchange.views())

        async with running(giver, taker):
            proxy.spread(CUTS, PAYLOAD_BYTES - 4 * DEFAULT_CHUNK_BYTES, reached)
            assert await taker.fetch_from(giver) == payload
            assert proxy.cuts == CUTS
            assert proxy.resets > 0
            assert proxy.silences > 0
            await until(lambda: giver.exchange.views()[0].state is TransferProgress.DONE)
            sent_again = bytes_sent_again(giver)
            # Every connection but the first two came after a link that was lost.
            assert 0 < len(sent_again) <= proxy.connections - 2
            assert max(sent_again) <= taker.limits.window_bytes
            assert bridge.hub.counters["violations"] == 0


async def test_links_that_carry_less_than_a_chunk_before_they_are_cut_carry_a_model_through(tmp_path: Path) -> None:
    payload = os.urandom(1_500_000)
    async with running_bridge() as bridge, cutting_proxy(bridge.port, MOST_BYTES_BETWEEN_CUTS, 0.05) as proxy:
        giver = Node(proxy.url, tmp_path, model_of(payload), **PATIENT)
        taker = Node(proxy.url, tmp_path, **PATIENT)
        async with running(giver, taker):
            fetching = asyncio.create_task(taker.fetch_from(giver))
            await until(lambda: taker.exchange.views() and taker.exchange.views()[0].moved_bytes > 0)
            proxy.cuts_left = 1_000_000
            assert await fetching == payload
            assert proxy.cuts > CUTS // 4


async def test_large_chunks_that_no_link_carries_any_more_are_given_up_for_smaller_ones(tmp_path: Path) -> None:
    payload = os.urandom(PROVED_BYTES)
    async with running_bridge() as bridge, cutting_proxy(bridge.port, MOST_BYTES_BETWEEN_CUTS, 0.0) as proxy:
        giver = Node(proxy.url, tmp_path, model_of(payload), **PATIENT)
        taker = Node(proxy.url, tmp_path, window_bytes=4 << 20, **PATIENT)
        async with running(giver, taker):
            for node in (giver, taker):
                node.exchange.home._round_trip_s = 0.0  # near, however busy the machine is
            await taker.fetch_from(giver)
            fetching = asyncio.create_task(taker.fetch_from(giver))
            await until(lambda: 0 < taker.exchange.views()[0].moved_bytes < len(payload))
            proxy.cuts_left = 1_000_000
            with pytest.raises(TransferError, match="before a chunk of 524288 bytes was through") as caught:
                await fetching
            assert caught.value.code is Code.LINK_LOST  # for which a round asks again
            assert taker.spooled == []
            proxy.cuts_left = 0
            await until(lambda: taker.link.status.state is giver.link.status.state is LinkState.ATTACHED)
            assert await taker.fetch_from(giver) == payload
            offers = [message for message in giver.wire.sent if isinstance(message, SealedOffer)]
            assert offers[-1].chunk_bytes == DEFAULT_CHUNK_BYTES  # over a link that is new
