"""One HTTP connection of the page server, and its requests: no client may take as long as it likes."""

from __future__ import annotations

import asyncio
import logging
import socket
from contextlib import suppress
from typing import Any, Final

from aiohttp import web

from ..app import MAX_BODY_BYTES
from .places import Place

log = logging.getLogger("cart.pages")
NO_ACCESS_LOG: Final[Any] = None


class Connection(web.RequestHandler):
    """One connection, with a clock that runs while it waits for the client to send a request or take an answer.

    Args:
        server: handles its requests.
        head_s: how long the client has for the head of its first request.
        idle_s: how long a connection without a request is kept.
        place: where the server counts it.
    """

    __slots__ = ("_clock", "_head_s", "_open", "closed", "place")

    def __init__(self, server: web.Server, head_s: float, idle_s: float, place: Place) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=idle_s,
            auto_decompress=False,
            access_log=NO_ACCESS_LOG,
        )
        self._head_s = head_s
        self.place = place
        self.closed = asyncio.Event()
        self._open: asyncio.Transport | None = None
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock of the first request's head."""
        assert isinstance(transport, asyncio.Transport)
        self._open = transport
        self.start_clock(self._head_s)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell that the connection has ended."""
        self.stop_clock()
        self.closed.set()
        super().connection_lost(exc)

    async def end(self, client: socket.socket) -> None:
        """Cut the connection, and return when its transport has ended; also when it was cancelled while it was set up.

        Args:
            client: the socket of its transport.
        """
        if self._open is None or self.closed.is_set():
            return
        self._open.abort()
        # A TLS transport that was closed twice does not abort, but waits for its client: so it reads the end.
        with suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        await self.closed.wait()

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log aiohttp's complaints at DEBUG: any client can cause them."""
        log.debug(*args, **kw)

    def start_clock(self, limit_s: float | None) -> None:
        """Give the client this long to take an answer or send the next part of a request; then cut the connection.

        None: the cart does not take that part yet. It does not cut the connection, which may still give up its place.
        """
        self.stop_clock()
        if self._open is not None and not self.closed.is_set():
            loop = asyncio.get_running_loop()
            self.place.waiting_since = loop.time()
            if limit_s is not None:
                self._clock = loop.call_later(limit_s, self._open.abort)

    def stop_clock(self) -> None:
        """Stop counting: it is the cart's turn."""
        self.place.waiting_since = None
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class PageRequest(web.BaseRequest):
    """A request that may be as long as the application takes."""

    def __init__(self, *parts: Any) -> None:
        message, payload, connection, writer, task = parts
        loop = asyncio.get_running_loop()
        super().__init__(message, payload, connection, writer, task, loop, client_max_size=MAX_BODY_BYTES)
