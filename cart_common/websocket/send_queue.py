"""What waits to be written to one socket: a queue of control frames and one of chunks, both bounded.

Control overtakes chunks, so that a credit never waits behind megabytes. Others only put frames in; the socket takes
them as fast as it writes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from ..wire.chunk import MAX_FRAME_BYTES

MAX_CONTROL_FRAMES: Final = 1024
MAX_CONTROL_BYTES: Final = 4 * 1024 * 1024


class SendQueueFull(Exception):
    """The other side does not read: one of the two queues has reached its limit."""


class SendQueueClosed(Exception):
    """The socket is gone, and with it the queue."""


class SendQueue:
    """Two bounded queues, of control frames and of chunks.

    Args:
        max_chunk_bytes: the most bytes of chunks that may wait.
    """

    __slots__ = ("_chunk_bytes", "_chunks", "_control", "_control_bytes", "_max_chunk_bytes")

    def __init__(self, max_chunk_bytes: int) -> None:
        self._control: deque[str] = deque()
        self._control_bytes = 0
        self._chunks: deque[bytearray] = deque()
        self._chunk_bytes = 0
        self._max_chunk_bytes = max_chunk_bytes

    @property
    def chunk_bytes(self) -> int:
        """How many bytes of chunks wait."""
        return self._chunk_bytes

    def put_control(self, text: str) -> None:
        """Append a control frame.

        Raises:
            SendQueueFull: if too many wait.
        """
        if len(self._control) >= MAX_CONTROL_FRAMES or self._control_bytes + len(text) > MAX_CONTROL_BYTES:
            raise SendQueueFull(f"{len(self._control)} control frames ({self._control_bytes} bytes) wait to be read.")
        self._control.append(text)
        self._control_bytes += len(text)

    def put_chunk(self, frame: bytearray) -> None:
        """Append a chunk frame.

        Raises:
            SendQueueFull: if the bytes that wait would pass the limit.
        """
        if self._chunk_bytes + len(frame) > self._max_chunk_bytes:
            raise SendQueueFull(f"{self._chunk_bytes} bytes of chunks wait to be read.")
        self._chunks.append(frame)
        self._chunk_bytes += len(frame)

    def take_control(self) -> str | None:
        """Return the control frame that has waited longest."""
        if not self._control:
            return None
        text = self._control.popleft()
        self._control_bytes -= len(text)
        return text

    def take_chunks(self, most_bytes: int) -> list[bytearray]:
        """Return the chunk frames that have waited longest: up to ``most_bytes``, but at least one if any waits."""
        taken: list[bytearray] = []
        room = most_bytes
        while self._chunks and (len(self._chunks[0]) <= room or not taken):
            frame = self._chunks.popleft()
            room -= len(frame)
            taken.append(frame)
        self._chunk_bytes -= most_bytes - room
        return taken


class SharedSendQueue(SendQueue):
    """A queue that several senders share; each gets its turn when there is room for a chunk.

    Args:
        ahead_bytes: a chunk is taken while fewer bytes of chunks than this wait.
    """

    __slots__ = ("_ahead_bytes", "_closed", "_room", "_turn")

    def __init__(self, ahead_bytes: int) -> None:
        super().__init__(ahead_bytes + MAX_FRAME_BYTES)
        self._ahead_bytes = ahead_bytes
        self._closed = False
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()

    async def put_chunk_when_room(self, frame: bytearray) -> None:
        """Append a chunk frame, after waiting until there is room for one more.

        Raises:
            SendQueueClosed: if the socket is gone.
        """
        # The lock wakes in the order of asking; the event alone always wakes the same sender first.
        async with self._turn:
            while self._chunk_bytes >= self._ahead_bytes and not self._closed:
                self._room.clear()
                await self._room.wait()
            if self._closed:
                raise SendQueueClosed("The socket is closed.")
            self.put_chunk(frame)

    def take_chunks(self, most_bytes: int) -> list[bytearray]:
        """Return the chunk frames that have waited longest, and wake the senders that wait for room."""
        taken = super().take_chunks(most_bytes)
        self._room.set()
        return taken

    def close(self) -> None:
        """Wake the senders that wait for room: the socket is gone."""
        self._closed = True
        self._room.set()
