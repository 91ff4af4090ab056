"""The bridge's end of a WebSocket, on a connection that aiohttp has accepted. Moves frames and decides nothing.

One object per cart, with no task and no timer while it is at rest: ten thousand carts are to cost next to nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from typing import Final, Protocol, cast

from aiohttp import web

from child_cart.network.outbox import Lanes

from .frames import (
    CLOSE,
    NORMAL,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameError,
    FrameReader,
    close_code_of,
    close_frame,
    server_frame,
)

# What the transport holds beyond the kernel's buffer cannot be overtaken by control any more.
WRITE_BYTES: Final = 256 * 1024
FAREWELL_S: Final = 2.0
_HANDSHAKE_KEY: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class SocketHandler(Protocol):
    """Who is told what arrives."""

    def on_read(self, messages: list[Frame], frames: int, read_bytes: int) -> None:
        """Take text and binary messages in the order in which they came, and note how much was read for them."""

    def on_error(self, error: FrameError) -> None:
        """Take note that the other side does not keep to RFC 6455; nothing more will be read."""

    def on_lost(self, reason: str) -> None:
        """Take note that the connection is gone. Called once, and last."""


class CartSocket(asyncio.BufferedProtocol):
    """One WebSocket.

    Args:
        handler: is told what arrives.
        max_message_bytes: the largest message that is taken.
        outbox: what waits to be written.
    """

    __slots__ = (
        "_handler",
        "_loop",
        "_paused",
        "_reader",
        "_reason",
        "_timer",
        "_transport",
        "closing",
        "heard_at",
        "outbox",
        "pinged",
    )

    def __init__(self, handler: SocketHandler, max_message_bytes: int, outbox: Lanes[bytearray]) -> None:
        self.outbox = outbox
        self.closing = True
        """Whether the link is not open yet, or being closed or broken: nothing is taken, nothing more is written."""
        self.heard_at = 0.0
        """When something came last, by the loop's clock."""
        self.pinged = False
        """Whether a ping was sent since then."""
        self._handler = handler
        self._reader = FrameReader(max_message_bytes)
        self._transport: asyncio.Transport
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._reason = "its link broke"
        self._timer: asyncio.TimerHandle | None = None

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

    def eof_received(self) -> bool:
        """Let the connection close."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self.closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._handler.on_lost(f"its link broke ({exc})" if exc else self._reason)
        # The handler and this object hold each other: what was not sent must not wait for the collector with them.
        self.outbox, self._reader = Lanes(0), FrameReader(0)

    def pause_writing(self) -> None:
        """Leave what is to be written in the outbox."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on writing."""
        self._paused = False
        self.flush()

    # What the relay calls.

    @property
    def held(self) -> bool:
        """Whether nothing is read just now; it cannot be told whether the other side lives."""
        return self._timer is not None

    def flush(self) -> None:
        """Write what waits, control first, as far as the other side reads."""
        while not self._paused and not self.closing:
            text = self.outbox.take_control()
            if text is not None:
                self._transport.write(server_frame(TEXT, text.encode()))
                continue
            chunks = self.outbox.take_chunks(WRITE_BYTES)
            if not chunks:
                return
            if len(chunks) == 1:
                self._transport.write(memoryview(chunks[0]))  # a view: what remains of it is copied once, not twice
            else:
                self._transport.writelines(chunks)
                # Setting limits looks at them too, which writelines forgets in Python 3.12.0-8 and 3.13.0-1: without
                # this, all that waits for a slow reader would pile up where nobody bounds it.
                self._transport.set_write_buffer_limits()

    def take_up_to(self, max_message_bytes: int) -> None:
        """Change the largest message that is taken."""
        self._reader.max_bytes = max_message_bytes

    def ping(self) -> None:
        """Ask whether the other side lives."""
        if not self.closing:
            self.pinged = True
            self._transport.write(server_frame(PING, b""))

    def hold(self, seconds: float) -> None:
        """Read nothing for a while, so that the other side has to wait; nothing is lost."""
        if not self.closing and self._timer is None:
            self._transport.pause_reading()
            self._timer = self._loop.call_later(seconds, self._go_on)

    def close(self, last_words: str, code: int = NORMAL, reason: str = "") -> None:
        """Write the control frames that wait, the last one and a close frame; break the link if it stays open."""
        if self.closing:
            return
        while (text := self.outbox.take_control()) is not None:
            self._transport.write(server_frame(TEXT, text.encode()))
        self._transport.write(server_frame(TEXT, last_words.encode()))
        self._transport.write(close_frame(code, reason))
        self._end()

    def abort(self) -> None:
        """Break the link at once, without the closing handshake that a dead other side would never answer."""
        self.closing = True
        self._transport.abort()

    def _take_control(self, frames: list[Frame]) -> None:
        for frame in frames:
            # A ping that comes while the other side does not read is not answered: pongs would pile up.
            if frame.opcode == PING and not self.closing and not self._paused:
                self._transport.write(server_frame(PONG, bytes(frame.payload)))
            elif frame.opcode == CLOSE:
                self._take_close(frame)
                return

    def _take_close(self, frame: Frame) -> None:
        try:
            code = close_code_of(frame)
        except FrameError as error:
            self._reader.error = error
            return
        if not self.closing:
            self._reason = f"its link closed ({code})"
            self._transport.write(close_frame(code))
            self._end()
        self._transport.close()

    def _end(self) -> None:
        self.closing = True
        if self._timer is not None:
            self._timer.cancel()
            self._transport.resume_reading()  # it may be held, and its answer to the close frame is to be seen
        # What is not read by then never is: a socket that waits for it would stay as long as its cart likes.
        self._timer = self._loop.call_later(FAREWELL_S, self._transport.abort)

    def _go_on(self) -> None:
        self._timer, self.heard_at = None, self._loop.time()
        if not self._transport.is_closing():
            self._transport.resume_reading()


async def accept(request: web.Request, socket: CartSocket) -> web.StreamResponse:
    """Answer the opening handshake (RFC 6455, 4.2) and take the connection over from aiohttp.

    Raises:
        HTTPBadRequest: if the request does not ask for a WebSocket.
    """
    headers = request.headers
    key = headers.get("Sec-WebSocket-Key", "")
    try:
        key_bytes = len(base64.b64decode(key, validate=True))
    except binascii.Error:
        key_bytes = 0
    wishes = {wish.strip().lower() for wish in headers.get("Connection", "").split(",")}
    if request.method != "GET" or "upgrade" not in wishes or headers.get("Upgrade", "").lower() != "websocket":
        raise web.HTTPBadRequest(text="Carts attach here by WebSocket; this request does not ask for one.")
    if headers.get("Sec-WebSocket-Version") != "13" or key_bytes != 16:
        raise web.HTTPBadRequest(text="This is not the opening handshake of WebSocket version 13 (RFC 6455).")
    accepted = base64.b64encode(hashlib.sha1(key.encode() + _HANDSHAKE_KEY, usedforsecurity=False).digest()).decode()
    # No extension is agreed on: permessage-deflate would cost many times the relaying, and weights barely shrink.
    answer = web.StreamResponse(
        status=101, headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accepted}
    )
    transport, earlier = request.transport, request.protocol
    await answer.prepare(request)
    if transport is None or transport.is_closing():
        raise ConnectionResetError("The connection was lost in the opening handshake.")
    transport.set_protocol(socket)
    socket.connection_made(transport)
    # For aiohttp the connection ends here. It would close the transport, so that is taken away from it first.
    earlier.transport = None
    earlier.connection_lost(None)
    return answer
