"""A link attaches, comes back by itself, says why it is down, and leaves when it is told to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from blockbuster import BlockBuster
from hypothesis import given
from hypothesis import strategies as st
from support.bridges.in_process import Bridge, running_bridge, until

from cart_common.wire.chunk import ChunkHeader
from cart_common.wire.fleet_key import OPEN, Secret, as_text, bridge_token, new_key
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Cluster, Done, Message, PeerList, Role, Welcome
from cart_common.wire.records import is_bridge_url
from child_cart.network import opening_handshake
from child_cart.network.bridge_selection import BridgeSelection
from child_cart.network.handshake import Attachment, Standing
from child_cart.network.link import Link
from child_cart.network.link_interface import LinkDown
from child_cart.network.link_state import LinkState, LinkStatus
from child_cart.network.opening_handshake import http_date

STANDING = Standing(Role.SHELL, "ab" * 16, 1)


@dataclass
class Listener:
    """Writes down what the link tells it."""

    events: list[str] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    chunks: list[tuple[ChunkHeader, bytes]] = field(default_factory=list)

    def on_attached(self, welcome: Welcome, round_trip_s: float) -> None:
        self.events.append("attached")

    def on_message(self, message: Message) -> None:
        self.messages.append(message)

    def on_chunk(self, header: ChunkHeader, payload: memoryview) -> None:
        self.chunks.append((header, bytes(payload)))

    def on_lost(self) -> None:
        self.events.append("lost")


class Cart:
    """A link with its listener."""

    def __init__(self, url: str, first_s: float = 0.01, connect_timeout_s: float = 5.0) -> None:
        self.listener = Listener()
        self.identity = Identity.generate()
        self.id = self.identity.cart_id.hex()
        self.bridges = BridgeSelection([url], first_s, 60.0, time.monotonic, time.time)
        self.link = Link(self.bridges, self.identity, OPEN, None, 20.0, connect_timeout_s)
        self.link.standing = STANDING

    @property
    def state(self) -> LinkState:
        return self.link.status.state

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.link.run(self.listener))
        try:
            yield task
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def waits_with(self, *words: str) -> str:
        """Wait until the link has failed for a reason with these words."""
        await until(lambda: self.state is LinkState.WAITING and all(word in self.link.status.reason for word in words))
        return self.link.status.reason


Script = Callable[[web.WebSocketResponse], Awaitable[None]]


@asynccontextmanager
async def odd_bridge(script: Script) -> AsyncIterator[str]:
    """Something that takes a WebSocket at the bridge's place and does as the script says."""

    async def handle(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await script(socket)
        return socket

    application = web.Application()
    application.router.add_get("/v1/cart", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


WELCOME = {
    "type": "WELCOME",
    "version": 1,
    "bridge_id": "ab" * 16,
    "nonce": "cd" * 32,
    "max_chunk_bytes": 65536,
    "max_window_bytes": 1048576,
}


def says(*frames: object, then_wait: bool = False) -> Script:
    """Send these frames (text for a dict), after WELCOME and ATTACHED, then close."""

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps(WELCOME))
        await socket.receive()
        await socket.send_str(json.dumps({"type": "ATTACHED", "cart_id": "ab" * 16}))
        for frame in frames:
            await (socket.send_bytes(frame) if isinstance(frame, bytes) else socket.send_str(json.dumps(frame)))
        if then_wait:
            await socket.receive()
        await socket.close()

    return script


async def test_it_attaches_and_says_so(bridge: Bridge) -> None:
    cart = Cart(bridge.url)
    assert cart.state is LinkState.WAITING
    before = time.monotonic()
    async with cart.running():
        await cart.link.wait_attached()
        assert cart.state is LinkState.ATTACHED
        assert cart.link.status.reason == ""
        assert cart.link.status.url == bridge.url
        assert before <= cart.link.status.since <= time.monotonic()
        assert list(bridge.hub.carts) == [cart.id]
        assert cart.listener.events == ["attached"]
    assert cart.listener.events == ["attached", "lost"]
    await until(lambda: not bridge.hub.carts)


async def test_messages_go_both_ways(bridge: Bridge) -> None:
    first, second = Cart(bridge.url), Cart(bridge.url)
    first.link.announce(replace(STANDING, role=Role.KERNEL))
    async with first.running(), second.running():
        await first.link.wait_attached()
        await second.link.wait_attached()
        first.link.send(Cluster("01" * 16, 3, 1))
        await until(lambda: first.listener.messages)
        (answer,) = first.listener.messages
        assert isinstance(answer, PeerList)
        assert answer.peers == (second.id,)


async def test_a_changed_standing_is_announced_once(bridge: Bridge) -> None:
    cart = Cart(bridge.url)
    cart.link.announce(STANDING)  # without a link this does nothing
    async with cart.running():
        await cart.link.wait_attached()
        cart.link.announce(Standing(Role.KERNEL, "ab" * 16, 7))
        await until(lambda: bridge.hub.carts[cart.id].role is Role.KERNEL)
        assert bridge.hub.carts[cart.id].model_version == 7


async def test_a_standing_that_changes_during_the_handshake_is_told(bridge: Bridge) -> None:
    cart = Cart(bridge.url)
    attach = cart.link._handshake.attach

    async def attach_and_change(*given: Any) -> Attachment:
        cart.link.announce(replace(STANDING, model_version=2))
        return await attach(*given)

    cart.link._handshake.attach = attach_and_change  # type: ignore[method-assign]
    async with cart.running():
        await until(lambda: cart.id in bridge.hub.carts and bridge.hub.carts[cart.id].model_version == 2)


async def test_nothing_is_sent_without_a_link() -> None:
    cart = Cart("ws://127.0.0.1:1")
    with pytest.raises(LinkDown):
        cart.link.send(Done("01" * 16))
    with pytest.raises(LinkDown):
        await cart.link.send_chunk(bytearray(b"x"))


async def test_a_bridge_that_does_not_read_loses_the_link_and_no_message(bridge: Bridge) -> None:
    cart = Cart(bridge.url)
    async with cart.running():
        await cart.link.wait_attached()
        bridge.relay._connections[cart.id].socket._transport.pause_reading()

        def send_for_ever() -> None:
            while True:  # at first the system's buffers take it
                cart.link.send(Done("01" * 16))

        with pytest.raises(LinkDown, match="stuck"):
            send_for_ever()
        # One that was lost would leave a transfer waiting; on the next link all is said again.
        await until(lambda: cart.listener.events == ["attached", "lost", "attached"])
        assert bridge.relay._connections[cart.id].socket.held is False


async def test_a_sender_that_waits_for_its_turn_hears_of_the_end(bridge: Bridge) -> None:
    cart = Cart(bridge.url)
    async with cart.running():
        await cart.link.wait_attached()
        bridge_side = bridge.relay._connections[cart.id]

        async def send_for_ever() -> None:
            while True:
                await cart.link.send_chunk(bytearray(64 * 1024))

        bridge_side.socket._transport.pause_reading()
        sending = asyncio.create_task(send_for_ever())
        await until(lambda: cart.link._connection._send_queue.chunk_bytes > 900_000)
        bridge_side.abort()
        with pytest.raises(LinkDown):
            await sending


async def test_it_comes_back_when_the_bridge_does(no_blocking: BlockBuster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("child_cart.network.link.STEADY_S", 0.01)
    async with running_bridge() as bridge:
        port = bridge.port
        cart = Cart(bridge.url)
        task = asyncio.create_task(cart.link.run(cart.listener))
        await cart.link.wait_attached()
    await cart.waits_with("No bridge answers", str(port), "Trying again in")
    async with running_bridge(port=port) as again:
        await cart.link.wait_attached()
        assert list(again.hub.carts) == [cart.id]
        assert cart.listener.events == ["attached", "lost", "attached"]
        await until(lambda: not cart.bridges._backoffs)  # a link that holds starts the delays anew
        await cart.link.leave(1)
        await task
    assert cart.state is LinkState.CLOSED


async def test_a_bridge_that_stops_is_named(no_blocking: BlockBuster) -> None:
    async with running_bridge() as bridge:
        cart = Cart(bridge.url, first_s=30.0)
        task = asyncio.create_task(cart.link.run(cart.listener))
        await cart.link.wait_attached()
    await cart.waits_with("BRIDGE_STOPPING")
    task.cancel()
    await asyncio.wait((task,))


async def test_the_delays_grow_while_nobody_answers() -> None:
    cart = Cart("ws://127.0.0.1:1", first_s=0.01)
    async with cart.running():
        await cart.waits_with("No bridge answers at ws://127.0.0.1:1", "refused")
        await until(lambda: cart.bridges._backoffs and next(iter(cart.bridges._backoffs.values()))._tries >= 4)


@pytest.mark.parametrize("name", ["a..b", ".b", "a" * 64])
async def test_a_name_that_no_host_can_have_is_an_address_where_no_bridge_is(name: str) -> None:
    url = f"ws://{name}:9000"
    assert is_bridge_url(url)  # so a record may hold it
    cart = Cart(url, first_s=0.01)
    async with cart.running():
        await cart.waits_with(f"{url} names no host")


async def test_it_knows_how_far_its_clock_is_from_the_bridges(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    cart = Cart(bridge.url)
    assert cart.link.clock_ahead_s is None
    async with cart.running():
        await cart.link.wait_attached()
        ahead_s = cart.link.clock_ahead_s
        assert ahead_s == pytest.approx(0.0, abs=20.0)
        real = time.time
        with monkeypatch.context() as patched:
            patched.setattr("child_cart.network.link.time.time", lambda: real() + 86400.0)
            ahead_s = cart.link.clock_ahead_s
        assert ahead_s == pytest.approx(86400.0, abs=20.0)


async def test_a_cart_with_a_wrong_clock_shows_at_the_bridge(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr("child_cart.network.presence.time.time", lambda: real() + 86400.0)
    monkeypatch.setattr(bridge.hub.clocks, "_wall_clock", real)
    cart = Cart(bridge.url)
    async with cart.running():
        await until(bridge.hub.clocks.count_off)
        assert bridge.hub.clocks.ahead_s() == pytest.approx(-86400.0, abs=20.0)
    await until(lambda: bridge.hub.clocks.ahead_s() is None)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        (b"Sun, 06 Nov 1994 08:49:37 GMT", 784111777.0),
        (b"Sun, 06 Nov 1994 08:49:37 +0100", None),
        (b"Sun, 99 Nov 1994 08:49:37 GMT", None),
        (b"Sun, 06 Xyz 1994 08:49:37 GMT", None),
        (b"", None),
    ],
)
def test_the_bridges_time_is_read_from_its_answer(text: bytes, at: float | None) -> None:
    assert http_date(text) == at


@given(st.binary(max_size=40) | st.from_regex(opening_handshake._DATE, fullmatch=True))
def test_any_date_field_is_a_time_or_none(text: bytes) -> None:
    assert isinstance(http_date(text), float | None)


async def test_the_time_without_a_bridge_is_counted_over_all_tries() -> None:
    cart = Cart("ws://127.0.0.1:1", first_s=0.01)
    assert cart.link.status.away_s(time.monotonic()) == 0.0  # it has not tried yet
    began = time.monotonic()
    async with cart.running():
        await until(lambda: cart.bridges._backoffs and next(iter(cart.bridges._backoffs.values()))._tries >= 4)
        assert cart.link.status.since > (cart.link.status.away_since or 0.0) >= began
        assert cart.link.status.away_s(began + 3600.0) == pytest.approx(3600.0, abs=10.0)


async def test_a_refused_cart_is_away_and_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(as_text(bridge_token(new_key()), Secret.BRIDGE_TOKEN))
    async with running_bridge(token_file=str(tmp_path / "token")) as bridge:
        cart = Cart(bridge.url)
        async with cart.running():
            reason = await cart.waits_with("refused this cart", "NOT_ADMITTED", "--fleet-key-file")
            assert reason.startswith(f"The bridge at {bridge.url}")
            assert cart.link.status.away_s(time.monotonic() + 3600.0) >= 3600.0


async def test_a_refusal_stays_the_reason_while_the_bridge_holds_back_its_answers() -> None:
    tries = 0

    async def script(socket: web.WebSocketResponse) -> None:
        nonlocal tries
        tries += 1
        await socket.send_str(json.dumps(WELCOME))
        await socket.receive()
        if tries == 1:
            await socket.send_str(
                json.dumps({"type": "ERROR", "code": "NOT_ADMITTED", "sentence": "Not of this fleet."})
            )
        else:
            await socket.receive()

    async with odd_bridge(script) as url:
        cart = Cart(url, connect_timeout_s=0.2)
        async with cart.running():
            await cart.waits_with("did not answer within 0.2 s", "Not of this fleet. (NOT_ADMITTED)")


def test_a_link_that_breaks_at_once_does_not_count_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("child_cart.network.link_state.time.monotonic", lambda: now)
    status = LinkStatus(LinkState.WAITING, "ws://a", now, "")
    ways = (LinkState.CONNECTING, LinkState.ATTACHING, LinkState.ATTACHED)
    for lasts_s, away_s in ((1.0, 12.0), (60.0, 10.0)):
        for state in ways:
            status = status.followed_by(state, "ws://a", "")
        assert status.away_s(now) == 0.0
        now += lasts_s
        status = status.followed_by(LinkState.WAITING, "ws://a", "It broke.")
        now += 10.0
        status = status.followed_by(LinkState.CONNECTING, "ws://a", "It broke.")
        assert status.away_s(now) == pytest.approx(away_s, abs=1.0)
        status = status.followed_by(LinkState.WAITING, "ws://a", "It broke.")


async def test_two_carts_with_one_key_are_told(bridge: Bridge) -> None:
    first, second = Cart(bridge.url, first_s=30), Cart(bridge.url)
    second.link._handshake = first.link._handshake
    async with first.running():
        await first.link.wait_attached()
        async with second.running():
            await second.link.wait_attached()
            await first.waits_with("REPLACED")


# Leaving.


async def test_leaving_says_exit_and_ends_the_link(bridge: Bridge) -> None:
    cart = Cart(bridge.url)
    async with cart.running() as task:
        await cart.link.wait_attached()
        await cart.link.leave(5)
        assert not bridge.hub.carts
        async with asyncio.timeout(10):
            await task
        assert cart.state is LinkState.CLOSED
        assert bridge.hub.counters["violations"] == 0


async def test_leaving_during_a_long_delay_ends_it() -> None:
    cart = Cart("ws://127.0.0.1:1", first_s=60.0)
    async with cart.running() as task:
        await cart.waits_with("No bridge answers")
        await cart.link.leave(5)
        async with asyncio.timeout(10):
            await task
        assert cart.state is LinkState.CLOSED


async def test_leaving_during_the_handshake_ends_the_link() -> None:
    greeted, go_on = asyncio.Event(), asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps(WELCOME))
        await socket.receive()
        greeted.set()
        await go_on.wait()
        await socket.send_str(json.dumps({"type": "ATTACHED", "cart_id": "ab" * 16}))
        await socket.receive()

    async with odd_bridge(script) as url:
        cart = Cart(url)
        async with cart.running() as task:
            await greeted.wait()
            await cart.link.leave(5)
            go_on.set()
            async with asyncio.timeout(10):
                await task
            assert cart.state is LinkState.CLOSED
            assert cart.listener.events == []


async def test_a_bridge_that_does_not_answer_exit_holds_nobody_up() -> None:
    async with odd_bridge(says(then_wait=True)) as url:
        cart = Cart(url)
        async with cart.running():
            await cart.link.wait_attached()
            await cart.link.leave(0.05)

    silent = asyncio.Event()

    async def never_answer(socket: web.WebSocketResponse) -> None:
        await says()(socket) if silent.is_set() else await attach_and_wait(socket)

    async def attach_and_wait(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps(WELCOME))
        await socket.receive()
        await socket.send_str(json.dumps({"type": "ATTACHED", "cart_id": "ab" * 16}))
        await silent.wait()

    async with odd_bridge(never_answer) as url:
        cart = Cart(url)
        async with cart.running():
            await cart.link.wait_attached()
            async with asyncio.timeout(10):
                await cart.link.leave(0.05)
            assert cart.state is LinkState.ATTACHED  # it has not waited for the link's end
            silent.set()


async def test_leaving_a_link_that_takes_no_more_raises_nothing(bridge: Bridge) -> None:
    cart = Cart(bridge.url)
    async with cart.running():
        await cart.link.wait_attached()
        bridge.relay._connections[cart.id].socket._transport.pause_reading()
        with suppress(LinkDown):
            while True:
                cart.link.send(Done("01" * 16))
        await cart.link.leave(1)


# Servers that are no bridge or speak nonsense: the link names each, and its loop goes on.


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([{"type": "NOSUCH"}], "wrong message"),
        ([b"garbage"], "wrong frame"),
        ([b"\1\1\0\0" + bytes(52) + b"payload", b"\2"], "wrong frame"),
        ([{"type": "ERROR", "code": "SLOW_READER", "sentence": "Too slow."}], "Too slow. (SLOW_READER)"),
        ([bytes(2_000_000)], "broke"),
        ([], "closed the link"),
    ],
)
async def test_a_bridge_that_speaks_nonsense_is_named(frames: list[object], reason: str) -> None:
    async with odd_bridge(says(*frames)) as url:
        cart = Cart(url, first_s=30)
        async with cart.running():
            await cart.waits_with(reason)
            assert cart.listener.events == ["attached", "lost"]


