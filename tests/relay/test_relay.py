"""The bridge as carts see it: real sockets, and carts written from the protocol alone."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import AsyncExitStack, suppress

import aiohttp
import pytest
from blockbuster import BlockBuster
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.bridges.in_process import Bridge, running_bridge, until
from support.carts.raw_cart import RawCart, ask_cluster, attached, chunk, greeted, open_transfer

from cart_common.process.addresses import networks_in
from cart_common.process.tasks import background
from cart_common.websocket import socket as websocket_module
from cart_common.websocket.send_queue import MAX_CONTROL_BYTES
from parent_cart.relay import http_connections as accepting_module
from parent_cart.relay import relay as relay_module
from parent_cart.relay import strangers as strangers_module
from parent_cart.relay.http_connections import HttpConnections, cut_off_others

SMALL_CHUNKS = {"max_chunk_bytes": 65536}


async def refused(cart: RawCart, code: str) -> str:
    """The bridge says why and closes; return its sentence."""
    error = await cart.hear_end()
    assert error is not None
    assert error["code"] == code
    assert cart.socket.close_code == aiohttp.WSCloseCode.POLICY_VIOLATION
    return str(error["sentence"])


# Attaching.


async def test_a_cart_attaches_under_the_id_of_its_key(bridge: Bridge) -> None:
    async with greeted(bridge.url) as cart:
        assert cart.welcome["version"] == 1
        assert cart.welcome["max_chunk_bytes"] == 512 * 1024
        assert cart.welcome["max_window_bytes"] == 4 * 1024 * 1024
        assert not bridge.hub.carts
        await cart.attach(role="KERNEL", model_version=3)
        assert bridge.hub.carts[cart.id].role == "KERNEL"
        assert bridge.hub.carts[cart.id].model_version == 3
    await until(lambda: not bridge.hub.carts)


async def test_a_signature_by_another_key_is_refused(bridge: Bridge) -> None:
    async with greeted(bridge.url) as cart:
        await cart.say("ATTACH", **cart.attach_body(public_key=os.urandom(32).hex()))
        await refused(cart, "BAD_SIGNATURE")
    assert bridge.hub.counters["violations"] == 1


async def test_a_signature_for_another_connection_is_refused(bridge: Bridge) -> None:
    async with greeted(bridge.url) as first, greeted(bridge.url, first.key) as second:
        assert first.welcome["nonce"] != second.welcome["nonce"]
        await second.say("ATTACH", **first.attach_body())
        await refused(second, "BAD_SIGNATURE")
        await first.attach()


async def test_a_signature_for_another_bridge_is_refused(bridge: Bridge) -> None:
    async with running_bridge() as other, greeted(other.url) as there, greeted(bridge.url, there.key) as here:
        there.welcome["nonce"] = here.welcome["nonce"]
        await here.say("ATTACH", **there.attach_body())
        await refused(here, "BAD_SIGNATURE")


async def test_another_version_is_refused_with_both(bridge: Bridge) -> None:
    async with greeted(bridge.url) as cart:
        await cart.say("ATTACH", **cart.attach_body(version=2))
        sentence = await refused(cart, "WRONG_VERSION")
        assert "version 1" in sentence
        assert "2" in sentence


async def test_the_first_message_is_attach(bridge: Bridge) -> None:
    async with greeted(bridge.url) as cart:
        await cart.say("EXIT")
        assert "EXIT came" in await refused(cart, "UNEXPECTED_MESSAGE")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("no json", "BAD_MESSAGE"),
        ('{"type":"ATTACH"}', "BAD_MESSAGE"),
        (b"garbage", "UNEXPECTED_MESSAGE"),
    ],
)
async def test_garbage_in_place_of_attach_is_refused(bridge: Bridge, frame: str | bytes, code: str) -> None:
    async with greeted(bridge.url) as cart:
        await (cart.socket.send_bytes(frame) if isinstance(frame, bytes) else cart.socket.send_str(frame))
        await refused(cart, code)


async def test_who_does_not_attach_in_time_is_let_go(no_blocking: BlockBuster) -> None:
    async with running_bridge(attach_timeout_s=0.1) as bridge, greeted(bridge.url) as cart:
        assert "0.1 s" in await refused(cart, "ATTACH_TIMEOUT")


async def test_a_full_bridge_refuses_one_more_and_goes_on(no_blocking: BlockBuster) -> None:
    async with running_bridge(max_carts=1) as bridge, attached(bridge.url) as first:
        async with greeted(bridge.url) as second:
            await second.say("ATTACH", **second.attach_body())
            await refused(second, "BRIDGE_FULL")
        assert list(bridge.hub.carts) == [first.id]
        async with attached(bridge.url, first.key):  # the same cart again is no more than one
            assert list(bridge.hub.carts) == [first.id]


async def test_a_cart_that_runs_twice_is_told_apart_from_one_that_comes_back(
    bridge: Bridge, caplog: pytest.LogCaptureFixture
) -> None:
    async with attached(bridge.url) as original, attached(bridge.url, original.key) as back:
        await original.stop_reading()
        original.abort()  # as a dead link, which answers nothing
        await until(lambda: len(bridge.relay._sockets) == 1)
        assert "runs twice" not in caplog.text
        async with attached(bridge.url, back.key):
            await refused(back, "REPLACED")
            await until(lambda: len(bridge.relay._sockets) == 1)
            assert f"cart {back.id} runs twice: its link from 127.0.0.1 was alive" in caplog.text


async def test_the_same_key_again_replaces_the_earlier_link(bridge: Bridge) -> None:
    async with attached(bridge.url) as earlier, attached(bridge.url, earlier.key, model_version=5) as later:
        await refused(earlier, "REPLACED")
        assert bridge.hub.carts[later.id].model_version == 5
        async with attached(bridge.url, role="KERNEL") as kernel:
            await open_transfer(kernel, later, b"works")
        await until(lambda: list(bridge.relay._connections) == [later.id])


async def test_a_replaced_link_that_is_dead_holds_up_nobody(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(websocket_module, "FAREWELL_S", 3600.0)  # the dead link stays for as long as the test runs
    async with attached(bridge.url) as dead, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, dead, bytes(5000))
        await dead.stop_reading()
        async with attached(bridge.url, dead.key) as later:
            assert (await kernel.hear("PAUSED"))["transfer"] == opened.id
            assert (await later.hear("PAUSED"))["transfer"] == opened.id
            await open_transfer(kernel, later, b"works")
            assert len(bridge.relay._sockets) == 3  # the dead link is still being closed
        await until(lambda: not bridge.hub.carts.get(dead.id))


async def test_what_is_no_websocket_is_told_so(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with web.get(f"{bridge.http}/v1/cart") as answer:
        assert answer.status == 400


# Breaking the protocol.


async def test_a_stolen_source_is_cut_off_and_nothing_is_passed_on(bridge: Bridge) -> None:
    async with (
        attached(bridge.url) as shell,
        attached(bridge.url) as thief,
        attached(bridge.url, role="KERNEL") as kernel,
    ):
        opened = await open_transfer(kernel, shell, bytes(5000), granted=5000)
        await thief.socket.send_bytes(opened.frame(0))
        assert shell.id in await refused(thief, "WRONG_SOURCE")
        await shell.socket.send_bytes(opened.frame(0))
        assert await kernel.hear_bytes() == opened.frame(0)
        await until(lambda: thief.id not in bridge.hub.carts)


async def test_an_overrun_of_credit_is_cut_off_and_the_receiver_told(bridge: Bridge) -> None:
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(5000), granted=2048)
        for number in range(3):
            await shell.socket.send_bytes(opened.frame(number))
        assert "credit reaches 2048" in await refused(shell, "OVERRUN")
        assert [await kernel.hear_bytes() for _ in range(2)] == [opened.frame(0), opened.frame(1)]
        assert (await kernel.hear("CANCEL"))["code"] == "PEER_LEFT"


async def test_a_chunk_of_another_size_than_offered_is_cut_off(bridge: Bridge) -> None:
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(5000), granted=5000)
        await shell.socket.send_bytes(opened.frame(0) + b"x")
        assert "1025 bytes" in await refused(shell, "BAD_CHUNK")


async def test_a_chunk_of_an_unknown_transfer_is_dropped(bridge: Bridge) -> None:
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        await shell.socket.send_bytes(chunk(shell.id, kernel.id, "ab" * 16, 0, b"payload"))
        await until(lambda: bridge.hub.counters["chunks_dropped"])
        await open_transfer(kernel, shell, b"both are still there")


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "BAD_CHUNK"),
        (b"x", "BAD_CHUNK"),
        (bytes(200), "BAD_CHUNK"),
        (b"\1\1\0\0" + bytes(51), "BAD_CHUNK"),
        (b"\1\2\0\0" + bytes(100), "BAD_CHUNK"),
        (b"\1\1\0\0" + bytes(100), "WRONG_SOURCE"),
        ("{", "BAD_MESSAGE"),
        ('{"type":"NOSUCH"}', "BAD_MESSAGE"),
        ('{"type":"EXITDONE"}', "UNEXPECTED_MESSAGE"),
        (json.dumps({"type": "EXIT", "x": "y" * 65536}), "BAD_MESSAGE"),
    ],
)
async def test_a_garbage_frame_is_named_and_ends_only_its_cart(bridge: Bridge, frame: str | bytes, code: str) -> None:
    async with attached(bridge.url) as good, attached(bridge.url) as bad:
        await (bad.socket.send_bytes(frame) if isinstance(frame, bytes) else bad.socket.send_str(frame))
        await refused(bad, code)
        await until(lambda: list(bridge.hub.carts) == [good.id])
        assert bridge.hub.counters["violations"] == 1


@pytest.mark.parametrize("size", [1024 * 1024 + 61, 3 * 1024 * 1024])
async def test_a_frame_beyond_every_limit_ends_its_cart(bridge: Bridge, size: int) -> None:
    async with attached(bridge.url) as good, attached(bridge.url) as bad:
        await bad.socket.send_bytes(bytes(size))
        await until(lambda: list(bridge.hub.carts) == [good.id])
        assert bridge.hub.counters["violations"] == 1


async def test_a_text_that_is_not_unicode_ends_its_cart(bridge: Bridge) -> None:
    async with attached(bridge.url) as bad:
        await bad.socket._writer.send_frame(b"\xff\xfe", aiohttp.WSMsgType.TEXT)
        await until(lambda: not bridge.hub.carts)
        assert bridge.hub.counters["violations"] == 1


# Leaving and dying.


async def test_exit_is_answered_after_the_cart_is_deregistered(bridge: Bridge) -> None:
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(5000))
        await shell.say("EXIT")
        await shell.hear("EXITDONE")
        assert list(bridge.hub.carts) == [kernel.id]
        assert await shell.hear_end() is None
        cancel = await kernel.hear("CANCEL")
        assert (cancel["transfer"], cancel["code"]) == (opened.id, "PEER_LEFT")
        assert bridge.hub.counters["violations"] == 0


@pytest.mark.parametrize("dies", ["sender", "receiver"])
async def test_the_transfers_of_a_cart_that_dies_without_a_word_wait_for_it_and_no_longer(
    no_blocking: BlockBuster, monkeypatch: pytest.MonkeyPatch, dies: str
) -> None:
    monkeypatch.setattr(relay_module, "SWEEP_S", 0.02)
    async with (
        running_bridge(resume_timeout_s=0.1) as bridge,
        attached(bridge.url) as shell,
        attached(bridge.url, role="KERNEL") as kernel,
    ):
        opened = await open_transfer(kernel, shell, bytes(50_000), granted=50_000)
        dead, other = (shell, kernel) if dies == "sender" else (kernel, shell)
        dead.abort()
        assert (await other.hear("PAUSED"))["transfer"] == opened.id
        assert list(bridge.hub.carts) == [other.id]
        cancel = await other.hear("CANCEL")
        assert (cancel["transfer"], cancel["code"]) == (opened.id, "PEER_LEFT")
        assert bridge.hub.counters["violations"] == 0  # dying is no offence


@pytest.mark.parametrize("attach_first", [False, True])
async def test_connections_that_break_at_any_moment_leave_nothing(bridge: Bridge, attach_first: bool) -> None:
    for _ in range(10):
        async with greeted(bridge.url) as cart:
            if attach_first:
                await cart.say("ATTACH", **cart.attach_body())
            cart.abort()
    await until(lambda: not bridge.relay._sockets and not bridge.hub.carts)
    assert bridge.hub.counters["violations"] == 0


async def test_the_heartbeat_finds_a_dead_cart(no_blocking: BlockBuster) -> None:
    async with running_bridge(heartbeat_s=0.1) as bridge, attached(bridge.url) as dead, attached(bridge.url) as live:

        async def keep_reading() -> None:
            await live.hear_end()

        reading = asyncio.create_task(keep_reading())
        await dead.stop_reading()
        await until(lambda: dead.id not in bridge.hub.carts)
        assert live.id in bridge.hub.carts
        assert bridge.hub.counters["violations"] == 0
        reading.cancel()
        await asyncio.wait((reading,))


async def test_a_bridge_that_stops_tells_its_carts(no_blocking: BlockBuster) -> None:
    async with AsyncExitStack() as stack:
        async with running_bridge() as bridge:
            first = await stack.enter_async_context(attached(bridge.url))
            second = await stack.enter_async_context(greeted(bridge.url))
            ends = asyncio.gather(first.hear_end(), second.hear_end())
        for error in await ends:
            assert error is not None
            assert error["code"] == "BRIDGE_STOPPING"


async def test_a_bridge_that_stops_takes_nobody_more(bridge: Bridge) -> None:
    async with greeted(bridge.url) as late:
        bridge.relay._stopping = True
        await late.say("ATTACH", **late.attach_body())
        await refused(late, "BRIDGE_STOPPING")


async def test_a_bridge_stops_while_somebody_opens_connections_without_end(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (websocket_module, relay_module):
        monkeypatch.setattr(module, "FAREWELL_S", 0.4)
    request = (
        b"GET /v1/cart HTTP/1.1\r\nHost: bridge\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )

    async def come() -> None:
        """Open connections that answer nothing, each before the last one is cut off."""
        async with AsyncExitStack() as stack:
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
                stack.callback(writer.close)
                writer.write(request)
                await asyncio.sleep(0.1)

    async with background(come()):
        await until(lambda: bridge.relay._sockets)
        async with asyncio.timeout(20):
            await bridge.relay.close()


async def test_a_silent_transfer_is_swept(monkeypatch: pytest.MonkeyPatch, no_blocking: BlockBuster) -> None:
    monkeypatch.setattr(relay_module, "SWEEP_S", 0.02)
    async with (
        running_bridge(transfer_idle_s=0.2) as bridge,
        attached(bridge.url) as shell,
        attached(bridge.url, role="KERNEL") as kernel,
    ):
        opened = await open_transfer(kernel, shell, bytes(5000))
        for cart in (shell, kernel):
            cancel = await cart.hear("CANCEL")
            assert (cancel["transfer"], cancel["code"]) == (opened.id, "TIMED_OUT")


# Passing on.


async def test_chunks_are_passed_on_byte_for_byte_and_in_order(bridge: Bridge) -> None:
    payload = os.urandom(100 * 1024 + 17)
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, payload, chunk_bytes=4096, granted=len(payload))
        frames = [opened.frame(number) for number in range(26)]
        for frame in frames:
            await shell.socket.send_bytes(frame)
        assert [await kernel.hear_bytes() for _ in frames] == frames
        await kernel.say("DONE", transfer=opened.id)
        assert (await shell.hear("DONE"))["transfer"] == opened.id
        assert not bridge.hub.transfers.open
        assert bridge.hub.relayed_bytes == len(payload)


async def test_a_cancel_reaches_the_other_side_with_its_words(bridge: Bridge) -> None:
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(5000), granted=5000)
        cancel = {"transfer": opened.id, "code": "WRONG_MODEL", "sentence": "Not this one."}
        await kernel.say("CANCEL", **cancel)
        assert await shell.hear() == {"type": "CANCEL", **cancel}


async def test_unknown_keys_are_not_passed_on_and_do_no_harm(bridge: Bridge) -> None:
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(5000))
        await kernel.say("CREDIT", transfer=opened.id, up_to_bytes=5000, later="version")
        assert await shell.hear() == {"type": "CREDIT", "transfer": opened.id, "up_to_bytes": 5000}


async def test_too_few_carts_are_counted(bridge: Bridge) -> None:
    async with attached(bridge.url), attached(bridge.url, role="KERNEL") as kernel:
        answer = await ask_cluster(kernel, 5, minimum=2)
        assert (answer["type"], answer["code"], answer["available"]) == ("ERROR", "NOT_ENOUGH_PEERS", 1)


async def test_a_slow_reader_holds_up_only_its_own_transfer(bridge: Bridge) -> None:
    chunk_bytes, window = 64 * 1024, 1024 * 1024
    payload = os.urandom(window)
    async with (
        attached(bridge.url) as shell,
        attached(bridge.url, role="KERNEL") as slow,
        attached(bridge.url, role="KERNEL") as fast,
    ):
        to_slow = await open_transfer(slow, shell, payload, chunk_bytes, granted=window)
        to_fast = await open_transfer(fast, shell, payload, chunk_bytes, granted=window)
        await slow.stop_reading()
        for number in range(window // chunk_bytes):
            await shell.socket.send_bytes(to_slow.frame(number))
        async with asyncio.timeout(15):  # the slow one stays: it is first pinged after 20 s of silence
            for number in range(window // chunk_bytes):
                await shell.socket.send_bytes(to_fast.frame(number))
                assert await fast.hear_bytes() == to_fast.frame(number)
        assert slow.id in bridge.hub.carts


async def test_connections_that_never_attach_are_bounded(
    web: aiohttp.ClientSession, no_blocking: BlockBuster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers_module, "STRANGERS_MOST", 2)
    async with running_bridge() as bridge, greeted(bridge.url) as oldest, greeted(bridge.url) as cart:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await web.ws_connect(f"{bridge.url}/v1/cart")
        assert caught.value.status == 503
        await cart.attach()  # a place is free again
        async with greeted(bridge.url):
            monkeypatch.setattr(strangers_module, "ATTACHES_WITHIN_S", 0.0)
            async with greeted(bridge.url) as newest:
                assert await oldest.hear_end() is None  # the one that had most time to attach
                await newest.attach()
        assert bridge.hub.counters["strangers_displaced"] == 1
        await until(lambda: not len(bridge.relay._strangers))


async def test_who_never_reads_is_cut_off_and_the_sender_is_not(bridge: Bridge) -> None:
    """A receiver that asks again and again without reading fills its own outbox; that is not its senders' fault."""
    chunk_bytes, window = 64 * 1024, 1024 * 1024
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as deaf:
        opened = await open_transfer(deaf, shell, bytes(window), chunk_bytes)
        await until(lambda: bridge.relay._connections[deaf.id].send_queue is not None)
        send_queue = bridge.relay._connections[deaf.id].send_queue
        send_queue._max_chunk_bytes = 4 * chunk_bytes  # the real limit takes 72 MB to reach
        await opened.grant(window)
        await deaf.stop_reading()
        sent = 0
        while deaf.id in bridge.hub.carts:
            if sent * chunk_bytes == window:
                await deaf.say("CANCEL", transfer=opened.id, code="ABANDONED")
                await shell.hear("CANCEL")
                cluster = bridge.hub.carts[deaf.id].cluster
                opened.id, sent = os.urandom(16).hex(), 0
                request = {"cluster": cluster, "source": deaf.id, "destination": shell.id}
                request |= {"key": "11" * 32, "public_key": "22" * 32, "signature": "33" * 64}
                await deaf.say("MODELREQUEST", transfer=opened.id, **request)
                await shell.hear("MODELREQUEST")
                offer = {"total_bytes": window, "chunk_bytes": chunk_bytes, "chunks": 16, "digest": "ab" * 32}
                offer |= {"codec": "raw", "model_signature": "ab" * 16, "model_version": 1, "samples": 1}
                offer |= {"cipher": "none", "key": "11" * 32, "public_key": "22" * 32, "signature": "33" * 64}
                places = {"transfer": opened.id, "source": shell.id, "destination": deaf.id}
                await shell.say("MODELPARAMETERS", **places, **offer, accuracy=0.5)
                await until(lambda: bridge.hub.transfers.open[opened.id].state == "OFFERED")
                await opened.grant(window)
            await shell.socket.send_bytes(opened.frame(sent))
            sent += 1
            await asyncio.sleep(0)
        assert (await shell.hear("CANCEL"))["code"] == "PEER_LEFT"
        assert shell.id in bridge.hub.carts
        assert bridge.hub.counters["slow_readers"] == 1
        assert bridge.hub.counters["violations"] == 0


