"""A socket that has read much waits: one goes on in each pass of the loop; small messages never wait for megabytes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from support.bridges.in_process import until

from cart_common.process.tuning import new_event_loop
from cart_common.websocket import socket as socket_module
from cart_common.websocket.fair_reading import FairReading
from cart_common.websocket.frames import BINARY, CLOSE, NORMAL, Frame, FrameReader, client_frame, close_payload
from cart_common.websocket.send_queue import SendQueue
from cart_common.websocket.socket import TURN_BYTES, WebSocket


async def test_one_goes_on_in_each_pass_in_the_order_of_waiting() -> None:
    turns, seen = FairReading(), list[str]()

    def again_and_again(name: str) -> Callable[[], None]:
        def go_on() -> None:
            seen.append(name)
            if len(seen) < 9:
                turns.wait(go_on)

        return go_on

    for name in "abc":
        turns.wait(again_and_again(name))
    for passed in range(9):
        assert len(seen) == passed
        await asyncio.sleep(0)
    assert "".join(seen) == "abcabcabc"
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(seen) == 11  # only those that still waited had a turn


class Reads:
    """A handler that counts how much is read between two passes of the loop."""

    reason = ""

    def __init__(self) -> None:
        self.read_bytes = self.in_this_pass = self.most_in_a_pass = 0

    def on_read(self, messages: list[Frame], frames: int, read_bytes: int) -> None:
        if not self.in_this_pass:
            asyncio.get_running_loop().call_soon(self._pass)
        self.read_bytes += read_bytes
        self.in_this_pass += read_bytes

    def _pass(self) -> None:
        self.most_in_a_pass, self.in_this_pass = max(self.most_in_a_pass, self.in_this_pass), 0

    def on_drained(self) -> None: ...

    def on_error(self, error: Exception) -> None:
        raise error

    def on_lost(self, reason: str) -> None:
        self.reason = reason


def test_a_socket_with_megabytes_to_read_has_one_turn_in_a_pass() -> None:
    frame = bytes(client_frame(BINARY, bytes(2 * TURN_BYTES)))
    total = 100 * len(frame)

    async def read_all() -> Reads:
        reads = Reads()
        far, near = socket.socketpair()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
        near.setblocking(False)
        writer = threading.Thread(target=lambda: [far.sendall(frame) for _ in range(100)])
        writer.start()
        made = WebSocket(reads, len(frame), SendQueue(0), FairReading())
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(lambda: made, near)
        await until(lambda: reads.read_bytes == total)
        transport.abort()
        writer.join()
        far.close()
        return reads

    for loop_factory in (new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            reads = runner.run(read_all())
        # A turn ends with the read that fills it.
        assert reads.most_in_a_pass < TURN_BYTES + len(FrameReader(0).buffer())


class Queue(FairReading):
    """Turns that come when the test says so."""

    def _next(self) -> None:
        pass

    def next(self) -> None:
        self._waiting.popleft()()


async def passes_of_the_loop() -> None:
    """Let everything be read that may be."""
    for _ in range(10):
        await asyncio.sleep(0)


@asynccontextmanager
async def opened(reads: Reads, turns: FairReading) -> AsyncIterator[tuple[WebSocket, socket.socket]]:
    """Open a socket that takes turns; give its other side, too."""
    loop = asyncio.get_running_loop()
    far, near = socket.socketpair()
    for end in (far, near):
        end.setblocking(False)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    made = WebSocket(reads, 2 * TURN_BYTES, SendQueue(0), turns)
    transport, _ = await loop.connect_accepted_socket(lambda: made, near)
    try:
        yield made, far
    finally:
        transport.abort()
        far.close()
        await until(lambda: reads.reason)


async def test_a_socket_that_is_closed_while_it_waits_for_its_turn_hears_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or its farewell would end with a reset, in which the other side loses the last words."""
    monkeypatch.setattr(socket_module, "FAREWELL_S", 3600.0)  # nothing but the answer ends the link
    frame = bytes(client_frame(BINARY, bytes(TURN_BYTES)))
    loop, reads, turns = asyncio.get_running_loop(), Reads(), Queue()
    async with opened(reads, turns) as (near, far):
        await loop.sock_sendall(far, frame)
        await until(lambda: reads.read_bytes == len(frame))
        near.close("the last words")
        said = b""
        while close_payload(NORMAL) not in said:
            said += await loop.sock_recv(far, 1000)
        assert b"the last words" in said
        turns.next()
        await loop.sock_sendall(far, bytes(client_frame(CLOSE, close_payload(NORMAL))))
        await until(lambda: reads.reason)
        assert await loop.sock_recv(far, 1000) == b""  # an end, not a reset
        assert near.close_code == NORMAL


async def test_a_socket_that_is_held_is_not_read_when_its_turn_comes() -> None:
    loop, reads, turns = asyncio.get_running_loop(), Reads(), Queue()
    frame = bytes(client_frame(BINARY, bytes(TURN_BYTES)))
    async with opened(reads, turns) as (near, far):
        await loop.sock_sendall(far, frame)
        await until(lambda: reads.read_bytes == len(frame))
        near.hold(3600.0)
        await loop.sock_sendall(far, frame)
        turns.next()
        await passes_of_the_loop()
        assert reads.read_bytes == len(frame)
        near._go_on()
        await until(lambda: reads.read_bytes == 2 * len(frame))


async def test_a_hold_that_ends_before_the_turn_comes_reads_nothing() -> None:
    loop, reads, turns = asyncio.get_running_loop(), Reads(), Queue()
    frame = bytes(client_frame(BINARY, bytes(TURN_BYTES)))
    async with opened(reads, turns) as (near, far):
        await loop.sock_sendall(far, frame)
        await until(lambda: reads.read_bytes == len(frame))
        near.hold(0.02)
        await loop.sock_sendall(far, frame)
        await until(lambda: not near.held)
        await passes_of_the_loop()
        assert reads.read_bytes == len(frame)
        assert len(turns._waiting) == 1  # and it waits once
        turns.next()
        await until(lambda: reads.read_bytes == 2 * len(frame))
