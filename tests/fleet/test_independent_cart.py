"""The protocol page is complete: a cart written from it alone works with real carts and a real bridge."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from support.bridges.in_process import Bridge, running_bridge, until
from support.carts import independent_cart
from support.carts.independent_cart import IndependentCart
from support.carts.node import SIGNATURE, Node, model_of, running

from cart_common.wire.fleet_key import Secret, as_text, bridge_token, new_key
from cart_common.wire.messages import Code
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.incoming import Received

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


@pytest.mark.parametrize("version", [1, 2])
async def test_it_fetches_from_a_real_cart_and_gives_to_one(
    closed_bridge: Bridge, tmp_path: Path, version: int
) -> None:
    """Also as a cart of 0.1.0 does, in version 1 of transfers."""
    payload, url = os.urandom(SIZE), closed_bridge.url
    giver = Node(url, tmp_path, model_of(payload, samples=64), fleet_key=FLEET_KEY)
    taker = Node(url, tmp_path, fleet_key=FLEET_KEY)
    async with running(giver, taker), aiohttp.ClientSession() as session:
        cart = IndependentCart(FLEET_KEY, version)
        await cart.attach(session, url, "KERNEL", SIGNATURE, 0)
        fetching = await cart.ask(giver.id, ("int1", "float32"))
        assert await cart.finish(fetching) == payload
        told = (
            {"codec": "float32", "samples": 64} if version == 2 else {"codec": "pickle5", "samples": 0, "accuracy": 0}
        )
        assert fetching.offer | told == fetching.offer
        assert ("accuracy" in fetching.offer) == (version == 1)
        await cart.say("PEERTYPE", role="SHELL", model_version=1)
        await until(lambda: closed_bridge.hub.carts[cart.id].model_version == 1)
        giving = asyncio.create_task(cart.give(payload, "float32", SIGNATURE, samples=32))
        received = await fetched(taker, cart.id)
        assert await asyncio.to_thread(received.path.read_bytes) == payload
        assert (received.offer.version, received.offer.codec, received.offer.samples) == (
            (1, "pickle5", None) if version == 1 else (2, "float32", 32)
        )
        asked = await giving
        assert asked == ({} if version == 1 else {"version": 2, "kind": "model", "codecs": ["float32"]})
        await cart.leave()
        assert cart.id not in closed_bridge.hub.carts


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a kind that is not given": ({"kind": "report"}, "UNKNOWN_KIND"),
    "too many codecs": ({"codecs": ["float32"] * 17}, "BAD_MESSAGE"),
    "no codec": ({"codecs": []}, "BAD_MESSAGE"),
    "codecs that are no list": ({"codecs": "float32"}, "BAD_MESSAGE"),
    "a version that is a text": ({"version": "2"}, "BAD_MESSAGE"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_it_asks_wrongly_is_refused_by_name_and_counted_and_nothing_else_ends(
    closed_bridge: Bridge, tmp_path: Path, case: str
) -> None:
    wrong, code = WRONG[case]
    giver = Node(closed_bridge.url, tmp_path, model_of(b"weights"), fleet_key=FLEET_KEY)
    async with running(giver), aiohttp.ClientSession() as session:
        cart = IndependentCart(FLEET_KEY)
        await cart.attach(session, closed_bridge.url, "KERNEL", SIGNATURE, 0)
        terms = {"version": 2, "kind": "model", "codecs": ["float32"], **wrong}
        await cart.send_request(giver.id, X25519PrivateKey.generate(), terms)
        refusal = await cart.hear("CANCEL")
        assert refusal["code"] == code
        assert giver.exchange.failures[Code(code)] == 1
        later = await cart.ask(giver.id, version=3, revoked=[7])
        assert later.offer["version"] == 2
        assert await cart.finish(later) == b"weights"
        await cart.leave()


@pytest.mark.parametrize("asks", [True, False])
async def test_version_1_is_refused_where_a_cart_is_told_to(closed_bridge: Bridge, tmp_path: Path, asks: bool) -> None:
    url = closed_bridge.url
    node = Node(url, tmp_path, model_of(b"weights"), fleet_key=FLEET_KEY, least_version=2)
    async with running(node), aiohttp.ClientSession() as session:
        cart = IndependentCart(FLEET_KEY, version=1)
        await cart.attach(session, url, "KERNEL" if asks else "SHELL", SIGNATURE, 1)
        if asks:
            await cart.send_request(node.id, X25519PrivateKey.generate(), {})
            assert (await cart.hear("CANCEL"))["code"] == "WRONG_VERSION"
        else:
            fetching = asyncio.create_task(fetched(node, cart.id))
            with pytest.raises(AssertionError, match="WRONG_VERSION"):
                await cart.give(b"weights", "pickle5", SIGNATURE)
            with pytest.raises(TransferError, match="speaks version 1 of transfers"):
                await fetching
        assert node.exchange.failures[Code.WRONG_VERSION] == 1
        await cart.leave()


async def fetched(taker: Node, peer: str) -> Received:
    """Ask a peer for its model; return it with its offer."""
    cluster = await taker.cluster()
    assert peer in cluster.peers
    return await taker.exchange.fetch(peer, cluster.cluster_id)


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
