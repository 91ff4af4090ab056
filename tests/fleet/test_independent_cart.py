"""The protocol page is complete: a cart written from it alone works with real carts and a real bridge."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from support.bridges.in_process import Bridge, running_bridge, until
from support.carts import independent_cart
from support.carts.independent_cart import IndependentCart
from support.carts.node import SIGNATURE, Node, model_of, running

from cart_common.wire.fleet_key import Secret, as_text, bridge_token, new_key

FLEET_KEY = new_key()
SIZE = 3_000_000


@pytest.fixture
async def closed_bridge(tmp_path: Path) -> AsyncIterator[Bridge]:
    """Run a bridge of a fleet with a key; it admits no other carts."""
    token = tmp_path / "token"
    token.write_text(as_text(bridge_token(FLEET_KEY), Secret.BRIDGE_TOKEN))
    async with running_bridge(token_file=str(token)) as bridge:
        yield bridge


def test_it_is_independent() -> None:
    source = Path(independent_cart.__file__).read_text()
    imported = set(re.findall(r"^(?:from|import) (\w+)", source, re.MULTILINE))
    assert not imported & {"child_cart", "parent_cart", "support", "tests", "benchmarks"}


async def test_it_fetches_from_a_real_cart_and_gives_to_one(closed_bridge: Bridge, tmp_path: Path) -> None:
    payload, url = os.urandom(SIZE), closed_bridge.url
    giver = Node(url, tmp_path, model_of(payload), fleet_key=FLEET_KEY)
    taker = Node(url, tmp_path, fleet_key=FLEET_KEY)
    async with running(giver, taker), aiohttp.ClientSession() as session:
        cart = IndependentCart(FLEET_KEY)
        await cart.attach(session, url, "KERNEL", SIGNATURE, 0)
        assert await cart.finish(await cart.ask(giver.id)) == payload
        await cart.say("PEERTYPE", role="SHELL", model_version=1)
        await until(lambda: closed_bridge.hub.carts[cart.id].model_version == 1)
        giving = asyncio.create_task(cart.give(payload, "raw", SIGNATURE))
        assert await taker.fetch_from(cart) == payload
        await giving
        await cart.leave()
        assert cart.id not in closed_bridge.hub.carts


async def test_it_goes_on_after_a_lost_link_and_is_found(closed_bridge: Bridge, tmp_path: Path) -> None:
    payload, url = os.urandom(SIZE), closed_bridge.url
    giver = Node(url, tmp_path, model_of(payload), fleet_key=FLEET_KEY)
    async with running(giver), aiohttp.ClientSession() as session:
        cart = IndependentCart(FLEET_KEY)
        await cart.attach(session, url, "KERNEL", SIGNATURE, 1)
        record = cart.record(url, "KERNEL", SIGNATURE)
        await cart.say("CARTRECORD", record=record)
        await cart.say("SEEK", request="ab" * 16, cart=cart.id)
        assert (await cart.hear("FOUND"))["record"] == record
        fetching = await cart.ask(giver.id)
        await cart.take_chunks(fetching, 3)
        cart.break_off()
        await until(lambda: cart.id not in closed_bridge.hub.carts)
        await cart.attach(session, url, "SHELL", SIGNATURE, 1)
        assert (await cart.hear("PAUSED"))["transfer"] == fetching.offer["transfer"]
        await cart.resume(fetching)
        assert await cart.finish(fetching) == payload
        await cart.say("CARTRECORD", record=cart.record(url, "SHELL", SIGNATURE, gone=True))
        await cart.say("SEEK", request="cd" * 16, cart=cart.id)
        assert (await cart.hear("ERROR"))["code"] == "NOT_FOUND"
        await cart.leave()
