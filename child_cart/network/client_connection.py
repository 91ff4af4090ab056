"""A cart's WebSocket to a bridge: the opening handshake (RFC 6455, 4.1), and the frames that come.

In the beginning frames are asked for one by one; later each is handed over as it comes, with no task between.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import re
import socket
import ssl
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

from aiohappyeyeballs import start_connection

from cart_common.process.os_errors import error_words
from cart_common.websocket.frames import Frame, FrameError
from cart_common.websocket.send_queue import SharedSendQueue
from cart_common.websocket.socket import ClientSocket, accept_key

MAX_HEAD_BYTES: Final = 16 * 1024
# A bridge that died does not answer a closing handshake; a cart that stops does not wait long for it.
CLOSE_S: Final = 1.0
NEXT_ADDRESS_S: Final = 0.25
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class NoBridge(Exception):
    """No WebSocket could be opened; the sentence says why."""


class ConnectionEnded(Exception):
    """The WebSocket is gone; the sentence says why."""


class ClientConnection:
    """One WebSocket to a bridge.

    Args:
        max_message_bytes: the largest message that is taken.
        send_queue: what waits to be written.
    """

    def __init__(self, max_message_bytes: int, send_queue: SharedSendQueue) -> None:
        self.socket = ClientSocket(self, max_message_bytes, send_queue)
        self._came: deque[Frame] = deque()
        self._take: Callable[[Frame], None] | None = None
        self._failure: Exception | None = None
        self._news = asyncio.Event()
        self._lost = asyncio.Event()

    # What the socket calls.

    def on_read(self, messages: list[Frame], frames: int, read_bytes: int) -> None:
        """Take what was read."""
        self._came.extend(messages)
        self._news.set()
        self._hand_over()

    def on_drained(self) -> None:
        """Leave it to the outbox, where everybody has their turn."""

    def on_error(self, error: FrameError) -> None:
        """Close a connection whose other end does not speak WebSocket."""
        self.break_off(str(error).rstrip("."))

    def on_lost(self, reason: str) -> None:
        """Take note that the connection is gone."""
        closed = self.socket.close_code is not None
        self._fail(ConnectionEnded("The bridge closed the link." if closed else f"The link to the bridge: {reason}."))
        self._lost.set()

    # What the link calls.

    async def next_frame(self) -> Frame:
        """Return the next message.

        Raises:
            ConnectionEnded: if there will be none.
        """
        while not self._came:
            if self._failure is not None:
                raise self._failure
            self._news.clear()
            await self._news.wait()
        return self._came.popleft()

    async def hand_over(self, take: Callable[[Frame], None]) -> None:
        """Let ``take`` have each message as it comes, until there will be none.

        Raises:
            ConnectionEnded: then.
            Exception: what ``take`` has raised.
        """
        self._take = take
        self._hand_over()
        while self._failure is None:
            self._news.clear()
            await self._news.wait()
        raise self._failure

    async def watch(self, heartbeat_s: float) -> None:
        """Ping the bridge and break the connection when it does not answer, for ever."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(heartbeat_s / 2)
            self.socket.ping()
            asked_at = loop.time()
            await asyncio.sleep(heartbeat_s / 2)
            if self.socket.heard_at < asked_at:
                self.break_off(f"no PONG came within {heartbeat_s / 2:g} s")

    def break_off(self, why: str) -> None:
        """Break the connection, for a reason that its owner is told."""
        self._fail(ConnectionEnded(f"The link to the bridge broke ({why})."))
        self.socket.abort()

    def end(self, why: str) -> None:
        """Let the owner of the connection close it, for a reason that it is told."""
        self._fail(ConnectionEnded(why))

    async def close(self) -> None:
        """End the connection, with a closing handshake if the other end takes part in it."""
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


