"""Open a WebSocket to a bridge: connect, TLS, and the opening handshake (RFC 6455, section 4.1)."""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import re
import socket
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final, cast
from urllib.parse import SplitResult, urlsplit

from aiohappyeyeballs import start_connection

from cart_common.process.os_errors import error_words
from cart_common.websocket.socket import accept_key

from .client_connection import ClientConnection
from .forward_proxy import DIRECT, ForwardProxies, Proxy, ProxyError

MAX_HEAD_BYTES: Final = 16 * 1024
NEXT_ADDRESS_S: Final = 0.25
OUT_OF_TIME: Final = {9, 10}
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL."""
OF_ANOTHER_NAME: Final = {62, 64}
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""
_DATE: Final = re.compile(rb"[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT")
_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})[ \r]")


class NoBridge(Exception):
    """No WebSocket could be opened; the sentence says why."""


class _Opening(asyncio.Protocol):
    """A connection until the server has answered the opening request."""

    def __init__(self, request: bytes, key: str, url: str, connection: ClientConnection) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # The waiting task may be cancelled; a connection that fails afterwards must not be reported as unhandled.
        self.opened.add_done_callback(lambda opened: opened.cancelled() or opened.exception())
        self._request = request
        self._accepted = accept_key(key).encode()
        self._url = url
        self._connection = connection
        self._head = b""
        self.bridge_time: float | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        """Take the answer; pass what follows it to the WebSocket."""
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
        """Report why the handshake failed."""
        if not self.opened.done():
            why = str(exc) if exc is not None and str(exc) else "it was closed in the opening handshake"
            # A server that expects TLS hangs up on a client that begins without it.
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
        self.bridge_time = http_date(values.get(b"date", b""))


def http_date(text: bytes) -> float | None:
    """Return the time of an HTTP ``Date`` field (RFC 9110, 6.6.1) in seconds since the epoch; None if it is none."""
    if _DATE.fullmatch(text) is None:
        return None
    try:
        return parsedate_to_datetime(text.decode("ascii")).timestamp()
    except (ValueError, OverflowError):
        return None


async def connect(
    url: str, tls: ssl.SSLContext | None, connection: ClientConnection, proxies: ForwardProxies = DIRECT
) -> float | None:
    """Open a WebSocket; return the time on the bridge's clock, in seconds since the epoch, if it says that.

    Args:
        url: the bridge's, ws:// or wss://; ``/v1/cart`` is added.
        tls: how to trust a ``wss://`` bridge; None for the system's trust store.
        connection: gets the open socket.
        proxies: those through which bridges are reached.

    Raises:
        NoBridge: if none opens; the sentence says why.
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
        proxy = proxies.proxy_for(url)
        transport, _ = await _dialled(lambda: opening, host_name, port, context, proxy)
    except ProxyError as error:
        raise NoBridge(f"{url} cannot be reached: {error}") from None
    except ssl.SSLCertVerificationError as error:
        raise NoBridge(_distrust(url, error, time.time())) from None
    except ssl.SSLError:
        sentence = f"{url} does not speak TLS. If the bridge has no certificate, use ws:// instead."
        raise NoBridge(sentence) from None
    except OSError as error:
        raise NoBridge(f"No bridge answers at {url} ({error_words(error)}).") from None
    except UnicodeError:  # from the resolver; records of unknown origin may hold such names
        raise NoBridge(f"{url} names no host: a part of its name is empty or has more than 63 characters.") from None
    try:
        await opening.opened
    except BaseException:
        transport.close()
        raise
    return opening.bridge_time


def _distrust(url: str, error: ssl.SSLCertVerificationError, now_s: float) -> str:
    why = error.verify_message or error
    if error.verify_code in OUT_OF_TIME:
        here = datetime.fromtimestamp(now_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
        return (
            f"The certificate of {url} does not hold at this time ({why}). Check this machine's clock: it says {here}. "
            "If that is right, the bridge needs a new certificate."
        )
    if error.verify_code in OF_ANOTHER_NAME:
        return (
            f"The certificate of {url} is for another name ({str(why).rstrip('.')}). Give this cart the name that the "
            "certificate holds (--bridge), or the bridge a certificate for this one."
        )
    return f"The certificate of {url} is not trusted ({why}). Name its CA with --bridge-ca."


async def _dialled(
    protocol: Callable[[], asyncio.Protocol],
    host: str,
    port: int,
    context: ssl.SSLContext | None,
    proxy: Proxy | None,
) -> tuple[asyncio.BaseTransport, asyncio.BaseProtocol]:
    loop = asyncio.get_running_loop()
    dialled = await (_connected(host, port) if proxy is None else _connected_to(proxy))
    try:
        if proxy is not None:
            await _tunnel(dialled, proxy, host, port)
        name = host if context else None
        return await loop.create_connection(protocol, sock=dialled, ssl=context, server_hostname=name)
    except BaseException:
        dialled.close()
        raise


async def _connected(host: str, port: int) -> socket.socket:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # An address of the host that does not answer must not hold up one that does (RFC 8305).
    return await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_S)


async def _connected_to(proxy: Proxy) -> socket.socket:
    try:
        return await _connected(proxy.host, proxy.port)
    except (OSError, UnicodeError) as error:
        why = error_words(error) if isinstance(error, OSError) else "its name has a part that is empty or too long"
        raise ProxyError(f"the proxy {proxy.url} ({proxy.variable}) does not answer ({why}).") from None


async def _tunnel(dialled: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Ask a proxy for a connection to a bridge; what follows on the socket is the bridge's."""
    loop, head = asyncio.get_running_loop(), b""
    try:
        await loop.sock_sendall(dialled, proxy.connect_request(host, port))
        # The bridge speaks after the cart, so nothing of it can follow the proxy's answer.
        while b"\r\n\r\n" not in head and len(head) <= MAX_HEAD_BYTES and (data := await _received(dialled)):
            head += data
    except OSError as error:
        raise ProxyError(f"the proxy {proxy.url} ({proxy.variable}) hung up ({error_words(error)}).") from None
    if not head:
        raise ProxyError(f"the proxy {proxy.url} ({proxy.variable}) hung up without an answer.")
    proxy.check_answer(head)
    if not head.endswith(b"\r\n\r\n"):
        raise ProxyError(f"the answer of the proxy {proxy.url} ({proxy.variable}) has no end.")


async def _received(dialled: socket.socket) -> bytes:
    return await asyncio.get_running_loop().sock_recv(dialled, MAX_HEAD_BYTES)


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
