"""One end of an open WebSocket (RFC 6455). Moves frames and decides nothing.

An idle socket has no task and no timer, so that ten thousand of them cost a bridge next to nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Final, Protocol, cast

from .fair_reading import FairReading
from .frames import (
    BINARY,
    CLOSE,
    NORMAL,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameError,
    FrameReader,
    client_frame,
    close_code_of,
    close_payload,
    masked_head,
    server_frame,
)
from .send_queue import SendQueue

# Control cannot overtake what the transport holds beyond the kernel's buffer.
WRITE_BYTES: Final = 256 * 1024
# A socket that has read this much waits for its next turn.
TURN_BYTES: Final = 64 * 1024
FAREWELL_S: Final = 2.0
_HANDSHAKE_KEY: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class SocketHandler(Protocol):
    """Is told what arrives."""

    def on_read(self, messages: list[Frame], frames: int, read_bytes: int) -> None:
        """Take text and binary messages in the order of their arrival, and how much was read for them."""

    def on_drained(self) -> None:
        """The other side has read some of what waited."""

    def on_error(self, error: FrameError) -> None:
        """The other side violates RFC 6455; nothing more will be read."""

    def on_lost(self, reason: str) -> None:
        """The connection is gone. Called once, and last."""


def accept_key(key: str) -> str:
    """Return what a server answers to a client's key in the opening handshake."""
    return base64.b64encode(hashlib.sha1(key.encode() + _HANDSHAKE_KEY, usedforsecurity=False).digest()).decode()


