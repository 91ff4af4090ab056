"""One writer, two bounded lanes: control first, nothing lost, and room is waited for in turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from support.bridges import until

from child_cart.network.outbox import MAX_CONTROL_BYTES, MAX_CONTROL_FRAMES, Outbox, OutboxClosed, OutboxFull
from child_cart.network.tasks import background, in_thread


class Socket:
    """Takes what is written, one frame each time it is let."""

    def __init__(self) -> None:
        self.taken: list[str | bytes] = []
        self.open = asyncio.Event()

    async def take(self, frame: str | bytes) -> None:
        await self.open.wait()
        self.taken.append(frame)
        await asyncio.sleep(0)

    def writer(self, outbox: Outbox) -> Callable[[], Awaitable[None]]:
        return lambda: outbox.write_to(self.take, self.take)


async def test_control_overtakes_chunks_and_each_lane_keeps_its_order() -> None:
    outbox, socket = Outbox(100), Socket()
    socket.open.set()
    outbox.put_chunk(b"1")
    outbox.put_chunk(b"2")
    outbox.put_control("a")
    outbox.put_control("b")
    async with background(outbox.write_to(socket.take, socket.take)):
        await outbox.flushed()
        outbox.put_chunk(b"3")
        await outbox.flushed()
    assert socket.taken == ["a", "b", b"1", b"2", b"3"]
    assert outbox.chunk_bytes == 0


async def test_too_many_control_frames_are_refused() -> None:
    outbox = Outbox(1)
    for _ in range(MAX_CONTROL_FRAMES):
        outbox.put_control("x")
    with pytest.raises(OutboxFull, match=str(MAX_CONTROL_FRAMES)):
        outbox.put_control("x")


async def test_too_many_control_bytes_are_refused() -> None:
    outbox = Outbox(1)
    outbox.put_control("x" * (MAX_CONTROL_BYTES - 1))
    outbox.put_control("x")
    with pytest.raises(OutboxFull, match=str(MAX_CONTROL_BYTES)):
        outbox.put_control("x")


async def test_too_many_chunk_bytes_are_refused() -> None:
    outbox = Outbox(10)
    outbox.put_chunk(bytes(10))
    with pytest.raises(OutboxFull, match="10 bytes"):
        outbox.put_chunk(b"x")


async def test_a_chunk_counts_until_the_socket_has_taken_it() -> None:
    outbox, socket = Outbox(10), Socket()
    outbox.put_chunk(bytes(10))
    async with background(outbox.write_to(socket.take, socket.take)):
        await asyncio.sleep(0)
        with pytest.raises(OutboxFull):
            outbox.put_chunk(b"x")
        socket.open.set()
        await outbox.flushed()
        outbox.put_chunk(b"x")


async def test_room_is_waited_for_and_everybody_gets_a_turn() -> None:
    outbox, socket = Outbox(20), Socket()
    socket.open.set()

    async def send(name: bytes) -> None:
        for _ in range(30):
            await outbox.put_chunk_when_room(name * 10)

    async with background(outbox.write_to(socket.take, socket.take)):
        await asyncio.gather(send(b"a"), send(b"b"), send(b"c"))
        await outbox.flushed()
    assert len(socket.taken) == 90
    # While all three have something to send, they take strict turns.
    middle = b"".join(frame[:1] for frame in socket.taken[5:80] if isinstance(frame, bytes))
    assert all(set(middle[at : at + 3]) == set(b"abc") for at in range(len(middle) - 3))


async def test_those_who_wait_for_room_hear_of_the_end() -> None:
    outbox = Outbox(10)
    outbox.put_chunk(bytes(10))
    waiting = [asyncio.create_task(outbox.put_chunk_when_room(b"x")) for _ in range(3)]
    await asyncio.sleep(0)
    outbox.close()
    for task in waiting:
        with pytest.raises(OutboxClosed):
            await task
    with pytest.raises(OutboxClosed):
        await outbox.put_chunk_when_room(b"")


async def test_background_ends_its_work_with_the_block_and_passes_errors_on() -> None:
    async def fail(error: Exception) -> None:
        raise error

    async with background(asyncio.sleep(60)):  # type: ignore[arg-type]
        pass
    async with background(fail(ConnectionResetError("gone"))):
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="a bug"):
        async with background(fail(ValueError("a bug"))):
            await asyncio.sleep(0)


async def test_background_does_not_swallow_the_end_of_the_block_itself() -> None:
    """The block is cancelled just while it waits for its work to end."""
    ending, release = asyncio.Event(), asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ending.set()
            await release.wait()

    async def block() -> None:
        async with background(slow_to_end()):
            await asyncio.sleep(0)
        raise AssertionError("the cancellation was lost")

    task = asyncio.create_task(block())
    await ending.wait()
    task.cancel()
    await asyncio.sleep(0)
    release.set()
    await until(task.done)
    assert task.cancelled()


async def test_a_thread_is_waited_for_even_when_its_caller_is_cancelled() -> None:
    started, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        release.wait(5)
        ended.set()

    task = asyncio.create_task(in_thread(work))
    await until(started.is_set)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    release.set()
    await asyncio.wait((task,))
    assert task.cancelled()
    assert ended.is_set()
    assert await in_thread(divmod, 7, 2) == (3, 1)
