"""A socket that has read much waits: one goes on in each pass of the loop; small messages never wait for megabytes."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
from support.bridges.in_process import until

from cart_common.process.tuning import new_event_loop
from cart_common.websocket import socket as socket_module
from cart_common.websocket.fair_reading import PASS_S, FairReading, ReadingAccount
from cart_common.websocket.frames import BINARY, CLOSE, NORMAL, TEXT, Frame, FrameReader, client_frame, close_payload
from cart_common.websocket.send_queue import SendQueue
from cart_common.websocket.socket import LEAST_READ_BYTES, TURN_BYTES, WebSocket


async def test_one_goes_on_in_each_pass_and_first_who_has_used_least() -> None:
    turns, seen = FairReading(), list[str]()
    accounts = {name: ReadingAccount() for name in "abc"}

    def again_and_again(name: str) -> Callable[[], None]:
        def go_on() -> None:
            seen.append(name)
            turns.charge(accounts[name], 0.001 if name == "a" else 0.002)
            if len(seen) < 12:
                turns.wait(accounts[name], go_on)

        return go_on

    for name in "abc":
        turns.wait(accounts[name], again_and_again(name))
    for passed in range(12):
        assert len(seen) == passed
        await asyncio.sleep(0)
    assert {name: seen.count(name) for name in "abc"} == {"a": 6, "b": 3, "c": 3}
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(seen) == 14  # only those that still waited had a turn


async def test_a_pass_has_little_time_and_goes_first_to_who_has_used_little() -> None:
    turns, flooding, quiet = FairReading(), ReadingAccount(), ReadingAccount()
    assert turns.may_go_on(flooding)
    turns.charge(flooding, PASS_S)
    assert not turns.has_time()
    assert not turns.may_go_on(quiet)  # a pass that has used its time takes nothing more of anybody
    await asyncio.sleep(0)
    assert turns.may_go_on(quiet)
    turns.charge(flooding, PASS_S / 2)
    turns.wait(flooding, lambda: None)
    assert turns.may_go_on(quiet)
    turns.charge(quiet, PASS_S / 10)
    assert turns.may_go_on(quiet)
    quiet.used_s = 2 * flooding.used_s
    assert turns.has_time()
    assert not turns.may_go_on(quiet)  # it is no longer the one that has used least


async def test_what_was_not_used_earlier_gives_no_advantage_later() -> None:
    turns, steady, idle = FairReading(), ReadingAccount(), ReadingAccount()
    for _ in range(1000):
        turns.wait(steady, lambda: turns.charge(steady, 0.01))
        await asyncio.sleep(0)
    turns.charge(idle, 0.02)
    assert idle.used_s > steady.used_s


async def test_what_was_used_while_nobody_waited_gives_no_disadvantage_later() -> None:
    turns, seen = FairReading(), list[str]()
    old, new = ReadingAccount(), ReadingAccount()
    turns.charge(old, 100.0)
    await asyncio.sleep(0)
    for _ in range(10):
        turns.wait(new, lambda: (seen.append("new"), turns.charge(new, 0.001)))
    turns.wait(old, lambda: seen.append("old"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert "old" in seen


async def test_the_last_to_come_waits_for_one_turn_however_many_began_before_it() -> None:
    turns, seen = FairReading(), list[str]()
    crowd, honest = [ReadingAccount() for _ in range(256)], ReadingAccount()
    for account in crowd:
        turns.wait(account, partial(seen.append, "crowd"))
    turns.wait(honest, partial(seen.append, "honest"))
    await asyncio.sleep(0)
    assert seen == ["honest"]


async def test_an_account_with_many_sockets_has_no_more_turns_than_one_with_one() -> None:
    turns, seen = FairReading(), list[str]()
    accounts = {name: turns.account(name) for name in ("crowd", "one")}

    def again_and_again(name: str) -> Callable[[], None]:
        def go_on() -> None:
            seen.append(name)
            turns.charge(accounts[name], 0.001)
            turns.wait(accounts[name], go_on)

        return go_on

    for _ in range(20):
        turns.wait(accounts["crowd"], again_and_again("crowd"))
    turns.wait(accounts["one"], again_and_again("one"))
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(seen) == 20
    assert abs(seen.count("crowd") - seen.count("one")) <= 1


async def test_the_sockets_of_an_account_take_turns_and_it_is_charged_for_what_it_used_meanwhile() -> None:
    turns, seen = FairReading(), list[str]()
    accounts = {name: turns.account(name) for name in ("crowd", "one")}
    for name in ("first", "second"):
        turns.wait(accounts["crowd"], partial(seen.append, name))
    turns.wait(accounts["one"], partial(seen.append, "one"))
    turns.charge(accounts["crowd"], 0.001)  # by a third one, which did not wait
    for _ in range(4):
        await asyncio.sleep(0)
    assert seen == ["one", "first", "second"]


async def test_sockets_of_one_name_share_an_account_as_long_as_one_is_there() -> None:
    turns = FairReading()
    account = turns.account("a")
    assert turns.account("a") is account
    assert turns.account("b") is not account
    del account
    assert not len(turns._accounts)


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

    def _begin_pass(self) -> None:
        self._is_pass_marked, self._spent_s = False, 0.0

    def next(self) -> None:
        self._next()()


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
        await until(lambda: reads.read_bytes > len(frame))


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
        await until(lambda: reads.read_bytes > len(frame))


class Messages(Reads):
    """A handler that counts messages, and how many of them are taken at once."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.most_at_once = 0

    def on_read(self, messages: list[Frame], frames: int, read_bytes: int) -> None:
        super().on_read(messages, frames, read_bytes)
        self.count += len(messages)
        self.most_at_once = max(self.most_at_once, len(messages))


