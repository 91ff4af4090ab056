"""HTTP connections: they become WebSockets (RFC 6455), or are broken after some time."""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
from typing import Final, NoReturn

from aiohttp import web

from cart_common.websocket.aiohttp_adapter import HttpProcessingError, open_transports, switch_protocol
from cart_common.websocket.socket import WebSocket, accept_key

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


async def cut_off_others(server: web.Server) -> NoReturn:
    """Break each connection that has not become a WebSocket in time, or the oldest of too many, until it is cancelled.

    aiohttp waits without limit for a request, for the rest of one, and for a client to read its answer. Browsers open a
    new connection for the next page.
    """
    since: dict[object, float] = {}
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        now = asyncio.get_running_loop().time()
        transports = open_transports(server)
        since = {connection: since.get(connection, now) for connection in transports}
        oldest_first = sorted(since, key=since.__getitem__)
        too_many = set(oldest_first[: max(len(since) - HTTP_MOST, 0)])
        for connection, transport in transports.items():
            if connection in too_many or now - since[connection] > HTTP_MOST_S:
                transport.abort()


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
