"""A hostile bridge: whatever it does to frames on their way ends in a named error at the cart."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.bridges.hostile_bridge import HostileRelay, hostile_relay
from support.bridges.in_process import Bridge, until
from support.carts.independent_cart import IndependentCart
from support.carts.node import SIGNATURE, Node, model_of, running
from support.processes.programs import BridgeProcess, wait_for

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, HEADER_BYTES
from cart_common.wire.fleet_key import new_key
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Code, ModelRequest, SealedOffer, parse
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.sealing import TransferKey
from child_cart.transfers.statements import signed_offer

SIZE = 7 * DEFAULT_CHUNK_BYTES + 100_000  # eight chunks


def numbered(frame: bytes) -> int:
    return int.from_bytes(frame[HEADER_BYTES - 4 : HEADER_BYTES])


def flip(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


def renumber(frame: bytes) -> bytes:
    return renumber_to(frame, numbered(frame) + 1)


def renumber_to(frame: bytes, number: int) -> bytes:
    return frame[: HEADER_BYTES - 4] + number.to_bytes(4) + frame[HEADER_BYTES:]


def make_final(frame: bytes) -> bytes:
    return frame[:2] + b"\1" + frame[3:]


async def outcome(giver: Node, taker: Node) -> Code:
    with pytest.raises(TransferError) as caught:
        await taker.fetch_from(giver)
    assert taker.spooled == []
    return caught.value.code


@pytest.fixture
async def hostile(bridge: Bridge) -> AsyncIterator[HostileRelay]:
    async with hostile_relay(bridge.url) as relay:
        yield relay


def pair(url: str, tmp_path: Path, payload: bytes | None = None, **limits: Any) -> tuple[Node, Node]:
    return Node(url, tmp_path, model_of(payload or os.urandom(SIZE))), Node(url, tmp_path, **limits)


@pytest.mark.parametrize("number", [0, 3, 7])
@pytest.mark.parametrize("change", [flip, renumber, make_final])
async def test_an_altered_chunk(
    hostile: HostileRelay, tmp_path: Path, number: int, change: Callable[[bytes], bytes]
) -> None:
    giver, taker = pair(hostile.url, tmp_path)
    hostile.chunks = lambda frame: [change(frame) if numbered(frame) == number else frame]
    async with running(giver, taker):
        if change is make_final and number == 7:
            assert len(await taker.fetch_from(giver)) == SIZE  # the last one is final: nothing was altered
            assert not hostile.changed
        else:
            assert await outcome(giver, taker) is Code.BAD_SEAL


async def test_a_dropped_tail(hostile: HostileRelay, tmp_path: Path) -> None:
    giver, taker = pair(hostile.url, tmp_path, stall_timeout_s=0.5)
    hostile.chunks = lambda frame: [] if frame[2] else [frame]
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.TIMED_OUT


async def test_a_tail_that_is_dropped_and_made_up_for(hostile: HostileRelay, tmp_path: Path) -> None:
    giver, taker = pair(hostile.url, tmp_path)
    hostile.chunks = lambda frame: [] if numbered(frame) == 6 else [renumber_to(frame, 6)] if frame[2] else [frame]
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_SEAL


async def test_chunks_in_another_order(hostile: HostileRelay, tmp_path: Path) -> None:
    giver, taker = pair(hostile.url, tmp_path)
    held: list[bytes] = []

    def swap(frame: bytes) -> list[bytes]:
        if numbered(frame) == 0:
            held.append(frame)
            return []
        return [frame, *held] if numbered(frame) == 1 else [frame]

    hostile.chunks = swap
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_CHUNK


async def test_a_replayed_chunk_changes_nothing(hostile: HostileRelay, tmp_path: Path) -> None:
    payload = os.urandom(SIZE)
    giver, taker = pair(hostile.url, tmp_path, payload)
    earlier: list[bytes] = []

    def again(frame: bytes) -> list[bytes]:
        earlier.append(frame)
        return [frame, frame, earlier[0]]

    hostile.chunks = again
    async with running(giver, taker):
        assert await taker.fetch_from(giver) == payload
        assert hostile.changed == 8


async def test_a_chunk_of_an_earlier_transfer_as_it_was(hostile: HostileRelay, tmp_path: Path) -> None:
    payload = os.urandom(SIZE)
    giver, taker = pair(hostile.url, tmp_path, payload)
    seen: list[bytes] = []
    hostile.chunks = lambda frame: [seen.append(frame) or frame]  # type: ignore[func-returns-value]
    async with running(giver, taker):
        await taker.fetch_from(giver)
        hostile.chunks = lambda frame: [seen[numbered(frame)], frame]
        assert await taker.fetch_from(giver) == payload
        assert hostile.changed == 8


def forged(kind: str, **more: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Put a message of the bridge's own making in the place of the taker's second CREDIT."""
    credits_seen = 0

    def change(body: dict[str, Any]) -> dict[str, Any]:
        nonlocal credits_seen
        credits_seen += body["type"] == "CREDIT"
        if body["type"] != "CREDIT" or credits_seen != 2:
            return body
        return {"type": kind, "transfer": body["transfer"], **more}

    return change


