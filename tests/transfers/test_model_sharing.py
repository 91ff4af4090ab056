"""Transfers that run at the same time share what there is: towards one receiver, and from one sender."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from support.bridges.in_process import Bridge
from support.carts.node import Node, model_of, running

SIZE = 12_000_000
LEAST_SHARE = 0.25


@pytest.mark.parametrize("one", ["receiver", "sender"])
async def test_when_the_first_of_two_is_there_the_second_is_well_on_its_way(
    bridge: Bridge, tmp_path: Path, one: str
) -> None:
    generous = {"window_bytes": 4 * 1024 * 1024, "stall_timeout_s": 20.0}
    givers = [Node(bridge.url, tmp_path, model_of(os.urandom(SIZE)), **generous) for _ in range(2)]
    takers = [Node(bridge.url, tmp_path, **generous) for _ in range(2)]
    pairs = [(givers[0], takers[0]), (givers[1], takers[0]) if one == "receiver" else (givers[0], takers[1])]
    async with running(*givers, *takers):
        clusters = {taker: (await taker.cluster()).cluster_id for taker in takers}
        fetching = {asyncio.create_task(taker.exchange.fetch(giver.id, clusters[taker])) for giver, taker in pairs}
        await asyncio.wait(fetching, return_when=asyncio.FIRST_COMPLETED)
        moved = sorted(view.moved_bytes for taker in clusters for view in taker.exchange.views())
        await asyncio.gather(*fetching)
    assert moved[-1] == SIZE
    assert moved[0] >= LEAST_SHARE * SIZE