async def test_control_that_nobody_reads_ends_the_cart_that_does_not_read(bridge: Bridge) -> None:
    async with attached(bridge.url) as deaf, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, deaf, bytes(5000))
        bridge.relay._connections[deaf.id].send_queue._control_bytes = MAX_CONTROL_BYTES
        await kernel.say("CREDIT", transfer=opened.id, up_to_bytes=5000)
        assert (await kernel.hear("CANCEL"))["code"] == "PEER_LEFT"
        assert list(bridge.hub.carts) == [kernel.id]
        assert bridge.hub.counters["slow_readers"] == 1


async def test_a_violation_of_a_cart_that_does_not_read_leaves_no_socket(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "FAREWELL_S", 0.1)
    chunk_bytes = 64 * 1024
    async with AsyncExitStack() as stack:
        shell = await stack.enter_async_context(attached(bridge.url))
        deaf = await stack.enter_async_context(attached(bridge.url, role="KERNEL"))
        opened = []
        for _ in range(12):
            opened.append(await open_transfer(deaf, shell, bytes(1024 * 1024), chunk_bytes, granted=1024 * 1024))
        await deaf.stop_reading()
        for transfer in opened:
            for number in range(16):
                await shell.socket.send_bytes(transfer.frame(number))
        await until(lambda: bridge.relay._connections[deaf.id].send_queue.chunk_bytes > chunk_bytes)
        await deaf.say("NOSUCH")
        await until(lambda: deaf.id not in bridge.hub.carts)
        await until(lambda: len(bridge.relay._sockets) == 1)


