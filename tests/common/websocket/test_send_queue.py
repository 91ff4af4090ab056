"""Two bounded send_queue: control first, nothing lost, and room is waited for in turn."""

from __future__ import annotations

import asyncio
import contextvars
import threading

import pytest
from support.bridges.in_process import until

from cart_common.process.tasks import background, in_thread
from cart_common.websocket.send_queue import (
    MAX_CONTROL_BYTES,
    MAX_CONTROL_FRAMES,
    SendQueue,
    SendQueueClosed,
    SendQueueFull,
    SharedSendQueue,
)


def test_control_overtakes_chunks_and_each_lane_keeps_its_order() -> None:
    send_queue = SendQueue(100)
    send_queue.put_chunk(bytearray(b"1"))
    send_queue.put_chunk(bytearray(b"22"))
    send_queue.put_chunk(bytearray(b"333"))
    send_queue.put_control("a")
    send_queue.put_control("b")
    assert [send_queue.take_control() for _ in range(3)] == ["a", "b", None]
    assert send_queue.take_chunks(3) == [b"1", b"22"]
    assert send_queue.chunk_bytes == 3
    assert send_queue.take_chunks(1) == [b"333"]  # one at least
    assert send_queue.take_chunks(1) == []
    assert send_queue.chunk_bytes == 0


def test_too_many_control_frames_are_refused() -> None:
    send_queue = SendQueue(1)
    for _ in range(MAX_CONTROL_FRAMES):
        send_queue.put_control("x")
    with pytest.raises(SendQueueFull, match=str(MAX_CONTROL_FRAMES)):
        send_queue.put_control("x")


def test_too_many_control_bytes_are_refused() -> None:
    send_queue = SendQueue(1)
    send_queue.put_control("x" * (MAX_CONTROL_BYTES - 1))
    send_queue.put_control("x")
    with pytest.raises(SendQueueFull, match=str(MAX_CONTROL_BYTES)):
        send_queue.put_control("x")


def test_too_many_chunk_bytes_are_refused() -> None:
    send_queue = SendQueue(10)
    send_queue.put_chunk(bytearray(10))
    with pytest.raises(SendQueueFull, match="10 bytes"):
        send_queue.put_chunk(bytearray(1))


async def test_room_is_waited_for_and_everybody_gets_a_turn() -> None:
    send_queue, taken = SharedSendQueue(20), b""

    async def send(name: bytes) -> None:
        for _ in range(30):
            await send_queue.put_chunk_when_room(bytearray(name * 10))

    sending = [asyncio.create_task(send(name)) for name in (b"a", b"b", b"c")]
    while not all(task.done() for task in sending):
        await asyncio.sleep(0)
        taken += b"".join(frame[:1] for frame in send_queue.take_chunks(10))
    taken += b"".join(frame[:1] for frame in send_queue.take_chunks(100))
    assert len(taken) == 90
    # While all three have something to send, they take strict turns.
    middle = taken[5:80]
    assert all(set(middle[at : at + 3]) == set(b"abc") for at in range(len(middle) - 3))


async def test_those_who_wait_for_room_hear_of_the_end() -> None:
    send_queue = SharedSendQueue(10)
    send_queue.put_chunk(bytearray(10))
    waiting = [asyncio.create_task(send_queue.put_chunk_when_room(bytearray(1))) for _ in range(3)]
    await asyncio.sleep(0)
    send_queue.close()
    for task in waiting:
        with pytest.raises(SendQueueClosed):
            await task
    with pytest.raises(SendQueueClosed):
        await send_queue.put_chunk_when_room(bytearray())


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


async def test_work_in_a_thread_sees_the_context_of_its_caller():
    setting = contextvars.ContextVar("setting", default="none")
    setting.set("here")
    assert await in_thread(setting.get) == "here"
    await in_thread(setting.set, "there")
    assert setting.get() == "here"


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
