"""One end of an open WebSocket (RFC 6455). Moves frames and decides nothing.

An idle socket has no task and no timer, so that ten thousand of them cost a bridge next to nothing.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import select
import time
from collections.abc import Callable
from typing import Final, Protocol, cast

from .fair_reading import FairReading, ReadingAccount
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
# As many chunks, or one message, are taken in a turn; see FrameReader.
TURN_COST: Final = 32
# What is read at once: more of who sends chunks, little of who sends more messages than a turn takes.
LEAST_READ_BYTES: Final = 4 * 1024
MOST_READ_BYTES: Final = 512 * 1024
_HUNG_UP: Final = getattr(select, "POLLRDHUP", 0)  # Linux
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


class _Nobody:
    """The handler of a socket that is gone."""

    def on_read(self, messages: list[Frame], frames: int, read_bytes: int) -> None: ...

    def on_drained(self) -> None: ...

    def on_error(self, error: FrameError) -> None: ...

    def on_lost(self, reason: str) -> None: ...


_NOBODY: Final = _Nobody()


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
        account: to which the time of its turns is charged; ``charge_to`` changes it.
    """

    __slots__ = (
        "_account",
        "_fair_reading",
        "_handler",
        "_has_turn",
        "_loop",
        "_paused",
        "_read_bytes",
        "_reader",
        "_reason",
        "_timer",
        "_transport",
        "_turn_bytes",
        "_unreported_bytes",
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
        account: ReadingAccount | None = None,
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
        self._reader = self._new_reader(max_message_bytes, math.inf if fair_reading is None else TURN_COST)
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._fair_reading = fair_reading
        self._account = account or ReadingAccount()
        self._read_bytes = LEAST_READ_BYTES
        self._unreported_bytes = 0
        self._has_turn = False
        self._turn_bytes = 0
        self._waits = False
        self._reason = "its link broke"
        self._timer: asyncio.TimerHandle | None = None

    # How this end reads and writes.

    def _new_reader(self, max_message_bytes: int, most_cost: float) -> FrameReader:
        return FrameReader(max_message_bytes, most_cost=most_cost)

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
        if self._fair_reading is None:
            return self._reader.buffer()
        # What comes when no time is left is only kept: little of it, as many sockets may do so in one pass.
        has_time = self._has_turn or self._fair_reading.has_time()
        return self._reader.buffer(self._read_bytes if has_time else LEAST_READ_BYTES)

    def buffer_updated(self, nbytes: int) -> None:
        """Take what was read, or keep it for this socket's turn."""
        self.heard_at, self.pinged = self._loop.time(), False
        if self._reader.error is not None:
            return
        self._turn_bytes += nbytes
        self._unreported_bytes += nbytes
        fair_reading = self._fair_reading
        if fair_reading is None:
            self._take(self._reader.received(nbytes))
        elif self._has_turn or fair_reading.may_go_on(self._account):
            self._has_turn = False
            self._take_turn(lambda: self._reader.received(nbytes))
            if self._reader.has_more:
                self._read_bytes = LEAST_READ_BYTES
            elif nbytes >= self._read_bytes:
                self._read_bytes = min(4 * self._read_bytes, MOST_READ_BYTES)
            if self._reader.has_more or self._turn_bytes >= TURN_BYTES:
                self._wait_for_turn()
        else:
            self._reader.keep(nbytes)
            self._wait_for_turn()

    def eof_received(self) -> bool:
        """Let the connection close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._handler.on_lost(f"its link broke ({exc})" if exc else self._reason)
        # Handler and socket refer to each other: neither must wait for the garbage collector, nor what was not sent.
        self._handler, self.send_queue, self._reader = _NOBODY, SendQueue(0), FrameReader(0)

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
        """Whether reading is paused by ``hold``."""
        return self._timer is not None

    @property
    def is_listening(self) -> bool:
        """Whether it reads; otherwise silence says nothing about the other side."""
        return not self.held and not self._waits

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

    def charge_to(self, account: ReadingAccount) -> None:
        """Charge the time of further turns to another account."""
        self._account = account

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

    def _take_turn(self, read: Callable[[], list[Frame]]) -> None:
        """Take some frames, and charge the time that it takes."""
        began_s = time.perf_counter()
        try:
            self._take(read())
        finally:
            if self._fair_reading is not None:
                self._fair_reading.charge(self._account, time.perf_counter() - began_s)

    def _take(self, frames: list[Frame]) -> None:
        messages = [frame for frame in frames if frame.opcode < CLOSE]
        read_bytes, self._unreported_bytes = self._unreported_bytes, 0
        fragments, self._reader.fragments = self._reader.fragments, 0
        if not self.closing:
            self._handler.on_read(messages, len(frames) + fragments, read_bytes)
        if len(messages) < len(frames):
            self._take_control([frame for frame in frames if frame.opcode >= CLOSE])
        if self._reader.error is not None and not self.closing:
            self._handler.on_error(self._reader.error)

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

    def _wait_for_turn(self) -> None:
        if self._fair_reading is not None and not self._waits and not self._transport.is_closing():
            self._waits = True
            self._transport.pause_reading()
            self._fair_reading.wait(self._account, self._next_turn)

    def _next_turn(self) -> None:
        self._turn_bytes, self._waits, self._has_turn = 0, False, True
        if self._transport.is_closing():
            return
        self.heard_at = self._loop.time()  # it could not be heard while it waited
        if self._reader.has_more and not self._is_held():
            if self._has_hung_up():
                self._reason = "its link closed while messages of it waited"
                self.abort()
                return
            self._has_turn = False
            self._take_turn(self._reader.take_more)
        self._read_on()

    def _has_hung_up(self) -> bool:
        """Tell whether the other side has closed its end, whatever of it waits to be read."""
        end = self._transport.get_extra_info("socket")
        if end is None or not _HUNG_UP:
            return False
        poll = select.poll()
        poll.register(end.fileno(), _HUNG_UP)
        return bool(poll.poll(0))

    def _go_on(self) -> None:
        self._timer, self.heard_at = None, self._loop.time()
        self._read_on()

    def _is_held(self) -> bool:
        return self._timer is not None and not self.closing

    def _read_on(self) -> None:
        """Resume reading, unless it is paused or waits for its turn; what was kept comes first."""
        if self._is_held() or self._waits or self._transport.is_closing():
            return
        if self._reader.has_more:
            self._wait_for_turn()
        else:
            self._transport.resume_reading()


class ClientSocket(WebSocket):
    """The client's end. Chunks wait in its queue unmasked, and are masked in place when they are written."""

    __slots__ = ()

    def _new_reader(self, max_message_bytes: int, most_cost: float) -> FrameReader:
        return FrameReader(max_message_bytes, masked=False, most_cost=most_cost)

    def _frame(self, opcode: int, payload: bytes) -> bytearray:
        return client_frame(opcode, payload)

    def _framed(self, chunks: list[bytearray]) -> list[bytearray]:
        return [part for chunk in chunks for part in (masked_head(BINARY, chunk), chunk)]