class _Opening(asyncio.Protocol):
    """A connection until the server's answer is there."""

    def __init__(self, request: bytes, key: str, url: str, connection: ClientConnection) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Whoever waited may have been cancelled meanwhile: a connection that then fails is news to nobody.
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())
        self._request = request
        self._accepted = accept_key(key).encode()
        self._url = url
        self._connection = connection
        self._head = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take the answer, and leave what is behind it to the WebSocket."""
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if self.opened.done() or (end < 0 and len(self._head) <= MAX_HEAD_BYTES):
            return
        try:
            self._check(self._head[: end + 2])
        except NoBridge as error:
            self.opened.set_exception(error)
            self._transport.abort()
            return
        opened, rest = self._connection.socket, self._head[end + 4 :]
        self._transport.set_protocol(opened)
        opened.connection_made(self._transport)
        while rest:
            room = opened.get_buffer(len(rest))
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            rest = rest[count:]
            opened.buffer_updated(count)
        self.opened.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Say so."""
        if not self.opened.done():
            why = str(exc) if exc is not None and str(exc) else "it was closed in the opening handshake"
            # A server that expects TLS hangs up on whoever begins without it.
            may_be_tls = self._url.startswith("ws://") and not self._head
            advice = " If the bridge has a certificate, use wss:// instead." if may_be_tls else ""
            self.opened.set_exception(NoBridge(f"The link to {self._url} failed ({why}).{advice}"))

    def _check(self, head: bytes) -> None:
        status = _STATUS.match(head)
        if status is None:
            raise NoBridge(f"{self._url} is not a bridge (it does not speak HTTP).")
        if status[1] != b"101":
            raise NoBridge(f"{self._url} is not a bridge (it answers with HTTP status {int(status[1])}).")
        fields = dict(line.partition(b":")[::2] for line in head.split(b"\r\n")[1:])
        values = {name.strip().lower(): value.strip() for name, value in fields.items()}
        if values.get(b"sec-websocket-accept") != self._accepted or b"sec-websocket-extensions" in values:
            raise NoBridge(f"{self._url} is not a bridge (its opening handshake is wrong).")


async def connect(url: str, tls: ssl.SSLContext | None, connection: ClientConnection) -> None:
    """Open a WebSocket.

    Args:
        url: the bridge's, ws:// or wss://; ``/v1/cart`` is added.
        tls: how to trust a ``wss://`` bridge; None for what the system trusts.
        connection: gets the open socket.

    Raises:
        NoBridge: if that cannot be; the sentence says why.
    """
    parts, port = _address_of(url)
    key = base64.b64encode(os.urandom(16)).decode()
    host = parts.netloc.rpartition("@")[2]
    request = (
        f"GET {parts.path}/v1/cart HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    opening = _Opening(request.encode(), key, url, connection)
    host_name = parts.hostname or ""
    context = (tls or _system_trust()) if parts.scheme == "wss" else None
    try:
        transport, _ = await _dialled(lambda: opening, host_name, port, context)
    except ssl.SSLCertVerificationError as error:
        why = error.verify_message or error
        raise NoBridge(f"The certificate of {url} is not trusted ({why}). Name its CA with --bridge-ca.") from None
    except ssl.SSLError:
        sentence = f"{url} does not speak TLS. If the bridge has no certificate, use ws:// instead."
        raise NoBridge(sentence) from None
    except OSError as error:
        raise NoBridge(f"No bridge answers at {url} ({error_words(error)}).") from None
    except UnicodeError:  # of the resolver; records of strangers may hold such names
        raise NoBridge(f"{url} names no host: a part of its name is empty or has more than 63 characters.") from None
    try:
        await opening.opened
    except BaseException:
        transport.close()
        raise


async def _dialled(
    protocol: Callable[[], asyncio.Protocol], host: str, port: int, context: ssl.SSLContext | None
) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # An address of the host that does not answer must not hold up one that does (RFC 8305).
    dialled = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_S)
    try:
        name = host if context else None
        return await loop.create_connection(protocol, sock=dialled, ssl=context, server_hostname=name)
    except BaseException:
        dialled.close()
        raise


def _address_of(url: str) -> tuple[SplitResult, int]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise NoBridge(f"{url} is no address of a bridge ({error}).") from None
    if parts.scheme not in ("ws", "wss") or not parts.hostname or not f"{parts.netloc}{parts.path}".isprintable():
        raise NoBridge(f"{url} is no address of a bridge; it must be ws://host:port or wss://host:port.")
    return parts, port or (443 if parts.scheme == "wss" else 80)


@functools.cache
def _system_trust() -> ssl.SSLContext:
    return ssl.create_default_context()