@pytest.mark.parametrize("record", ["", "nonsense", "{}", "\ud800", "[" * 1400])
async def test_bridges_that_are_named_wrongly_are_passed_over(record: str) -> None:
    async with odd_bridge(
        says({"type": "NBRLIST", "bridges": [record] * 16}, {"type": "DONE", "transfer": "ab" * 16})
    ) as url:
        cart = Cart(url, first_s=30)
        async with cart.running():
            await cart.waits_with("closed the link")
    assert len(cart.listener.messages) == 1  # the link has gone on
    assert [bridge.url for bridge in cart.bridges.known()] == [url]


async def test_a_good_chunk_and_an_answer_reach_the_handler() -> None:
    frame = b"\1\1\1\0" + b"s" * 16 + b"d" * 16 + b"t" * 16 + b"\0\0\0\5" + b"payload" + bytes(16)
    answer = {"type": "ERROR", "code": "NOT_ENOUGH_PEERS", "request": "01" * 16, "available": 2}
    async with odd_bridge(says(frame, answer)) as url:
        cart = Cart(url, first_s=30)
        async with cart.running():
            await cart.waits_with("closed the link")
    assert cart.listener.chunks == [(ChunkHeader(b"s" * 16, b"d" * 16, b"t" * 16, 5, True), b"payload" + bytes(16))]
    assert len(cart.listener.messages) == 1


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (json.dumps(WELCOME | {"version": 2}), "speaks version 2"),
        (json.dumps({"type": "EXITDONE"}), "EXITDONE where WELCOME was due"),
        (json.dumps({"type": "ERROR", "code": "BRIDGE_FULL", "sentence": "Full."}), "refused this cart: Full."),
        ("nonsense", "wrong message"),
        (b"nonsense", "no control message"),
        (None, "closed the link before it was ready"),
    ],
)
async def test_a_handshake_that_fails_is_named(first: str | bytes | None, reason: str) -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        if first is not None:
            await (socket.send_bytes(first) if isinstance(first, bytes) else socket.send_str(first))
        await socket.close()

    async with odd_bridge(script) as url:
        cart = Cart(url, first_s=30)
        async with cart.running():
            await cart.waits_with(reason)
            assert cart.listener.events == []