async def test_who_does_not_even_read_the_answer_to_exit_is_let_go(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket_module, "FAREWELL_S", 0.1)
    async with attached(bridge.url) as deaf:
        await deaf.stop_reading()
        await deaf.say("EXIT")
        await until(lambda: not bridge.relay._sockets)
        assert not bridge.hub.carts


# WebSocket as the RFC allows it, and limits.


async def send_raw(cart: RawCart, data: bytes) -> None:
    cart.socket._response.connection.transport.write(data)


def masked(first: int, payload: bytes) -> bytes:
    """A frame of a client, with a mask of zeros."""
    assert len(payload) < 65536
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([first]) + size + bytes(4) + payload


async def test_a_fragmented_chunk_arrives_whole(bridge: Bridge) -> None:
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, os.urandom(1000), granted=1000)
        frame = opened.frame(0)
        await send_raw(shell, masked(0x02, frame[:500]) + masked(0x89, b"between"))
        assert bridge.hub.relayed_bytes == 0
        await send_raw(shell, masked(0x00, b"") + masked(0x80, frame[500:]))
        assert await kernel.hear_bytes() == frame


async def test_a_ping_is_answered(bridge: Bridge) -> None:
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{bridge.url}/v1/cart", autoping=False) as socket,
    ):
        await socket.receive_str()
        await socket.ping(b"there?")
        answer = await socket.receive(timeout=5)
        assert (answer.type, answer.data) == (aiohttp.WSMsgType.PONG, b"there?")


