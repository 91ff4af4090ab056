"""A cart's open WebSocket to a bridge: frames out, frames in.

During the attach handshake the link asks for frames one by one; after it, each frame is handed over as it comes, with
no task between.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from cart_common.websocket.frames import Frame, FrameError
from cart_common.websocket.send_queue import SendQueueFull, SharedSendQueue
from cart_common.websocket.socket import ClientSocket

# A bridge that died does not answer a closing handshake; a cart that stops does not wait long for it.
CLOSE_S: Final = 1.0


class ConnectionEnded(Exception):
    """The WebSocket is gone; the sentence says why."""


class ClientConnection:
    """One WebSocket to a bridge.

    Args:
        max_message_bytes: the largest message to receive.
        chunks_ahead_bytes: ``send_chunk`` waits while this many bytes of chunks are queued.
    """

    def __init__(self, max_message_bytes: int, chunks_ahead_bytes: int) -> None:
        self._send_queue = SharedSendQueue(chunks_ahead_bytes)
        self.socket = ClientSocket(self, max_message_bytes, self._send_queue)
        self._came: deque[Frame] = deque()
        self._take: Callable[[Frame], None] | None = None
        self._failure: Exception | None = None
        self._news = asyncio.Event()
        self._lost = asyncio.Event()

    # What the socket calls.

    def on_read(self, messages: list[Frame], frames: int, read_bytes: int) -> None:
        """Take the frames that the socket has read."""
        self._came.extend(messages)
        self._news.set()
        self._hand_over()

    def on_drained(self) -> None:
        """Do nothing: senders wait at the send queue, which gives each its turn."""

    def on_error(self, error: FrameError) -> None:
        """Break a connection whose other end violates the WebSocket protocol."""
        self.break_off(str(error).rstrip("."))

    def on_lost(self, reason: str) -> None:
        """Record that the connection is gone."""
        closed = self.socket.close_code is not None
        self._fail(ConnectionEnded("The bridge closed the link." if closed else f"The link to the bridge: {reason}."))
        self._lost.set()

    # What the link calls.

    def send_control(self, text: str) -> None:
        """Queue a control message; it overtakes the chunks that wait.

        Raises:
            SendQueueFull: if the bridge does not read; the connection is broken off then.
        """
        try:
            self._send_queue.put_control(text)
        except SendQueueFull:
            # The lost message may be one that a transfer waits for; a lost link is taken up again.
            self.break_off("the bridge does not read")
            raise
        self.socket.flush()

    async def send_chunk(self, frame: bytearray) -> None:
        """Queue a chunk frame, after waiting for its turn. The socket masks ``frame`` in place.

        Raises:
            SendQueueClosed: if the connection is gone.
        """
        await self._send_queue.put_chunk_when_room(frame)
        self.socket.flush()
        # Even if the socket takes everything at once, the next transfer gets its turn.
        await asyncio.sleep(0)

    async def next_frame(self) -> Frame:
        """Return the next message.

        Raises:
            ConnectionEnded: if the connection is gone.
        """
        while not self._came:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        return self._came.popleft()

    async def hand_over(self, take: Callable[[Frame], None]) -> None:
        """Call ``take`` with each message as it comes, until the connection ends.

        Raises:
            ConnectionEnded: when it ends.
            Exception: whatever ``take`` raises.
        """
        self._take = take
        self._hand_over()
        while self._failure is None:
            self._news.clear()
            await self._news.wait()
        raise self._failure

    async def watch(self, heartbeat_s: float) -> None:
        """Ping the bridge until cancelled; break the connection when it does not answer."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(heartbeat_s / 2)
            self.socket.ping()
            asked_at = loop.time()
            await asyncio.sleep(heartbeat_s / 2)
            if self.socket.heard_at < asked_at:
                self.break_off(f"no PONG came within {heartbeat_s / 2:g} s")

    def break_off(self, why: str) -> None:
        """Break the connection; its owner gets this reason."""
        self._fail(ConnectionEnded(f"The link to the bridge broke ({why})."))
        self.socket.abort()

    def end(self, why: str) -> None:
        """Make the owner of the connection close it; it gets this reason."""
        self._fail(ConnectionEnded(why))

    async def close(self) -> None:
        """End the connection, with a closing handshake if the other end takes part in it."""
        self._send_queue.close()
        try:
            self.socket.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._lost.wait()
        finally:
            self.socket.abort()

    def _hand_over(self) -> None:
        try:
            while self._take is not None and self._came and self._failure is None:
                self._take(self._came.popleft())
        except Exception as error:  # raised where the link waits
            self._fail(error)
            self.socket.abort()

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._news.set()
