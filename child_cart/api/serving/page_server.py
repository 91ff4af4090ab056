"""The page server: aiohttp in a thread with its own event loop, and the application in worker threads.

No client holds a thread while it sends or receives, so a slow one does not delay the others. Requests that may take
seconds have threads of their own. An address that holds many connections open loses those that wait longest, and one
that opens them without end is served in turns with the others.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, closing, suppress
from functools import partial
from typing import Final

from aiohttp import web
from flask import Flask

from cart_common.process.addresses import Network, host_and_port
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError

from ..app import MAX_BODY_BYTES
from .accounts import ClientAccounts
from .arrivals import Arrivals
from .body_places import BodyPlaces
from .connection import Connection, PageRequest
from .lanes import LANE_FULL, LARGE_BODIES, MOST_WAITING, ONE_HAS_A, THREADS, Lane, lane_of
from .places import Place, Places
from .wsgi import Environ, FileAnswer, Workers, add_body, environ_of

log = logging.getLogger("cart.pages")

BACKLOG: Final = 1024
CONNECTIONS: Final = 500
CONNECTIONS_OF_ONE: Final = 100
"""Of one address: a browser holds six, and several may come from one through a NAT or a proxy."""
ACCEPTED_AT_ONCE: Final = 32
ARRIVALS: Final = 1000
"""Connections that are accepted and wait to be set up."""
SET_UP_AT_ONCE: Final = 8
"""Far fewer than one address has places: so none loses its place while its first bytes are being read."""
SET_UP_PER_S: Final = 500.0
"""Connections at http:// of all clients together: about as many as the application has answers for."""
HANDSHAKES_PER_S: Final = 150.0
"""The same at https://, where each takes a signature of the cart."""
LARGE_BODY_BYTES: Final = 64 * 1024
BODY_PLACE_S: Final = 20.0
"""How long a large body waits for its place: less than programs and proxies wait for an answer."""
PIECE_BYTES: Final = 256 * 1024
HANDSHAKE_S: Final = 10.0
HEAD_S: Final = 10.0
IDLE_S: Final = 30.0
REQUEST_S: Final = 60.0
ANSWER_S: Final = 4.0
CLOSE_S: Final = 1.0
NO_FILES_S: Final = 0.5
ALL_ANSWERED_S: Final = 0.05


