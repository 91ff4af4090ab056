"""HTTP connections: they become WebSockets (RFC 6455), or are broken after some time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, Generic, NoReturn, TypeVar

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from cart_common.process.account import account_of
from cart_common.process.addresses import Network, is_in
from cart_common.process.displacement import to_displace
from cart_common.websocket.aiohttp_adapter import HttpProcessingError, open_transports, switch_protocol
from cart_common.websocket.socket import WebSocket, accept_key

Connection = TypeVar("Connection", bound=Hashable)
HTTP_MOST_S: Final = 30.0
LOOK_EVERY_S: Final = 1.0
HTTP_MOST: Final = 500
READ_BUFFER_BYTES: Final = 4 * 1024
"""For a body that nothing asks for; aiohttp keeps twice as much of each before it stops reading."""


def is_ours(record: logging.LogRecord) -> bool:
    """Tell whether to keep a line of aiohttp's log, which also reports requests that are not HTTP.

    Their clients get status 400; with a traceback for each, anyone could fill the log. At DEBUG all lines are kept.
    """
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    return not isinstance(error, HttpProcessingError) or logging.getLogger().isEnabledFor(logging.DEBUG)


class HttpConnections(Generic[Connection]):
    """The connections that have not become WebSockets: since when each is open, and which are broken. Has no I/O.

    Args:
        trusted: networks of proxies. Each of their connections counts by itself, since it carries many clients.
    """

    def __init__(self, trusted: Sequence[Network] = ()) -> None:
        self._trusted = tuple(trusted)
        self._since: dict[Connection, float] = {}

    def to_cut(self, addresses: Mapping[Connection, str], now: float) -> set[Connection]:
        """Return those that are too old, and of too many those of the addresses that have the most, oldest first.

        Args:
            addresses: of all connections that are open now.
            now: seconds that only grow.
        """
        self._since = {connection: self._since.get(connection, now) for connection in addresses}
        too_old = {connection for connection, since in self._since.items() if now - since > HTTP_MOST_S}
        accounts: defaultdict[object, list[Connection]] = defaultdict(list)
        for connection, address in addresses.items():
            account = connection if is_in(self._trusted, address) else account_of(address=address)
            if connection not in too_old:
                accounts[account].append(connection)
        too_many = len(self._since) - len(too_old) - HTTP_MOST
        return too_old.union(to_displace(accounts.values(), self._since.__getitem__, too_many))


async def cut_off_others(server: web.Server, trusted: Sequence[Network] = ()) -> NoReturn:
    """Break each connection that has not become a WebSocket in time, and those of a crowd, until it is cancelled.

    aiohttp waits without limit for a request, for the rest of one, and for a client to read its answer. Browsers open a
    new connection for the next page.

    Args:
        server: aiohttp's.
        trusted: networks of the proxies that the operator trusts.
    """
    connections: HttpConnections[RequestHandler] = HttpConnections(trusted)
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        transports = open_transports(server)
        addresses = {
            each: str((transport.get_extra_info("peername") or ("?",))[0]) for each, transport in transports.items()
        }
        for connection in connections.to_cut(addresses, asyncio.get_running_loop().time()):
            transports[connection].abort()


async def accept(request: web.Request, socket: WebSocket) -> web.StreamResponse:
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
    # No extension: permessage-deflate would cost many times the CPU of relaying, and weights barely shrink.
    answer = web.StreamResponse(
        status=101, headers={"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": accept_key(key)}
    )
    transport, earlier = request.transport, request.protocol
    await answer.prepare(request)
    if transport is None or transport.is_closing():
        raise ConnectionResetError("The connection was lost in the opening handshake.")
    switch_protocol(transport, earlier, socket)
    return answer
