"""The page server: aiohttp in a thread with its own event loop, and the application in worker threads.

No client holds a thread while it sends or receives, so a slow one does not delay the others.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final

from aiohttp import web
from flask import Flask

from cart_common.process.addresses import host_and_port
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError

from ..app import MAX_BODY_BYTES
from .wsgi import Workers, environ_of

log = logging.getLogger("cart.pages")
NO_ACCESS_LOG: Final[Any] = None

THREADS: Final = 8
BACKLOG: Final = 128
CONNECTIONS: Final = 500
LARGE_BODY_BYTES: Final = 64 * 1024
LARGE_BODIES: Final = 16
HANDSHAKE_S: Final = 10.0
IDLE_S: Final = 30.0
REQUEST_S: Final = 60.0
ANSWER_S: Final = 4.0
CLOSE_S: Final = 1.0
NO_FILES_S: Final = 0.5


class PageServer:
    """Serve an application while the ``with`` block runs.

    Args:
        application: what to serve.
        host: the address, or a name of it.
        port: 0 takes a free one.
        tls: serve only https:// with this; None for http://.

    Raises:
        SettingError: on construction, if it cannot listen on the address.
    """

    def __init__(self, application: Flask, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._listening = _listen(host, port)
        self._workers = Workers(application, THREADS)
        self._tls = tls
        scheme, port = "https" if tls else "http", self._listening.getsockname()[1]
        self._shared = {"wsgi.url_scheme": scheme, "SERVER_NAME": host, "SERVER_PORT": str(port)}
        self.url = f"{scheme}://{host_and_port(host, port)}/"
        self._loop: asyncio.AbstractEventLoop
        self._stop = asyncio.Event()
        self._new_connection: Callable[[], _Connection]
        self._clients: set[asyncio.Task[None]] = set()
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES)
        self._thread = threading.Thread(target=self._run, name="pages", daemon=True)

    def __enter__(self) -> PageServer:
        self._loop = asyncio.new_event_loop()
        self._workers.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # the loop has crashed, and is closed
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(ANSWER_S + 2 * CLOSE_S)
        self._workers.stop()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        """Accept connections until the stop; then finish the running requests and close all connections."""
        server = web.Server(self._answer, request_factory=_Request)
        self._new_connection = partial(_Connection, server)
        with self._listening:
            self._watch()
            await self._stop.wait()
            self._loop.remove_reader(self._listening)
        server.pre_shutdown()
        await server.shutdown(ANSWER_S / 2)  # waits once for handlers and once for connections, half of it each
        if self._clients:
            await asyncio.wait(self._clients, timeout=CLOSE_S)
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _watch(self) -> None:
        if not self._stop.is_set():
            self._loop.add_reader(self._listening, self._take)

    def _take(self) -> None:
        """Accept the next connection. When all places are taken, others wait in the queue of the system."""
        try:
            client, _ = self._listening.accept()
        except BlockingIOError:  # the client has given up in the meantime
            return
        except OSError as error:
            log.warning("no connection can be taken for now: %s", error_words(error))
            self._loop.remove_reader(self._listening)
            self._loop.call_later(NO_FILES_S, self._watch)
            return
        client.setblocking(False)
        task = self._loop.create_task(self._hold(client))
        self._clients.add(task)
        task.add_done_callback(self._free_place)
        if len(self._clients) >= CONNECTIONS:
            self._loop.remove_reader(self._listening)

    def _free_place(self, task: asyncio.Task[None]) -> None:
        self._clients.discard(task)
        self._watch()

    async def _hold(self, client: socket.socket) -> None:
        """Hold one connection from its handshake to its end."""
        limits = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": CLOSE_S} if self._tls else {}
        try:
            transport, connection = await self._loop.connect_accepted_socket(
                self._new_connection, client, ssl=self._tls, **limits
            )
        except OSError as error:
            log.debug("a client did not get as far as a request: %s", error)
            return
        try:
            await connection.closed.wait()
        finally:
            transport.abort()

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        length = request.content_length
        if not request.body_exists or (length or 0) > MAX_BODY_BYTES:
            return await self._run_application(connection, request, b"")
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if length is not None and length <= LARGE_BODY_BYTES:
            return await self._run_application(connection, request, await request.read())
        async with self._large_bodies:
            return await self._run_application(connection, request, await request.read())

    async def _run_application(self, connection: _Connection, request: web.BaseRequest, body: bytes) -> web.Response:
        connection.stop_clock()  # the time of the application does not count against the client
        try:
            return await self._workers.answer(environ_of(request, body, self._shared))
        except Exception:
            log.exception("the application failed at %s %s", request.method, request.path[:200])
            raise web.HTTPInternalServerError from None
        finally:
            connection.start_clock()


class _Connection(web.RequestHandler):
    """One connection, with a clock that runs while it waits for the client to send a request or take an answer."""

    __slots__ = ("_clock", "_open", "closed")

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=IDLE_S,
            auto_decompress=False,
            access_log=NO_ACCESS_LOG,
        )
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._open = transport
        self._clock: asyncio.TimerHandle | None = None
        self.start_clock()
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.stop_clock()
        self.closed.set()
        super().connection_lost(exc)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log aiohttp's complaints at DEBUG: any client can cause them."""
        log.debug(*args, **kw)

    def start_clock(self) -> None:
        """Give the client time to take an answer and send a whole request; then cut the connection."""
        self.stop_clock()
        if not self.closed.is_set():
            self._clock = asyncio.get_running_loop().call_later(REQUEST_S, self._open.abort)

    def stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


class _Request(web.BaseRequest):
    """A request that may be as long as the application takes."""

    def __init__(self, *parts: Any) -> None:
        message, payload, connection, writer, task = parts
        loop = asyncio.get_running_loop()
        super().__init__(message, payload, connection, writer, task, loop, client_max_size=MAX_BODY_BYTES)


def _listen(host: str, port: int) -> socket.socket:
    try:
        # One address only: localhost may have two, and a port that is free on one may be taken on the other.
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise SettingError(
            f"The pages cannot listen on {host} port {port}: {error_words(error)}. "
            "Stop what uses it, or choose another with --host and --port (CART_HOST, CART_PORT)."
        ) from None
    listening.setblocking(False)
    return listening