async def test_a_close_is_answered_with_its_code(bridge: Bridge) -> None:
    async with attached(bridge.url) as cart:
        await cart.socket.close(code=4000)
        assert cart.socket.close_code == 4000
        await until(lambda: not bridge.hub.carts and not bridge.relay._sockets)


async def test_a_frame_that_is_not_masked_ends_its_cart(bridge: Bridge) -> None:
    async with attached(bridge.url) as good, attached(bridge.url) as bad:
        await send_raw(bad, b"\x82\x01x")
        error = await bad.hear_end()
        assert error is not None
        assert "not masked" in error["sentence"]
        assert bad.socket.close_code == aiohttp.WSCloseCode.PROTOCOL_ERROR
        assert list(bridge.hub.carts) == [good.id]


async def test_control_overtakes_chunks_that_wait(bridge: Bridge) -> None:
    chunk_bytes, window = 64 * 1024, 1024 * 1024
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = [await open_transfer(kernel, shell, bytes(window), chunk_bytes, granted=window) for _ in range(12)]
        await kernel.stop_reading()
        for transfer in opened:
            for number in range(16):
                await shell.socket.send_bytes(transfer.frame(number))
        send_queue = bridge.relay._connections[kernel.id].send_queue
        await until(lambda: bridge.hub.relayed_bytes == 12 * window and send_queue.chunk_bytes)
        await shell.say("CANCEL", transfer=opened[0].id, code="ABANDONED")
        await until(lambda: bridge.hub.counters["transfers_cancelled"] == 1)
        kernel.socket._response.connection.transport.resume_reading()
        before = 0
        while (await kernel.socket.receive(timeout=5)).type is aiohttp.WSMsgType.BINARY:
            before += 1
        after = 12 * 16 - before
        assert after > 0
        for _ in range(after):
            await kernel.hear_bytes()