async def test_a_forged_word_that_all_is_there(hostile: HostileRelay, tmp_path: Path) -> None:
    giver, taker = pair(hostile.url, tmp_path, stall_timeout_s=0.5)
    hostile.message = forged("DONE")
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.TIMED_OUT  # the giver believes it; the taker knows better
        assert hostile.changed == 1


async def test_a_forged_end(hostile: HostileRelay, tmp_path: Path) -> None:
    giver, taker = pair(hostile.url, tmp_path, stall_timeout_s=0.5)
    hostile.message = forged("CANCEL", code="PEER_LEFT", sentence="made up")
    async with running(giver, taker):
        assert await outcome(giver, taker) in (Code.TIMED_OUT, Code.PEER_LEFT)
        assert "made up" in giver.exchange.views()[0].reason
        assert hostile.changed == 1


@pytest.fixture
def careless(bridge: Bridge) -> None:
    """Let the bridge behind the hostile one hold no chunk against anything."""
    bridge.hub.route = lambda cart_id, header, size: header.destination.hex()  # type: ignore[method-assign]


@pytest.mark.usefixtures("careless")
async def test_a_forged_place_to_go_on_from(hostile: HostileRelay, tmp_path: Path) -> None:
    """Chunks that come again are the same under the same seal, and are passed over."""
    payload = os.urandom(SIZE)
    giver, taker = pair(hostile.url, tmp_path, payload)
    ends = {"sender": giver.id, "receiver": taker.id, "total_bytes": SIZE, "chunk_bytes": DEFAULT_CHUNK_BYTES}
    hostile.message = forged("RESUME", **ends, position_bytes=0, up_to_bytes=SIZE)
    async with running(giver, taker):
        assert await taker.fetch_from(giver) == payload
        assert hostile.changed == 1
        assert giver.wire.frames.count(giver.wire.frames[0]) == 2
        assert len(set(giver.wire.frames)) == 8


@pytest.mark.usefixtures("careless")
async def test_forged_credit(hostile: HostileRelay, tmp_path: Path) -> None:
    """Chunks come sooner, and no others."""
    payload = os.urandom(SIZE)
    giver, taker = pair(hostile.url, tmp_path, payload)
    hostile.message = forged("CREDIT", up_to_bytes=1 << 40)
    async with running(giver, taker):
        assert await taker.fetch_from(giver) == payload
        assert hostile.changed == 1


async def test_two_transfers_spliced(hostile: HostileRelay, tmp_path: Path) -> None:
    giver, taker = pair(hostile.url, tmp_path)
    seen: list[bytes] = []
    hostile.chunks = lambda frame: [seen.append(frame) or frame]  # type: ignore[func-returns-value]
    async with running(giver, taker):
        await taker.fetch_from(giver)
        body = seen[3][HEADER_BYTES:]
        hostile.chunks = lambda frame: [frame[:HEADER_BYTES] + body if numbered(frame) == 3 else frame]
        assert await outcome(giver, taker) is Code.BAD_SEAL


