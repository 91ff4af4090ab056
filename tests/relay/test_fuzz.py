"""Whatever a connection sends, it ends itself at most: the bridge goes on, and so do all other carts."""

from __future__ import annotations

import asyncio
import json
import os
import random
from contextlib import suppress
from dataclasses import fields
from typing import Any

import aiohttp
import pytest
from support.bridges.in_process import Bridge, until
from support.carts.raw_cart import RawCart, attached, chunk, greeted, open_transfer
from support.odd_values import ODD

from cart_common.wire.messages import KINDS

ROUNDS = 12


def valid(name: str, annotation: str, ids: list[str], dice: random.Random) -> Any:
    """Return a value that may stand in a field: often an id that means something here."""
    if annotation in ("int", "float"):
        return dice.choice([0, 1, 2, 1024, 65536, 10**6])
    sizes = {"nonce": 32, "public_key": 32, "proof": 32, "key": 32, "digest": 32, "signature": 64}
    words = {"role": "KERNEL", "code": "ABANDONED", "codec": "raw", "cipher": "none", "sentence": "No.", "peers": ids}
    if name in words:
        return words[name]
    return os.urandom(sizes[name]).hex() if name in sizes else dice.choice(ids)


def mutated(kind: str, ids: list[str], dice: random.Random) -> str:
    """Return a message of this kind in which some things may be wrong."""
    body: dict[str, Any] = {"type": kind}
    body |= {entry.name: valid(entry.name, str(entry.type), ids, dice) for entry in fields(KINDS[kind])}
    for name in list(body):
        if dice.random() < 0.15:
            body[name] = dice.choice(ODD)
        if dice.random() < 0.05:
            del body[name]
    text = json.dumps(body)
    if dice.random() < 0.15:
        text = text[: dice.randrange(len(text))]
    return text


def mutated_chunk(ids: list[str], dice: random.Random) -> bytes:
    """Return a chunk in whose header some bits may be wrong."""
    frame = bytearray(
        chunk(*(dice.choice(ids) for _ in range(3)), dice.randrange(4), bytes(dice.choice([1, 1024, 4096])))
    )
    for _ in range(dice.choice([0, 0, 1, 3])):
        frame[dice.randrange(56)] ^= 1 << dice.randrange(8)
    return bytes(frame[: dice.randrange(1, len(frame))] if dice.random() < 0.2 else frame)


async def misbehave(cart: RawCart, kind: str, ids: list[str], dice: random.Random) -> None:
    with suppress(ConnectionError, aiohttp.ClientError):
        for _ in range(6):
            what = dice.random()
            if what < 0.6:
                await cart.socket.send_str(mutated(kind, ids, dice))
            elif what < 0.9:
                await cart.socket.send_bytes(mutated_chunk(ids, dice))
            else:
                transport = cart.socket._response.connection
                if transport is not None and transport.transport is not None:
                    transport.transport.write(os.urandom(dice.randrange(1, 200)))
            await asyncio.sleep(0)


@pytest.mark.parametrize("kind", sorted(KINDS))
async def test_mutated_frames_of_every_kind_harm_nobody_else(bridge: Bridge, kind: str) -> None:
    dice, faults = random.Random(kind), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, os.urandom(ROUNDS * 1024), granted=4096)
        ids = [shell.id, kernel.id, opened.id, "00" * 16]
        for number in range(ROUNDS):
            door = greeted if number % 4 == 3 else attached
            async with door(
                bridge.url, **({} if door is greeted else {"role": dice.choice(["SHELL", "KERNEL"])})
            ) as cart:
                await misbehave(cart, kind, [*ids, cart.id, cart.id], dice)
                cart.abort() if cart.socket._response.connection else None
            if number and number % 3 == 0:
                await opened.grant(4096 + 1024 * number)
            await shell.socket.send_bytes(opened.frame(number))
            # What others get from the hostile one is for their own checks; here it must only leave this chunk alone.
            while (frame := await kernel.socket.receive(timeout=5)).type is not aiohttp.WSMsgType.BINARY:
                assert frame.type is aiohttp.WSMsgType.TEXT
            assert frame.data == opened.frame(number)
        await until(lambda: set(bridge.hub.carts) == {shell.id, kernel.id})
    assert not faults