@pytest.mark.parametrize("limit", [{"max_bytes_per_s": 400_000, **SMALL_CHUNKS}, {"max_frames_per_s": 100}])
async def test_who_sends_too_much_waits_and_loses_nothing(no_blocking: BlockBuster, limit: dict[str, int]) -> None:
    payload = os.urandom(500_000)
    async with (
        running_bridge(**limit) as bridge,
        attached(bridge.url) as shell,
        attached(bridge.url, role="KERNEL") as kernel,
    ):
        held: list[float] = []
        socket = bridge.relay._connections[shell.id].socket
        hold = type(socket).hold

        def note(seconds: float) -> None:
            held.append(seconds)
            hold(socket, seconds)

        opened = await open_transfer(kernel, shell, payload, 4096, granted=len(payload))
        bridge.relay._connections[shell.id].socket = Held(socket, note)  # type: ignore[assignment]
        frames = [opened.frame(number) for number in range(-(-len(payload) // 4096))]

        async def send() -> None:
            for frame in frames:
                await shell.socket.send_bytes(frame)

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            assert [await kernel.hear_bytes() for _ in frames] == frames
        assert held


async def test_fragments_are_counted_as_frames(no_blocking: BlockBuster) -> None:
    async with running_bridge(max_frames_per_s=100) as bridge, attached(bridge.url) as cart:
        await send_raw(cart, masked(0x01, b"") + masked(0x00, b"") * 250)
        await until(lambda: bridge.relay._connections[cart.id].socket.held)
        cart.abort()


@pytest.mark.parametrize("limit", [{"max_bytes_per_s": 300_000, **SMALL_CHUNKS}, {"max_frames_per_s": 50}])
async def test_coming_back_is_no_new_allowance(no_blocking: BlockBuster, limit: dict[str, int]) -> None:
    key = Ed25519PrivateKey.generate()
    async with running_bridge(**limit) as bridge:
        async with attached(bridge.url, key) as cart:
            await send_raw(cart, masked(0x8A, bytes(100)) * 3000)  # unsolicited pongs
            await until(lambda: bridge.relay._connections[cart.id].socket.held)
            cart.abort()
        # The bridge does not see the end of a link from which it reads nothing: this one takes its place.
        async with attached(bridge.url, key) as cart:
            await send_raw(cart, masked(0x8A, b""))
            await until(lambda: bridge.relay._connections[cart.id].socket.held)
            cart.abort()


async def test_time_is_shared_by_address_and_then_by_account(
    no_blocking: BlockBuster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_bridge() as bridge, greeted(bridge.url), greeted(bridge.url):
        strangers = {connection.socket._account for connection in bridge.relay._sockets}
        assert len(strangers) == 1
        async with attached(bridge.url), attached(bridge.url):
            accounts = {connection.socket._account for connection in bridge.relay._connections.values()}
            assert len(accounts) == 2
            assert not accounts & strangers
        monkeypatch.setattr("parent_cart.bridge.accounts.account_of", lambda *, cart_id: "one owner")
        await until(lambda: not bridge.relay._connections)
        async with attached(bridge.url), attached(bridge.url):
            assert len({connection.socket._account for connection in bridge.relay._connections.values()}) == 1


async def test_a_flood_of_messages_is_read_at_a_rate_and_a_transfer_pays_for_its_own(no_blocking: BlockBuster) -> None:
    async with (
        running_bridge(**SMALL_CHUNKS) as bridge,
        attached(bridge.url) as shell,
        attached(bridge.url, role="KERNEL") as kernel,
        attached(bridge.url) as flooder,
    ):
        payload, most = os.urandom(4096 * 400), bridge.hub.limits.messages_at_once
        opened = await open_transfer(kernel, shell, payload, 4096)
        for number in range(400):  # more messages than it has at once
            await kernel.say("CREDIT", transfer=opened.id, up_to_bytes=(number + 1) * 4096)
            await shell.hear("CREDIT")
            await shell.socket.send_bytes(opened.frame(number))
            await kernel.hear_bytes()
        for cart in (kernel, shell):
            assert bridge.hub._messages_of(cart.id).left(time.monotonic()) > most - 2
        await send_raw(flooder, masked(0x8A, b"") * (most + 100))  # unsolicited pongs
        await until(lambda: bridge.relay._connections[flooder.id].socket.held)
        flooder.abort()


class Held:
    """A cart's socket, except that it is seen when its reading is held."""

    def __init__(self, socket: object, hold: object) -> None:
        self._socket, self.hold = socket, hold

    def __getattr__(self, name: str) -> object:
        return getattr(self._socket, name)


async def test_one_address_has_so_many_connections_and_no_more(
    web: aiohttp.ClientSession, no_blocking: BlockBuster
) -> None:
    async with running_bridge(max_connections=2) as bridge:
        async with attached(bridge.url), greeted(bridge.url):
            with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
                await web.ws_connect(f"{bridge.url}/v1/cart")
            assert caught.value.status == 429
            assert bridge.hub.counters["turned_away"] == 1
        await until(lambda: not bridge.relay._sockets)
        async with attached(bridge.url):
            assert len(bridge.hub.carts) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "12",
            "Sec-WebSocket-Key": "A" * 22 + "==",
        },
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "short"},
        {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"},
        {"Upgrade": "h2c", "Connection": "Upgrade"},
    ],
)
async def test_a_wrong_handshake_is_told_so_and_leaves_nothing(
    bridge: Bridge, web: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    async with web.get(f"{bridge.http}/v1/cart", headers=headers) as answer:
        assert answer.status == 400
    assert not bridge.relay._sockets


async def test_a_connection_that_becomes_no_websocket_is_cut_off(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting_module, "HTTP_MOST_S", 0.2)
    monkeypatch.setattr(accepting_module, "LOOK_EVERY_S", 0.02)
    assert bridge.runner.server is not None
    async with background(cut_off_others(bridge.runner.server)), attached(bridge.url) as cart:
        for begun in (
            b"",
            b"GET /v1/cart HTTP/1.1\r\nHost: bridge\r\n",
            b"GET /healthz HTTP/1.1\r\nHost: bridge\r\n\r\n",
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", bridge.port)
            writer.write(begun)
            async with asyncio.timeout(20):
                with suppress(ConnectionResetError):
                    while await reader.read(1000):
                        pass
            writer.close()
        await until(lambda: not [entry for entry in bridge.runner.server.connections if entry.transport])
        assert cart.id in bridge.hub.carts


async def test_of_too_many_connections_a_crowd_loses_its_own_and_not_those_of_others(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting_module, "HTTP_MOST", 8)
    monkeypatch.setattr(accepting_module, "LOOK_EVERY_S", 0.02)
    assert bridge.runner.server is not None
    async with background(cut_off_others(bridge.runner.server)):
        honest, writer = await asyncio.open_connection("127.0.0.1", bridge.port, local_addr=("127.0.0.2", 0))
        crowd = [await asyncio.open_connection("127.0.0.1", bridge.port) for _ in range(12)]
        for reader, _ in crowd[:5]:  # the oldest of the crowd go
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert b"200 OK" in await honest.readline()
        for _, other in [*crowd, (honest, writer)]:
            other.close()


def test_connections_of_a_trusted_proxy_are_no_crowd() -> None:
    most = accepting_module.HTTP_MOST
    addresses = {number: "10.0.0.1" if number < most - 1 else "192.0.2.1" for number in range(most + 2)}
    assert HttpConnections[int]().to_cut(addresses, 0.0) == {0, 1}
    proxied = HttpConnections[int](networks_in("10.0.0.0/8"))
    assert proxied.to_cut(addresses, 0.0) == {most - 1, most}
    assert proxied.to_cut(addresses, accepting_module.HTTP_MOST_S + 1) == set(addresses)


async def test_who_has_not_attached_gets_little_memory(bridge: Bridge) -> None:
    async with greeted(bridge.url) as stranger:
        await send_raw(stranger, b"\x82\xfe" + (4 * 1024 + 1).to_bytes(2, "big"))
        error = await stranger.hear_end()
        assert error is not None
        assert str(4 * 1024 + 1) in error["sentence"]
        assert stranger.socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