@pytest.mark.parametrize(
    "field", ["key", "public_key", "signature", "total_bytes", "chunk_bytes", "key_epoch", "terms"]
)
async def test_an_offer_with_a_changed_word(hostile: HostileRelay, tmp_path: Path, field: str) -> None:
    giver, taker = pair(hostile.url, tmp_path)

    def change(body: dict[str, Any]) -> dict[str, Any]:
        if body["type"] != SealedOffer.KIND:
            return body
        value = body[field]
        return body | {field: value + 1 if isinstance(value, int) else "ab" * (len(value) // 2)}

    hostile.message = change
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_SIGNATURE


@pytest.mark.parametrize(("own_name", "code"), [(True, Code.WRONG_SOURCE), (False, Code.BAD_SIGNATURE)])
async def test_an_offer_of_the_bridges_own(hostile: HostileRelay, tmp_path: Path, own_name: bool, code: Code) -> None:
    """The bridge answers with a key of its own, well signed: in its own name, or in that of the cart that was asked."""
    giver, taker = pair(hostile.url, tmp_path)
    evil = Identity.generate()

    def swap(body: dict[str, Any]) -> dict[str, Any]:
        if body["type"] != SealedOffer.KIND:
            return body
        source = evil.cart_id.hex() if own_name else body["source"]
        mine = body | {"source": source, "key": TransferKey().public, "public_key": evil.public_key.hex()}
        offer = parse(json.dumps(mine))
        assert isinstance(offer, SealedOffer)
        return mine | {"signature": signed_offer(evil, offer).signature}

    hostile.message = swap
    async with running(giver, taker):
        assert await outcome(giver, taker) is code


@pytest.mark.parametrize("field", ["key", "public_key", "terms", "terms_signature"])
async def test_a_request_with_a_changed_word(hostile: HostileRelay, tmp_path: Path, field: str) -> None:
    giver, taker = pair(hostile.url, tmp_path)

    def change(body: dict[str, Any]) -> dict[str, Any]:
        return body | {field: "ab" * (len(body[field]) // 2)} if body["type"] == ModelRequest.KIND else body

    hostile.message = change
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_SIGNATURE
        assert giver.wire.frames == []  # not a byte was given away


@pytest.mark.parametrize("kind", [SealedOffer.KIND, ModelRequest.KIND])
@pytest.mark.parametrize(("renamed", "code"), [(False, Code.TIMED_OUT), (True, Code.BAD_SIGNATURE)])
async def test_a_whole_message_of_an_earlier_transfer(
    hostile: HostileRelay, tmp_path: Path, kind: str, renamed: bool, code: Code
) -> None:
    """An earlier offer or request in the place of the present one: as it was signed, or under the present id."""
    giver, taker = pair(hostile.url, tmp_path, answer_timeout_s=0.5)
    earlier: list[dict[str, Any]] = []

    def again(body: dict[str, Any]) -> dict[str, Any]:
        if body["type"] != kind:
            return body
        earlier.append(body)
        return earlier[0] | ({"transfer": body["transfer"]} if renamed else {})

    hostile.message = again
    async with running(giver, taker):
        assert len(await taker.fetch_from(giver)) == SIZE
        given = len(giver.wire.frames)
        assert await outcome(giver, taker) is code
        assert hostile.changed == 1
        assert len(giver.wire.frames) == given  # nothing is sealed for the holder of an earlier key
        offers = [message for message in giver.wire.sent if isinstance(message, SealedOffer)]
        assert (
            len({offer.key for offer in offers}) == len(offers) == (1 if renamed and kind == ModelRequest.KIND else 2)
        )


async def test_a_cart_of_another_fleet_can_open_nothing(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(os.urandom(SIZE)), fleet_key=new_key())
    taker = Node(bridge.url, tmp_path, fleet_key=new_key())
    async with running(giver, taker):
        assert await outcome(giver, taker) is Code.BAD_SEAL


def memory_of(process_id: int) -> Iterator[bytes]:
    """Give all that a process can write to, range by range."""
    with open(f"/proc/{process_id}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{process_id}/maps").read_text().splitlines():
            span, rights = line.split()[:2]
            start, end = (int(place, 16) for place in span.split("-"))
            if rights.startswith("rw") and "[v" not in line:  # what the kernel maps there cannot be read
                memory.seek(start)
                yield memory.read(end - start)


async def test_the_memory_of_a_bridge_holds_no_weights(tmp_path: Path) -> None:
    """Two receivers grant all that they may and read nothing, so sealed chunks pile up in the bridge's process."""
    secret, asked, granted = b"these are the weights of somebody's model " * 130_000, 4, 4 * 1024 * 1024
    bridge = await asyncio.to_thread(started_bridge, tmp_path)
    try:
        giver = Node(bridge.url, tmp_path, model_of(secret), max_outgoing_per_peer=asked)
        async with running(giver), aiohttp.ClientSession() as session:
            for taker in (IndependentCart(), IndependentCart()):
                await taker.attach(session, bridge.url, "KERNEL", SIGNATURE, 0)
                fetchings = [await taker.ask(giver.id) for _ in range(asked)]
                for fetching in fetchings:
                    await taker.say("CREDIT", transfer=fetching.offer["transfer"], up_to_bytes=granted)
            # More than the sockets take on their way: the rest lies in the bridge.
            await until(lambda: len(giver.wire.frames) * 65536 > asked * granted)
            await asyncio.sleep(0.5)
            memory = await asyncio.to_thread(lambda: b"".join(memory_of(bridge.process.pid)))
    finally:
        bridge.kill()
    assert b"weights of somebody" not in memory
    held = [frame for frame in giver.wire.frames if frame[HEADER_BYTES:][:64] in memory]
    assert len(held) > 16


def started_bridge(folder: Path) -> BridgeProcess:
    bridge = BridgeProcess(folder)
    bridge.start()
    wait_for(bridge.answers, 30, "a bridge")
    return bridge