MESSAGE = bytes(client_frame(TEXT, b"{}"))
FLOOD = 2000


async def test_a_flood_of_messages_is_taken_one_at_a_time_and_none_is_lost() -> None:
    loop, reads, turns = asyncio.get_running_loop(), Messages(), Queue()
    async with opened(reads, turns) as (_, far):
        await loop.sock_sendall(far, MESSAGE * FLOOD)
        await until(lambda: reads.count)
        while reads.count < FLOOD:
            await until(lambda: turns._waiting or reads.count == FLOOD)
            before = reads.count
            await passes_of_the_loop()
            assert reads.count == before  # nothing is taken out of turn
            if turns._waiting:
                turns.next()
        assert reads.most_at_once == 1
        assert reads.read_bytes == len(MESSAGE) * FLOOD


async def test_messages_of_a_closed_connection_are_dropped_at_once() -> None:
    loop, reads, turns = asyncio.get_running_loop(), Messages(), Queue()
    async with opened(reads, turns) as (_, far):
        await loop.sock_sendall(far, MESSAGE * FLOOD)
        await until(lambda: turns._waiting)
        taken = reads.count
        far.close()
        turns.next()
        await until(lambda: reads.reason)
        assert reads.count == taken < FLOOD
        assert "closed while messages of it waited" in reads.reason


async def test_a_flood_leaves_other_sockets_their_messages() -> None:
    loop, turns = asyncio.get_running_loop(), FairReading()
    flood, quiet = Messages(), Messages()
    async with opened(flood, turns) as (_, flooding), opened(quiet, turns) as (_, far):
        await loop.sock_sendall(flooding, MESSAGE * FLOOD)
        await until(lambda: flood.count)
        await loop.sock_sendall(far, MESSAGE)
        await until(lambda: quiet.count)
        assert flood.count < FLOOD


async def test_a_socket_that_was_flooded_reads_little_and_one_with_chunks_reads_much() -> None:
    loop, turns = asyncio.get_running_loop(), FairReading()
    flood, bulk = Messages(), Reads()
    async with opened(flood, turns) as (messages, flooding), opened(bulk, turns) as (chunks, far):
        await loop.sock_sendall(flooding, MESSAGE * FLOOD)
        await loop.sock_sendall(far, bytes(client_frame(BINARY, bytes(TURN_BYTES))) * 10)
        await until(lambda: flood.count == FLOOD)
        await until(lambda: bulk.read_bytes > 10 * TURN_BYTES)
        assert len(messages.get_buffer(-1)) == LEAST_READ_BYTES
        assert len(chunks.get_buffer(-1)) > LEAST_READ_BYTES
