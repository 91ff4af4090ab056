"""A cart that leaves takes back where it was: no bridge sends anybody there any more."""

from __future__ import annotations

import asyncio
from pathlib import Path

from support.bridges.directories import Peer, working
from support.bridges.in_process import running_bridge, until
from support.carts.node import Node, running

from parent_cart.directory.storage import dht_key


async def test_a_cart_that_leaves_is_found_at_no_bridge_any_more(tmp_path: Path) -> None:
    near = Peer()
    async with working(near):
        far = Peer([near.address])
        async with working(far), running_bridge() as bridge:
            await until(lambda: near.knows(far) and far.knows(near))
            bridge.relay._neighbour_service._neighbourhood._directory = near
            node = Node(bridge.url, tmp_path)
            async with running(node):
                async with asyncio.timeout(20):
                    while await far.find_cart(node.id) is None:
                        await asyncio.sleep(0.01)
                await node.link.leave(5.0)
                key = dht_key(f"cart:{node.id}")
                await until(lambda: b'"gone":true' in (far._storage.get(key) or b""))
            assert await far.find_cart(node.id) is None
            assert await near.find_cart(node.id) is None