class PageServer:
    """Serve an application while the ``with`` block runs.

    Args:
        application: what to serve.
        host: the address, or a name of it.
        port: 0 takes a free one.
        tls: serve only https:// with this; None for http://.
        proxies: networks of the proxies that tell the address of a client.

    Raises:
        SettingError: on construction, if it cannot listen on the address.
    """

    def __init__(
        self,
        application: Flask,
        host: str,
        port: int,
        tls: ssl.SSLContext | None = None,
        proxies: Sequence[Network] = (),
    ) -> None:
        self._accounts = ClientAccounts(proxies)
        self._listening = _listen(host, port)
        self._application = application
        self._workers = {lane: Workers(application, THREADS[lane], MOST_WAITING.get(lane)) for lane in Lane}
        self._tls = tls
        scheme, port = "https" if tls else "http", self._listening.getsockname()[1]
        self._shared = {"wsgi.url_scheme": scheme, "SERVER_NAME": host, "SERVER_PORT": str(port)}
        self.url = f"{scheme}://{host_and_port(host, port)}/"
        self._loop: asyncio.AbstractEventLoop
        self._stop = asyncio.Event()
        self._new_connection: Callable[[Place], Connection]
        self._places = Places(CONNECTIONS, CONNECTIONS_OF_ONE)
        per_s = HANDSHAKES_PER_S if tls else SET_UP_PER_S
        self._arrivals: Arrivals[socket.socket] = Arrivals(ARRIVALS, per_s, SET_UP_AT_ONCE)
        self._next_turn: asyncio.TimerHandle | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._body_places = {
            lane: BodyPlaces(most, most // ONE_HAS_A, BODY_PLACE_S) for lane, most in LARGE_BODIES.items()
        }
        self._thread = threading.Thread(target=self._run, name="pages", daemon=True)

    def __enter__(self) -> PageServer:
        self._loop = asyncio.new_event_loop()
        for workers in self._workers.values():
            workers.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(RuntimeError):  # the loop has crashed, and is closed
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(ANSWER_S + 2 * CLOSE_S)
        for workers in self._workers.values():
            workers.stop()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        """Accept connections until the stop; then finish the running requests and close all connections."""
        server = web.Server(self._answer, request_factory=PageRequest, handler_cancellation=True)
        self._new_connection = partial(Connection, server, HEAD_S, IDLE_S)
        with self._listening:
            self._watch()
            await self._stop.wait()
            self._loop.remove_reader(self._listening)
        if self._next_turn is not None:
            self._next_turn.cancel()
        for arrived in self._arrivals.take_all():
            arrived.close()
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
        """Accept what has come, and set up whose turn it is; the loop serves the others before it calls this again."""
        for _ in range(ACCEPTED_AT_ONCE):
            if not self._accept():
                return
            self._set_up_next()

    def _accept(self) -> bool:
        """Accept the next connection; return whether there may be another."""
        if self._places.are_all_answered:
            self._rest(ALL_ANSWERED_S)  # further connections wait in the queue of the system
            return False
        try:
            client, (address, *_) = self._listening.accept()
        except BlockingIOError:  # there is none, or the client has given up in the meantime
            return False
        except OSError as error:
            log.warning("no connection can be taken for now: %s", error_words(error))
            self._rest(NO_FILES_S)
            return False
        given_up = self._arrivals.add(self._accounts.of_connection(address), client)
        if given_up is not None:
            given_up.close()
        return True

    def _rest(self, seconds: float) -> None:
        self._loop.remove_reader(self._listening)
        self._loop.call_later(seconds, self._watch)

    def _set_up_next(self) -> None:
        """Set up connections in their turns, and come back when the next may be."""
        while self._arrivals:
            now = self._loop.time()
            wait_s = self._arrivals.wait_s(now)
            if wait_s > 0:
                if self._next_turn is None:
                    self._next_turn = self._loop.call_later(wait_s, self._come_back)
                return
            self._admit(*self._arrivals.take(now))

    def _come_back(self) -> None:
        self._next_turn = None
        self._set_up_next()

    def _admit(self, network: str, client: socket.socket) -> None:
        """Give a connection a place. Where there is none, the one that has waited for longest gives up its own."""
        if self._places.is_full_for(network) and not self._free_place(network):
            client.close()
            return
        client.setblocking(False)
        place = Place(network, self._loop.time())
        place.holder = task = self._loop.create_task(self._hold(client, place))
        self._clients.add(task)
        self._places.enter(place)

        def ended(_: asyncio.Task[None]) -> None:
            self._clients.discard(task)
            self._places.leave(place)
            if not place.is_held:  # cancelled before it began
                client.close()

        task.add_done_callback(ended)

    def _free_place(self, network: str) -> bool:
        """Close a connection so that one of this network fits; return False if all are being answered."""
        place = self._places.to_give_up(network)
        if place is None:
            return False
        self._places.leave(place)
        if place.holder is not None:
            place.holder.cancel()
        return True

    async def _hold(self, client: socket.socket, place: Place) -> None:
        """Hold one connection from its handshake to its end."""
        place.is_held = True
        limits = {"ssl_handshake_timeout": HANDSHAKE_S, "ssl_shutdown_timeout": CLOSE_S} if self._tls else {}
        connection = self._new_connection(place)
        try:
            await self._loop.connect_accepted_socket(lambda: connection, client, ssl=self._tls, **limits)
            await connection.closed.wait()
        except OSError as error:
            log.debug("a client did not get as far as a request: %s", error)
        finally:
            await connection.end(client)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, Connection)
        environ, client = environ_of(request, self._shared), self._accounts.of_request(request)
        lane, length = lane_of(self._application, environ), request.content_length
        if not request.body_exists or (length or 0) > MAX_BODY_BYTES:
            return await self._run_application(connection, request, environ, lane, client)
        async with AsyncExitStack() as held:
            if length is None or length > LARGE_BODY_BYTES:
                connection.start_clock(None)
                try:
                    await held.enter_async_context(self._body_places[lane].place_of(client))
                except TimeoutError:
                    environ[LANE_FULL] = lane
                    return await self._run_application(connection, request, environ, Lane.SHOP, client)
            connection.start_clock(REQUEST_S)
            if request.headers.get("Expect", "").lower() == "100-continue":
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            add_body(environ, await request.read())
            return await self._run_application(connection, request, environ, lane, client)

    async def _run_application(
        self, connection: Connection, request: web.BaseRequest, environ: Environ, lane: Lane, client: str
    ) -> web.StreamResponse:
        connection.stop_clock()  # the time of the application does not count against the client
        if self._workers[lane].is_full_for(client):
            environ[LANE_FULL], lane = lane, Lane.SHOP
        try:
            answer = await self._workers[lane].answer(client, environ)
        except Exception:
            log.exception("the application failed at %s %s", request.method, request.path[:200])
            raise web.HTTPInternalServerError from None
        finally:
            connection.start_clock(REQUEST_S)
        if isinstance(answer, FileAnswer):
            await _send_file(connection, request, answer)
        return answer


async def _send_file(connection: Connection, request: web.BaseRequest, answer: FileAnswer) -> None:
    """Send a file as fast as the client takes it, with no more than a piece of it in memory."""
    with closing(answer.file):
        await answer.prepare(request)
        while piece := await asyncio.to_thread(answer.file.read, PIECE_BYTES):
            connection.start_clock(REQUEST_S)
            await answer.write(piece)
        await answer.write_eof()


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
