"""A bridge run by somebody hostile: whatever it does to frames on their way ends in a named error at the cart."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.bridges import Bridge, until
from support.nodes import Node, model_of, running

from child_cart.network.chunk import HEADER_BYTES, ChunkHeader, pack_header, unpack_header
from child_cart.network.fleet_key import new_key
from child_cart.network.frames import Frame
from child_cart.network.messages import Code, ModelParameters, ModelRequest
from child_cart.network.transfer import TransferError
from parent_cart.bridge.relay import Connection

SIZE = 2_000_000  # eight chunks


def numbered(frame: bytes) -> int:
    return int.from_bytes(frame[HEADER_BYTES - 4 : HEADER_BYTES])


def flip(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


def renumber(frame: bytes) -> bytes:
    return frame[: HEADER_BYTES - 4] + (numbered(frame) + 1).to_bytes(4) + frame[HEADER_BYTES:]


def make_final(frame: bytes) -> bytes:
    return frame[:2] + b"\1" + frame[3:]


async def outcome(giver: Node, taker: Node) -> Code:
    with pytest.raises(TransferError) as caught:
        await taker.fetch_from(giver)
    assert taker.spooled == []
    return caught.value.code


def passes(taker: Node, change: Callable[[bytes], bytes]) -> None:
    """Let the bridge change what it passes on, behind all that an honest one would notice."""
    arrive = taker.exchange.on_chunk

    def bent(header: ChunkHeader, sealed: memoryview) -> None:
        frame = change(pack_header(header) + bytes(sealed))
        arrive(unpack_header(frame), memoryview(frame)[HEADER_BYTES:])

    taker.exchange.on_chunk = bent  # type: ignore[method-assign]


@pytest.mark.parametrize("number", [0, 3, 7])
@pytest.mark.parametrize("change", [flip, renumber, make_final])
async def test_an_altered_chunk(bridge: Bridge, tmp_path: Path, number: int, change: Callable[[bytes], bytes]) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(os.urandom(SIZE))), Node(bridge.url, tmp_path)
    passes(taker, lambda frame: change(frame) if numbered(frame) == number else frame)
    async with running(giver, taker):
        if change is make_final and number == 7:
            assert len(await taker.fetch_from(giver)) == SIZE  # the last one is final: nothing was altered
        else:
            assert await outcome(giver, taker) is Code.BAD_SEAL


async def test_a_dropped_tail(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(os.urandom(SIZE)))
    taker = Node(bridge.url, tmp_path, stall_timeout_s=0.2)
    # The bridge cannot do it by the credit that it counts, so the tail goes at the taker's door.
    arrive = taker.exchange.on_chunk
    taker.exchange.on_chunk = lambda header, payload: None if header.final else arrive(header, payload)  # type: ignore[method-assign]
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.TIMED_OUT


async def test_chunks_in_another_order(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(os.urandom(SIZE))), Node(bridge.url, tmp_path)
    held: list[Any] = []
    arrive = taker.exchange.on_chunk

    def swap(header: Any, payload: Any) -> None:
        held.append((header, payload))
        if len(held) == 2:
            arrive(*held[1])
            arrive(*held[0])

    taker.exchange.on_chunk = swap  # type: ignore[method-assign]
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_CHUNK


async def test_a_replayed_chunk_changes_nothing(bridge: Bridge, tmp_path: Path) -> None:
    payload = os.urandom(SIZE)
    giver, taker = Node(bridge.url, tmp_path, model_of(payload)), Node(bridge.url, tmp_path)
    arrive = taker.exchange.on_chunk

    def twice(header: Any, chunk: Any) -> None:
        arrive(header, chunk)
        arrive(header, chunk)

    taker.exchange.on_chunk = twice  # type: ignore[method-assign]
    async with running(giver, taker):
        assert await taker.fetch_from(giver) == payload


async def test_two_transfers_spliced(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(os.urandom(SIZE))), Node(bridge.url, tmp_path)
    async with running(giver, taker):
        await taker.fetch_from(giver)
        earlier = giver.wire.frames[3]
        giver.wire.bend = lambda frame: frame[:HEADER_BYTES] + earlier[HEADER_BYTES:] if numbered(frame) == 3 else frame
        assert await outcome(giver, taker) is Code.BAD_SEAL


@pytest.mark.parametrize("field", ["key", "accuracy", "samples", "digest", "cipher", "public_key"])
async def test_an_offer_with_a_changed_word(bridge: Bridge, tmp_path: Path, field: str) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(os.urandom(SIZE))), Node(bridge.url, tmp_path)
    arrive = taker.exchange.on_message

    def change(message: Any) -> None:
        if isinstance(message, ModelParameters):
            value = getattr(message, field)
            other = (
                value + 1 if isinstance(value, int) else 0.9 if isinstance(value, float) else "ab" * (len(value) // 2)
            )
            object.__setattr__(message, field, other)
        arrive(message)

    taker.exchange.on_message = change  # type: ignore[method-assign]
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_SIGNATURE


async def test_a_request_in_another_carts_name(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(os.urandom(SIZE))), Node(bridge.url, tmp_path)
    arrive = giver.exchange.on_message

    def change(message: Any) -> None:
        if isinstance(message, ModelRequest):
            object.__setattr__(message, "key", "ab" * 32)
        arrive(message)

    giver.exchange.on_message = change  # type: ignore[method-assign]
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_SIGNATURE
        assert giver.wire.frames == []  # not a byte was given away


async def test_a_cart_of_another_fleet_can_open_nothing(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(os.urandom(SIZE)), fleet_key=new_key())
    taker = Node(bridge.url, tmp_path, fleet_key=new_key())
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_SEAL


async def test_what_waits_in_the_bridge_holds_no_weights(bridge: Bridge, tmp_path: Path) -> None:
    secret = b"these are the weights of somebody's model " * 40_000
    giver, taker = Node(bridge.url, tmp_path, model_of(secret)), Node(bridge.url, tmp_path)
    passed: list[bytes] = []
    send = bridge.relay._pass_on

    def dump(cart_id: str, frame: Frame, touched: dict[str, Connection]) -> None:
        passed.append(bytes(frame.data))
        passed.extend(bytes(held) for entry in bridge.relay._connections.values() for held in entry.outbox._chunks)
        send(cart_id, frame, touched)

    bridge.relay._pass_on = dump  # type: ignore[method-assign]
    async with running(giver, taker):
        assert await taker.fetch_from(giver) == secret
    await until(lambda: len(passed) >= len(secret) // 262144)
    assert not any(b"weights" in frame for frame in passed)
