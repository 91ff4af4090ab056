"""The private parts of aiohttp that frames and handshakes use.

The page server of a cart overrides two more (``child_cart/api/serving/page_server.py``).
``tests/common/websocket/test_aiohttp_adapter.py`` names all of them, and what an upgrade of aiohttp would break.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

# The C extension that aiohttp masks with, or the same in Python where there is none.
from aiohttp._websocket.helpers import websocket_mask
from aiohttp.http_exceptions import HttpProcessingError

if TYPE_CHECKING:  # a cart's link needs no web server
    from aiohttp.web import Server
    from aiohttp.web_protocol import RequestHandler

__all__ = ["HttpProcessingError", "open_transports", "switch_protocol", "websocket_mask"]


def open_transports(server: Server) -> dict[RequestHandler, asyncio.Transport]:
    """Return the transports of the HTTP connections that are open, by connection."""
    found = ((connection, connection.transport) for connection in server.connections)
    return {connection: transport for connection, transport in found if transport is not None}


def switch_protocol(transport: asyncio.Transport, earlier: RequestHandler, new: asyncio.BaseProtocol) -> None:
    """Hand a connection over from aiohttp to another protocol; for aiohttp it ends here, but it stays open.

    Args:
        transport: the connection's.
        earlier: aiohttp's protocol, as ``request.protocol`` gives it.
        new: the protocol that takes over.
    """
    transport.set_protocol(new)
    new.connection_made(transport)
    # aiohttp would close the transport, so that is taken away from it first.
    earlier.transport = None
    earlier.connection_lost(None)