async def test_a_bridge_that_stays_silent_is_timed_out() -> None:
    async def script(socket: web.WebSocketResponse) -> None:
        await socket.receive()

    async with odd_bridge(script) as url:
        cart = Cart(url, first_s=30, connect_timeout_s=0.1)
        async with cart.running():
            await cart.waits_with("did not answer within 0.1 s")


async def test_a_web_server_that_is_no_bridge_is_named() -> None:
    async with odd_bridge(says()) as url:
        cart = Cart(f"{url}/elsewhere", first_s=30)
        async with cart.running():
            await cart.waits_with("is not a bridge", "404")


@pytest.mark.parametrize("url", ["nonsense", "ws://", "ftp://127.0.0.1:1", "ws://127.0.0.1:99999"])
async def test_an_address_that_is_none_is_named(url: str) -> None:
    cart = Cart(url, first_s=30)
    async with cart.running():
        await cart.waits_with("Trying again")


async def test_a_bridge_that_dies_without_a_word_is_found_by_the_heartbeat() -> None:
    hold = asyncio.Event()

    async def script(socket: web.WebSocketResponse) -> None:
        await socket.send_str(json.dumps(WELCOME))
        await socket.receive()
        await socket.send_str(json.dumps({"type": "ATTACHED", "cart_id": "ab" * 16}))
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.pause_reading()  # type: ignore[attr-defined]
        await hold.wait()

    async with odd_bridge(script) as url:
        cart = Cart(url, first_s=30)
        cart.link._heartbeat_s = 0.1
        async with cart.running():
            await cart.waits_with("The link to the bridge broke", "PONG")
            assert cart.listener.events == ["attached", "lost"]
        hold.set()


async def test_a_broken_connection_is_a_reason_with_words(bridge: Bridge) -> None:
    cart = Cart(bridge.url, first_s=30)
    async with cart.running():
        await cart.link.wait_attached()
        bridge.relay._connections[cart.id].abort()
        reason = await cart.waits_with("link")
        assert "()" not in reason