class WebSocket(asyncio.BufferedProtocol):
    """The server's end of one WebSocket. Chunks wait in its queue as whole frames.

    Args:
        handler: is told what arrives.
        max_message_bytes: the largest message that is accepted.
        send_queue: what waits to be written.
        fair_reading: shared by the sockets that take turns; None for a socket that is alone.
    """

    __slots__ = (
        "_fair_reading",
        "_handler",
        "_loop",
        "_paused",
        "_reader",
        "_reason",
        "_timer",
        "_transport",
        "_turn_bytes",
        "_waits",
        "close_code",
        "closing",
        "heard_at",
        "pinged",
        "send_queue",
    )

    def __init__(
        self,
        handler: SocketHandler,
        max_message_bytes: int,
        send_queue: SendQueue,
        fair_reading: FairReading | None = None,
    ) -> None:
        self.send_queue = send_queue
        self.closing = True
        """Whether the link is not open yet, or is being closed or broken: nothing is accepted or written."""
        self.close_code: int | None = None
        """The code in the other side's close frame."""
        self.heard_at = 0.0
        """When the last bytes came, by the loop's clock."""
        self.pinged = False
        """Whether a ping was sent since then."""
        self._handler = handler
        self._reader = self._new_reader(max_message_bytes)
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._fair_reading = fair_reading
        self._turn_bytes = 0
        self._waits = False
        self._reason = "its link broke"
        self._timer: asyncio.TimerHandle | None = None

    # How this end reads and writes.

    def _new_reader(self, max_message_bytes: int) -> FrameReader:
        return FrameReader(max_message_bytes)

    def _frame(self, opcode: int, payload: bytes) -> bytearray:
        return server_frame(opcode, payload)

    def _framed(self, chunks: list[bytearray]) -> list[bytearray]:
        return chunks

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio
        self.heard_at = self._loop.time()
        self.closing = False

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read."""
        self.heard_at, self.pinged = self._loop.time(), False
        if self._reader.error is not None:
            return
        earlier = self._reader.fragments
        frames = self._reader.received(nbytes)
        messages = [frame for frame in frames if frame.opcode < CLOSE]
        if not self.closing:
            self._handler.on_read(messages, len(frames) + self._reader.fragments - earlier, nbytes)
        if len(messages) < len(frames):
            self._take_control([frame for frame in frames if frame.opcode >= CLOSE])
        if self._reader.error is not None and not self.closing:
            self._handler.on_error(self._reader.error)
        self._turn_bytes += nbytes
        due = self._turn_bytes >= TURN_BYTES and not self._waits and not self._transport.is_closing()
        if self._fair_reading is not None and due:
            self._waits = True
            self._transport.pause_reading()
            self._fair_reading.wait(self._next_turn)

    def eof_received(self) -> bool:
        """Let the connection close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._handler.on_lost(f"its link broke ({exc})" if exc else self._reason)
        # Handler and socket refer to each other: what was not sent must not wait for the garbage collector.
        self.send_queue, self._reader = SendQueue(0), FrameReader(0)

    def pause_writing(self) -> None:
        """Leave in the queue what waits to be written."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on writing."""
        self._paused = False
        self.flush()
        self._handler.on_drained()

    # What the relay calls.

    @property
    def held(self) -> bool:
        """Whether reading is paused, so that silence says nothing about the other side."""
        return self._timer is not None

    @property
    def waiting_bytes(self) -> int:
        """How many bytes of chunks the other side has not read, beyond what the transport takes without a pause."""
        return self.send_queue.chunk_bytes + (self._transport.get_write_buffer_size() if self._paused else 0)

    def flush(self) -> None:
        """Write what waits, control first, as far as the other side reads."""
        while not self._paused and not self.closing:
            text = self.send_queue.take_control()
            if text is not None:
                self._transport.write(self._frame(TEXT, text.encode()))
                continue
            chunks = self._framed(self.send_queue.take_chunks(WRITE_BYTES))
            if not chunks:
                return
            if len(chunks) == 1:
                self._transport.write(memoryview(chunks[0]))  # a view: what is left is copied once, not twice
            else:
                self._transport.writelines(chunks)
                # writelines() does not check the limits in Python 3.12.0-8 and 3.13.0-1; setting them does. Without
                # this, everything for a slow reader would pile up in the transport, without bound.
                self._transport.set_write_buffer_limits()

    def take_up_to(self, max_message_bytes: int) -> None:
        """Change the largest message that is accepted."""
        self._reader.max_bytes = max_message_bytes

    def ping(self) -> None:
        """Ask whether the other side lives."""
        if not self.closing:
            self.pinged = True
            self._transport.write(self._frame(PING, b""))

    def hold(self, seconds: float) -> None:
        """Pause reading, so that the other side has to wait; nothing is lost."""
        if not self.closing and self._timer is None:
            self._transport.pause_reading()
            self._timer = self._loop.call_later(seconds, self._go_on)

    def close(self, last_words: str = "", code: int = NORMAL, reason: str = "") -> None:
        """Write the control frames that wait, a last one and a close frame; break the link if it stays open."""
        if self.closing:
            return
        while (text := self.send_queue.take_control()) is not None:
            self._transport.write(self._frame(TEXT, text.encode()))
        if last_words:
            self._transport.write(self._frame(TEXT, last_words.encode()))
        self._transport.write(self._frame(CLOSE, close_payload(code, reason)))
        self._end()

    def abort(self) -> None:
        """Break the link at once, without a closing handshake, which a dead peer would never answer."""
        self.closing = True
        self._transport.abort()

    def _take_control(self, frames: list[Frame]) -> None:
        for frame in frames:
            # While the other side does not read, pings are not answered: pongs would pile up.
            if frame.opcode == PING and not self.closing and not self._paused:
                self._transport.write(self._frame(PONG, bytes(frame.payload)))
            elif frame.opcode == CLOSE:
                self._take_close(frame)
                return

    def _take_close(self, frame: Frame) -> None:
        try:
            self.close_code = code = close_code_of(frame)
        except FrameError as error:
            self._reader.error = error
            return
        if not self.closing:
            self._reason = f"its link closed ({code})"
            self._transport.write(self._frame(CLOSE, close_payload(code)))
            self._end()
        self._transport.close()

    def _end(self) -> None:
        self.closing = True
        if self._timer is not None:
            self._timer.cancel()
        # What the other side has not read by then is lost: otherwise a cart could keep its socket open at will.
        self._timer = self._loop.call_later(FAREWELL_S, self._transport.abort)
        self._read_on()  # for the answer to the close frame

    def _next_turn(self) -> None:
        self._turn_bytes, self._waits = 0, False
        self._read_on()

    def _go_on(self) -> None:
        self._timer, self.heard_at = None, self._loop.time()
        self._read_on()

    def _read_on(self) -> None:
        """Resume reading, unless it is paused or waits for its turn."""
        held = self._timer is not None and not self.closing
        if not held and not self._waits and not self._transport.is_closing():
            self._transport.resume_reading()


class ClientSocket(WebSocket):
    """The client's end. Chunks wait in its queue unmasked, and are masked in place when they are written."""

    __slots__ = ()

    def _new_reader(self, max_message_bytes: int) -> FrameReader:
        return FrameReader(max_message_bytes, masked=False)

    def _frame(self, opcode: int, payload: bytes) -> bytearray:
        return client_frame(opcode, payload)

    def _framed(self, chunks: list[bytearray]) -> list[bytearray]:
        return [part for chunk in chunks for part in (masked_head(BINARY, chunk), chunk)]
