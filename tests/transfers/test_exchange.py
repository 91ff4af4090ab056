"""Models from cart to cart over a real bridge: exactly the offered bytes, or a named failure and nothing left."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.bridges.in_process import Bridge, running_bridge, until
from support.carts.node import SIGNATURE, Node, model_of, running
from support.carts.unsigned_messages import model_request, sealed_offer

from cart_common.process.tasks import background
from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, HEADER_BYTES, NEAR_CHUNK_BYTES, PROVED_BYTES, ChunkHeader
from cart_common.wire.messages import (
    Cancel,
    Code,
    Credit,
    Done,
    Message,
    Paused,
    PeerList,
    Resume,
    Role,
    SealedOffer,
)
from child_cart.network.link_state import LinkState
from child_cart.transfers.active import Direction, TransferProgress
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.bridge_requests import NotEnoughPeers
from child_cart.transfers.exchange import FINISHED_SHOWN
from child_cart.transfers.outgoing import Offerable

NARROW = {"max_window_bytes": 2 * DEFAULT_CHUNK_BYTES, "max_chunk_bytes": DEFAULT_CHUNK_BYTES}


def states(node: Node) -> list[TransferProgress]:
    return [view.state for view in node.exchange.views()]


async def failure_of(node: Node, peer: Node) -> TransferError:
    """Fetch what cannot come; both sides end, nothing is left in the spool and the view says why."""
    with pytest.raises(TransferError) as caught:
        await node.fetch_from(peer)
    error = caught.value
    assert node.spooled == []
    view = node.exchange.views()[0]
    assert view.state is TransferProgress.FAILED
    assert view.reason == f"{error.sentence} ({error.code})"
    assert view.ended_at is not None
    await until(lambda: TransferProgress.FAILED in states(peer) or not states(peer))
    return error


@pytest.mark.parametrize("size", [1, 64 * 1024 - 1, 64 * 1024, 64 * 1024 + 1, 5_000_000])
async def test_a_model_arrives_byte_for_byte(bridge: Bridge, tmp_path: Path, size: int) -> None:
    payload = os.urandom(size)
    giver, taker = Node(bridge.url, tmp_path, model_of(payload)), Node(bridge.url, tmp_path)
    async with running(giver, taker):
        assert await taker.fetch_from(giver) == payload
        await until(lambda: states(giver) == [TransferProgress.DONE])
        (seen,) = taker.exchange.views()
        assert (seen.state, seen.direction, seen.peer) == (TransferProgress.DONE, Direction.IN, giver.id)
        assert seen.moved_bytes == seen.total_bytes == taker.exchange.bytes_in == size
        await until(lambda: giver.exchange.bytes_out == size)
        assert bridge.hub.counters["violations"] == 0
        assert not bridge.hub.transfers.open


async def test_the_offer_comes_with_the_file(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(b"weights", samples=256, model_version=9))
    taker = Node(bridge.url, tmp_path)
    async with running(giver, taker):
        cluster = await taker.cluster()
        received = await taker.exchange.fetch(giver.id, cluster.cluster_id)
        offer = received.offer
        assert (offer.version, offer.kind, offer.codec) == (2, "model", "float32")
        assert (offer.samples, offer.model_version) == (256, 9)
        assert taker.spooled == [received.path.name]


async def test_a_small_window_is_only_slower(bridge: Bridge, tmp_path: Path) -> None:
    payload = os.urandom(2_000_000)
    giver, taker = Node(bridge.url, tmp_path, model_of(payload)), Node(bridge.url, tmp_path, window_bytes=16384)
    async with running(giver, taker):
        assert await taker.fetch_from(giver) == payload


async def test_a_window_beyond_the_bridges_is_cut_to_it(tmp_path: Path, no_blocking: object) -> None:
    async with running_bridge(**NARROW) as bridge:
        payload = os.urandom(500_000)
        giver = Node(bridge.url, tmp_path, model_of(payload))
        taker = Node(bridge.url, tmp_path, window_bytes=10_000_000)
        async with running(giver, taker):
            assert await taker.fetch_from(giver) == payload
            assert bridge.hub.counters["violations"] == 0


async def test_chunks_suit_the_narrower_of_both_links(tmp_path: Path) -> None:
    async with running_bridge(max_chunk_bytes=524288) as bridge:
        giver, taker = Node(bridge.url, tmp_path, model_of(os.urandom(600_000))), Node(bridge.url, tmp_path)
        async with running(giver, taker):
            taker.become(Role.KERNEL)
            cluster = await taker.exchange.ask_cluster(1, 1)
            for of_giver, of_taker in ((65536, 524288), (524288, 65536)):
                giver.exchange.home._max_chunk_bytes, taker.exchange.home._max_chunk_bytes = of_giver, of_taker
                received = await taker.exchange.fetch(giver.id, cluster.cluster_id)
                assert received.offer.chunk_bytes == 65536


def let_be_near(*nodes: Node) -> None:
    """Let their links have short round trips, however busy the machine is."""
    for node in nodes:
        node.exchange.home._round_trip_s = 0.0


async def test_chunks_are_larger_once_both_links_have_carried_many(bridge: Bridge, tmp_path: Path) -> None:
    payload = os.urandom(PROVED_BYTES)
    giver, taker, third = (Node(bridge.url, tmp_path, model_of(payload), window_bytes=4 << 20) for _ in range(3))
    async with running(giver, taker, third):
        let_be_near(giver, taker, third)
        seen = []
        for asking in (taker, taker, third):
            asking.become(Role.KERNEL)
            cluster = await asking.exchange.ask_cluster(8, 1)
            received = await asking.exchange.fetch(giver.id, cluster.cluster_id)
            assert await asyncio.to_thread(received.path.read_bytes) == payload
            seen.append(received.offer.chunk_bytes)
        assert seen == [DEFAULT_CHUNK_BYTES, NEAR_CHUNK_BYTES, DEFAULT_CHUNK_BYTES]


async def test_a_window_holds_more_than_one_chunk(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(os.urandom(300_000)))
    taker = Node(bridge.url, tmp_path, window_bytes=65536)
    async with running(giver, taker):
        await taker.fetch_from(giver)
        (offer,) = (message for message in giver.wire.sent if isinstance(message, SealedOffer))
        assert offer.chunk_bytes == 32768


async def test_many_transfers_at_once_in_both_directions(bridge: Bridge, tmp_path: Path) -> None:
    nodes = [Node(bridge.url, tmp_path, model_of(os.urandom(700_000 + number))) for number in range(4)]
    async with running(*nodes):
        for node in nodes:
            node.become(Role.KERNEL)

        async def collect(node: Node) -> None:
            cluster = await node.exchange.ask_cluster(8, 3)
            peers = {peer.id: peer for peer in nodes if peer is not node}
            assert set(cluster.peers) == set(peers)
            received = await asyncio.gather(
                *(node.exchange.fetch(peer, cluster.cluster_id) for peer in cluster.peers for _ in range(2))
            )
            for peer_id, entry in zip([peer for peer in cluster.peers for _ in range(2)], received, strict=True):
                model = peers[peer_id].model
                assert model is not None
                assert await asyncio.to_thread(entry.path.read_bytes) == model.payload

        await asyncio.gather(*(collect(node) for node in nodes))
        await until(lambda: not bridge.hub.transfers.open)
        assert all(set(states(node)) == {TransferProgress.DONE} for node in nodes)
        assert bridge.hub.counters["violations"] == 0


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (model_of(b"x" * 100, model_signature="cd" * 16), Code.WRONG_MODEL),
        (model_of(b"x" * 100, codec="zip"), Code.UNKNOWN_CODEC),
        (model_of(b"x" * 1001), Code.MODEL_TOO_LARGE),
        (None, Code.NO_MODEL),
    ],
)
async def test_a_model_is_refused_at_the_offer(
    bridge: Bridge, tmp_path: Path, model: Offerable | None, code: Code
) -> None:
    giver, taker = Node(bridge.url, tmp_path, model), Node(bridge.url, tmp_path, max_model_bytes=1000)
    async with running(giver, taker):
        error = await failure_of(taker, giver)
        assert error.code is code
        assert bridge.hub.relayed_bytes == 0
        assert str(code) in giver.exchange.views()[0].reason
        giver.model = model_of(b"good")
        assert await taker.fetch_from(giver) == b"good"


async def test_a_busy_giver_says_so(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(bytes(5_000_000)), max_outgoing=1)
    first, second = Node(bridge.url, tmp_path), Node(bridge.url, tmp_path)
    async with running(giver, first, second):
        waiting = await under_way(giver, first)
        with pytest.raises(TransferError, match="sending 1 models already") as caught:
            await second.fetch_from(giver)
        assert caught.value.code is Code.TOO_MANY_TRANSFERS
        waiting.cancel()
        await asyncio.wait((waiting,))


def flip_last_bit(frame: bytes) -> bytes:
    return frame[:-1] + bytes([frame[-1] ^ 1])


def at_chunk(number: int, bend: Callable[[bytes], bytes | None]) -> Callable[[bytes], bytes | None]:
    """Bend only the frame of this sequence number."""
    return lambda frame: bend(frame) if int.from_bytes(frame[HEADER_BYTES - 4 : HEADER_BYTES]) == number else frame


async def test_a_giver_that_stops_sending_is_timed_out(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(os.urandom(8 * DEFAULT_CHUNK_BYTES)))
    taker = Node(bridge.url, tmp_path, stall_timeout_s=0.1)
    giver.wire.bend = at_chunk(7, lambda frame: None)
    async with running(giver, taker):
        error = await failure_of(taker, giver)
        assert error.code is Code.TIMED_OUT
        assert "next chunk" in error.sentence


async def test_a_giver_that_never_offers_is_timed_out(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(b"x"))
    taker = Node(bridge.url, tmp_path, answer_timeout_s=0.1)
    giver.wire.pass_message = lambda message: not isinstance(message, SealedOffer)
    async with running(giver, taker):
        error = await failure_of(taker, giver)
        assert error.code is Code.TIMED_OUT
        assert "offer" in error.sentence


@pytest.mark.parametrize(("kept_back", "missing"), [(Credit, "credit"), (Done, "word that all is there")])
async def test_a_taker_that_falls_silent_is_timed_out(
    bridge: Bridge, tmp_path: Path, kept_back: type[Message], missing: str
) -> None:
    giver = Node(bridge.url, tmp_path, model_of(bytes(300_000)), stall_timeout_s=0.1)
    taker = Node(bridge.url, tmp_path)
    taker.wire.pass_message = lambda message: not isinstance(message, kept_back)
    async with running(giver, taker):
        fetching = asyncio.create_task(taker.fetch_from(giver))
        await until(lambda: TransferProgress.FAILED in states(giver))
        assert missing in giver.exchange.views()[0].reason
        assert Code.TIMED_OUT in giver.exchange.views()[0].reason
        await asyncio.wait((fetching,))


async def test_a_bridge_that_says_again_and_again_that_the_peer_is_away_holds_no_request(
    bridge: Bridge, tmp_path: Path
) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(b"x")), Node(bridge.url, tmp_path, answer_timeout_s=0.3)
    giver.wire.pass_message = lambda message: not isinstance(message, SealedOffer)

    async def say_paused() -> None:
        while True:
            for view in taker.exchange.views():
                taker.exchange.home.on_message(Paused(view.transfer_id))
            await asyncio.sleep(0.05)

    async with running(giver, taker), background(say_paused()), asyncio.timeout(20):
        error = await failure_of(taker, giver)
    assert error.code is Code.TIMED_OUT
    assert "The peer's offer" in error.sentence


async def test_a_bridge_that_says_nothing_about_a_cluster_is_timed_out(bridge: Bridge, tmp_path: Path) -> None:
    node = Node(bridge.url, tmp_path, answer_timeout_s=0.05)
    node.wire.pass_message = lambda message: False
    async with running(node):
        with pytest.raises(TransferError) as caught:
            await node.cluster()
        assert caught.value.code is Code.TIMED_OUT


async def test_too_few_peers_are_counted(bridge: Bridge, tmp_path: Path) -> None:
    node, other = Node(bridge.url, tmp_path), Node(bridge.url, tmp_path)
    async with running(node, other):
        with pytest.raises(NotEnoughPeers, match="1 other") as caught:
            await node.cluster(size=5, minimum=2)
        assert caught.value.available == 1
        assert (await node.cluster(size=5, minimum=1)).peers == (other.id,)


def slowly(node: Node) -> None:
    """Let a node send so slowly that a test can step in between."""
    send = node.wire.send_chunk

    async def crawl(frame: bytes) -> None:
        await asyncio.sleep(0.01)
        await send(frame)

    node.wire.send_chunk = crawl  # type: ignore[method-assign]


async def under_way(giver: Node, taker: Node) -> asyncio.Task[bytes]:
    """Start a slow fetch and wait until some of it has come."""
    slowly(giver)
    fetching = asyncio.create_task(taker.fetch_from(giver))
    await until(lambda: taker.exchange.views() and taker.exchange.views()[0].moved_bytes > 0)
    return fetching


@pytest.mark.parametrize("gone", ["giver", "taker"])
async def test_a_cart_that_does_not_come_back_is_named(tmp_path: Path, no_blocking: object, gone: str) -> None:
    async with running_bridge(resume_timeout_s=0.3) as bridge:
        giver, taker = Node(bridge.url, tmp_path, model_of(bytes(5_000_000))), Node(bridge.url, tmp_path)
        lost, left = (giver, taker) if gone == "giver" else (taker, giver)
        lost.limits = replace(lost.limits, resume_timeout_s=0.3, stall_timeout_s=1.5)
        async with running(giver, taker):
            fetching = await under_way(giver, taker)
            lost.link._leaving.set()
            bridge.relay._connections[lost.id].abort()
            await until(lambda: states(left) == [TransferProgress.PAUSED])
            with pytest.raises(TransferError) as caught:
                await fetching
            assert taker.spooled == []
            assert caught.value.code in {Code.PEER_LEFT, Code.TIMED_OUT}
            await until(lambda: states(giver) == [TransferProgress.FAILED])
            assert not bridge.hub.transfers.open


@pytest.mark.parametrize("gone", [["giver"], ["taker"], ["giver", "taker"]], ids="-".join)
async def test_a_transfer_goes_on_after_a_lost_link(bridge: Bridge, tmp_path: Path, gone: list[str]) -> None:
    payload = os.urandom(3_000_000)
    giver, taker = Node(bridge.url, tmp_path, model_of(payload)), Node(bridge.url, tmp_path)
    async with running(giver, taker):
        fetching = await under_way(giver, taker)
        for name in gone:
            bridge.relay._connections[(giver if name == "giver" else taker).id].abort()
        assert await fetching == payload
        await until(lambda: states(giver) == [TransferProgress.DONE])
        sent_bytes = sum(len(frame) for frame in giver.wire.frames)
        assert sent_bytes < len(payload) + 2 * taker.limits.window_bytes
        assert bridge.hub.counters["violations"] == 0
        assert not bridge.hub.transfers.open


async def test_a_transfer_goes_on_at_a_bridge_that_knows_nothing_of_it(tmp_path: Path, no_blocking: object) -> None:
    payload = os.urandom(3_000_000)
    async with running_bridge() as bridge:
        giver, taker = Node(bridge.url, tmp_path, model_of(payload)), Node(bridge.url, tmp_path)
        nodes = running(giver, taker)
        await nodes.__aenter__()
        fetching = await under_way(giver, taker)
    try:
        async with running_bridge(port=bridge.port, **NARROW) as later:
            assert await fetching == payload
            await until(lambda: states(giver) == [TransferProgress.DONE])
            assert later.hub.counters["violations"] == 0
            assert not later.hub.transfers.open
    finally:
        await nodes.__aexit__(None, None, None)


async def test_a_giver_that_has_missed_the_end_hears_of_it(bridge: Bridge, tmp_path: Path) -> None:
    payload = os.urandom(100_000)
    giver, taker = Node(bridge.url, tmp_path, model_of(payload)), Node(bridge.url, tmp_path)
    taker.wire.pass_message = lambda message: not isinstance(message, Done)
    async with running(giver, taker):
        assert await taker.fetch_from(giver) == payload
        bridge.relay._connections[taker.id].abort()
        await until(lambda: states(giver) == [TransferProgress.PAUSED])
        taker.wire.pass_message = lambda message: True
        await until(lambda: states(giver) == [TransferProgress.DONE])


async def test_givers_that_have_missed_the_end_of_64_transfers_hear_of_each(bridge: Bridge, tmp_path: Path) -> None:
    payload, many = os.urandom(2000), 64
    giver = Node(bridge.url, tmp_path, model_of(payload), max_outgoing=2 * many, max_outgoing_per_peer=many)
    taker = Node(bridge.url, tmp_path)
    taker.wire.pass_message = lambda message: not isinstance(message, Done)
    async with running(giver, taker):
        cluster = (await taker.cluster()).cluster_id
        await asyncio.gather(*(taker.exchange.fetch(giver.id, cluster) for _ in range(many)))
        ended: list[TransferProgress] = []
        for outgoing in giver.exchange._outgoing.values():
            end = outgoing.view.end
            outgoing.view.end = lambda failure, view=outgoing.view, end=end: (end(failure), ended.append(view.state))  # type: ignore[method-assign,misc]
        assert len(giver.exchange._outgoing) == many
        bridge.relay._connections[taker.id].abort()
        taker.wire.pass_message = lambda message: True
        await until(lambda: len(ended) == many)
        assert set(ended) == {TransferProgress.DONE}


async def test_a_fetch_that_is_cancelled_tells_the_giver(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(bytes(2_000_000))), Node(bridge.url, tmp_path)
    giver.wire.bend = at_chunk(7, lambda frame: None)
    async with running(giver, taker):
        fetching = asyncio.create_task(taker.fetch_from(giver))
        await until(lambda: taker.exchange.views() and taker.exchange.views()[0].state is TransferProgress.RUNNING)
        fetching.cancel()
        await asyncio.wait((fetching,))
        assert fetching.cancelled()
        assert taker.spooled == []
        await until(lambda: states(giver) == [TransferProgress.FAILED])
        assert Code.ABANDONED in giver.exchange.views()[0].reason


async def test_nothing_is_asked_for_on_a_link_that_is_down(tmp_path: Path) -> None:
    node = Node("ws://127.0.0.1:1", tmp_path)
    with pytest.raises(TransferError) as caught:
        await node.exchange.fetch("ab" * 16, "cd" * 16)
    assert caught.value.code is Code.LINK_LOST
    with pytest.raises(TransferError) as caught:
        await node.exchange.ask_cluster(1, 1)
    assert caught.value.code is Code.LINK_LOST


async def test_a_cluster_that_is_asked_for_while_the_link_breaks_is_a_named_failure(
    bridge: Bridge, tmp_path: Path
) -> None:
    node = Node(bridge.url, tmp_path)
    node.wire.pass_message = lambda message: False
    async with running(node):
        asking = asyncio.create_task(node.cluster())
        await until(lambda: node.exchange.home.requests._waiting)
        bridge.relay._connections[node.id].abort()
        with pytest.raises(TransferError) as caught:
            await asking
        assert caught.value.code is Code.LINK_LOST


async def test_a_full_disk_is_told_to_the_giver(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    giver, taker = Node(bridge.url, tmp_path, model_of(bytes(5000))), Node(bridge.url, tmp_path)
    monkeypatch.setattr(os, "posix_fallocate", refuse)
    async with running(giver, taker):
        assert (await failure_of(taker, giver)).code is Code.DISK_FULL
        assert Code.DISK_FULL in giver.exchange.views()[0].reason


async def test_messages_that_fit_nothing_are_passed_over(bridge: Bridge, tmp_path: Path) -> None:
    node, stranger = Node(bridge.url, tmp_path, model_of(b"x")), "77" * 16
    async with running(node):
        for message in (
            Credit("01" * 16, 5),
            Done("01" * 16),
            Cancel("01" * 16, Code.ABANDONED),
            sealed_offer("01" * 16, stranger, node.id, 1, 1),
        ):
            node.exchange.home.on_message(message)
        request = model_request("02" * 16, "03" * 16, stranger, node.id)
        node.exchange.home.on_message(request)
        node.exchange.home.on_message(request)  # the same id again
        assert len(node.exchange.views()) == 1
        await node.exchange.close()
        assert states(node) == [TransferProgress.FAILED]


async def test_an_offer_from_another_cart_than_the_one_asked_is_refused(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(b"x")), Node(bridge.url, tmp_path)
    giver.wire.pass_message = lambda message: False
    async with running(giver, taker):
        fetching = asyncio.create_task(taker.fetch_from(giver))
        await until(giver.exchange.views)
        transfer = giver.exchange.views()[0].transfer_id
        offer = sealed_offer(transfer, "77" * 16, taker.id, 1, 1)
        taker.exchange.home.on_message(offer)
        with pytest.raises(TransferError) as caught:
            await fetching
        assert caught.value.code is Code.WRONG_SOURCE


async def test_the_views_keep_the_latest_and_are_safe_to_read_from_a_thread(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(b"weights")), Node(bridge.url, tmp_path)
    stop, faults = threading.Event(), []

    def look() -> None:
        while not stop.wait(0.0002):
            try:
                giver.exchange.views()
                taker.exchange.views()
            except Exception as error:
                faults.append(error)
                return

    async with running(giver, taker):
        looking = asyncio.create_task(asyncio.to_thread(look))
        for _ in range(FINISHED_SHOWN + 5):
            assert await taker.fetch_from(giver) == b"weights"
        stop.set()
        await looking
        assert faults == []
        views = taker.exchange.views()
        assert len(views) == FINISHED_SHOWN
        assert views == sorted(views, key=lambda view: view.started_at, reverse=True)


async def test_the_limits_are_asked_anew_for_each_transfer(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(bytes(1001))), Node(bridge.url, tmp_path, max_model_bytes=1000)
    async with running(giver, taker):
        assert (await failure_of(taker, giver)).code is Code.MODEL_TOO_LARGE
        taker.limits = replace(taker.limits, max_model_bytes=1001)
        assert len(await taker.fetch_from(giver)) == 1001


async def test_the_same_version_in_another_codec_is_the_same_version(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, give_again_s=60.0), Node(bridge.url, tmp_path)

    async def offer(codecs: tuple[str, ...]) -> Offerable:
        return model_of(bytes({"float32": 2000, "float16": 1000}[codecs[0]]), codec=codecs[0])

    giver.offer = offer  # type: ignore[method-assign]
    async with running(giver, taker):
        for codec in ("float16", "float32"):
            taker.wanted = (SIGNATURE, (codec,))
            await taker.fetch_from(giver)
        for codec in ("float16", "float32"):
            taker.wanted = (SIGNATURE, (codec,))
            error = await failure_of(taker, giver)
            assert error.code is Code.TOO_MANY_TRANSFERS
            assert "this version" in error.sentence


async def test_a_disk_that_takes_no_chunk_ends_the_transfer_and_not_the_link(
    bridge: Bridge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    giver, taker = Node(bridge.url, tmp_path, model_of(bytes(5000))), Node(bridge.url, tmp_path)
    monkeypatch.setattr(os, "pwrite", refuse)
    async with running(giver, taker):
        assert (await failure_of(taker, giver)).code is Code.DISK_FULL
        assert taker.link.status.state is LinkState.ATTACHED


async def test_a_fault_in_one_transfer_is_the_end_of_that_transfer_alone(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(bytes(5000))), Node(bridge.url, tmp_path)
    taker.wanted = ()  # type: ignore[assignment]
    async with running(giver, taker):
        assert (await failure_of(taker, giver)).code is Code.ABANDONED
        assert taker.link.status.state is LinkState.ATTACHED


async def stalled_fetch(taker: Node, giver: Node) -> tuple[asyncio.Task[bytes], str]:
    """Start a fetch whose chunks never come; return it and its transfer id."""
    giver.wire.bend = lambda frame: None
    fetching = asyncio.create_task(taker.fetch_from(giver))
    await until(lambda: TransferProgress.RUNNING in states(taker))
    return fetching, taker.exchange.views()[0].transfer_id


async def test_a_chunk_from_another_cart_than_the_one_asked_ends_the_fetch(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(bytes(5000))), Node(bridge.url, tmp_path)
    async with running(giver, taker):
        fetching, transfer = await stalled_fetch(taker, giver)
        header = ChunkHeader(b"s" * 16, bytes.fromhex(taker.id), bytes.fromhex(transfer), 0, True)
        taker.exchange.home.on_chunk(header, memoryview(bytes(5000)))
        taker.exchange.home.on_chunk(header, memoryview(bytes(5000)))  # after the end nothing is taken
        with pytest.raises(TransferError) as caught:
            await fetching
        assert caught.value.code is Code.WRONG_SOURCE
        assert taker.spooled == []


async def test_a_second_offer_changes_nothing(bridge: Bridge, tmp_path: Path) -> None:
    giver, taker = Node(bridge.url, tmp_path, model_of(bytes(5000))), Node(bridge.url, tmp_path)
    async with running(giver, taker):
        fetching, transfer = await stalled_fetch(taker, giver)
        again = sealed_offer(transfer, giver.id, taker.id, 1, 1)
        taker.exchange.home.on_message(again)
        assert taker.exchange.views()[0].total_bytes == 5000
        fetching.cancel()
        await asyncio.wait((fetching,))


async def test_a_trickle_does_not_hold_a_round(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(bytes(2_000_000)))
    taker = Node(bridge.url, tmp_path, stall_timeout_s=0.05, resume_timeout_s=0.01, slowest_bytes_per_s=1e8)
    slowly(giver)
    async with running(giver, taker):
        error = await failure_of(taker, giver)
        assert error.code is Code.TIMED_OUT
        assert "was not done within" in error.sentence


async def test_one_peer_cannot_take_all_places(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(bytes(100_000)), max_outgoing_per_peer=1)
    taker = Node(bridge.url, tmp_path)
    taker.wire.pass_message = lambda message: not isinstance(message, Credit)
    async with running(giver, taker):
        cluster = await taker.cluster()
        first = asyncio.create_task(taker.exchange.fetch(giver.id, cluster.cluster_id))
        await until(lambda: states(giver) == [TransferProgress.OFFERED])
        with pytest.raises(TransferError, match="1 of them to the asking one"):
            await taker.exchange.fetch(giver.id, cluster.cluster_id)
        first.cancel()
        await asyncio.wait((first,))


async def test_identities_that_grant_no_credit_do_not_keep_others_out(bridge: Bridge, tmp_path: Path) -> None:
    payload = os.urandom(300_000)
    giver = Node(bridge.url, tmp_path, model_of(payload), max_outgoing=4)
    hostile, honest = [Node(bridge.url, tmp_path) for _ in range(8)], [Node(bridge.url, tmp_path) for _ in range(3)]
    for node in hostile:
        node.wire.pass_message = lambda message: not isinstance(message, Credit)
    async with running(giver, *hostile, *honest):
        clusters = [(node, (await node.cluster()).cluster_id) for node in hostile]
        fetches = [node.exchange.fetch(giver.id, cluster_id) for node, cluster_id in clusters for _ in range(2)]
        holding = asyncio.gather(*fetches, return_exceptions=True)
        await until(lambda: states(giver).count(TransferProgress.OFFERED) >= 4)
        assert await asyncio.gather(*(node.fetch_from(giver) for node in honest)) == [payload] * 3
        assert len(giver.exchange._outgoing) <= 4
        holding.cancel()
        await asyncio.wait((holding,))


async def test_the_same_version_is_not_given_again_at_once(bridge: Bridge, tmp_path: Path) -> None:
    giver = Node(bridge.url, tmp_path, model_of(os.urandom(300_000)), give_again_s=60.0)
    first, second = Node(bridge.url, tmp_path), Node(bridge.url, tmp_path)
    async with running(giver, first, second):
        await first.fetch_from(giver)
        with pytest.raises(TransferError, match="this version 1 times lately; ask again in 60 s") as caught:
            await first.fetch_from(giver)
        assert caught.value.code is Code.TOO_MANY_TRANSFERS
        await second.fetch_from(giver)
        giver.model = model_of(b"a later version", model_version=2)
        assert await first.fetch_from(giver) == b"a later version"


async def test_a_receiver_that_resumes_from_the_beginning_again_and_again_spends_its_budget(
    bridge: Bridge, tmp_path: Path
) -> None:
    payload = os.urandom(300_000)
    giver = Node(bridge.url, tmp_path, model_of(payload), give_bytes_per_peer=1)
    taker = Node(bridge.url, tmp_path)
    taker.wire.pass_message = lambda message: not isinstance(message, Done)
    async with running(giver, taker):
        await taker.fetch_from(giver)
        (outgoing,) = giver.exchange._outgoing.values()
        offer = outgoing._agreed
        assert offer is not None
        from_start = Resume(
            *(offer.transfer, offer.source, offer.destination, offer.total_bytes, offer.chunk_bytes, 0, len(payload))
        )
        while not outgoing.has_failed and giver.exchange._outgoing:
            outgoing.take(from_start)
            await asyncio.sleep(0)
        await until(lambda: states(giver) == [TransferProgress.FAILED])
        assert "sent again until its budget was spent" in giver.exchange.views()[0].reason
        assert sum(map(len, giver.wire.frames)) < 10 * len(payload)


@pytest.mark.parametrize("named", ["twice", "itself", "many"])
async def test_a_bridge_that_names_wrong_peers_is_held_to_the_request(
    bridge: Bridge, tmp_path: Path, named: str
) -> None:
    node = Node(bridge.url, tmp_path)
    others = [f"{number:032x}" for number in range(5)]
    peers = {"twice": [others[0], others[0]], "itself": [node.id, others[1]], "many": others}[named]

    def answer(message: Message) -> bool:
        asyncio.get_running_loop().call_soon(
            node.exchange.home.on_message,
            PeerList(message.request, "cc" * 16, tuple(peers)),  # type: ignore[attr-defined]
        )
        return False

    node.wire.pass_message = answer
    if named == "many":
        assert (await node.exchange.ask_cluster(2, 1)).peers == tuple(others[:2])
    else:
        assert len((await node.exchange.ask_cluster(2, 1)).peers) == 1
        with pytest.raises(NotEnoughPeers, match="named 1 peers; at least 2 must be there"):
            await node.exchange.ask_cluster(2, 2)
