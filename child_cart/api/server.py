"""The pages on a production WSGI server (waitress), in threads beside the cart's loop."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, Final

import waitress.server
import waitress.wasyncore
from flask import Flask

from ..network.settings import SettingError
from .app import MAX_BODY_BYTES

THREADS: Final = 8
CONNECTIONS: Final = 1000
SILENT_CONNECTION_S: Final = 30
JOIN_S: Final = 5.0


class PageServer:
    """Serve an application from the moment of entering the block to its end.

    Raises:
        SettingError: when built, if the address cannot be listened on.
    """

    def __init__(self, application: Flask, host: str, port: int) -> None:
        try:
            # Bound here: the server would leave threads behind where it cannot bind. And to one address: a name like
            # localhost may have two, and a free port of one need not be free at the other.
            family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listening = socket.create_server(address[:2], family=family)
        except (OSError, UnicodeError) as error:
            number = getattr(error, "errno", None) or 0  # a name that cannot be resolved has one below zero
            why = os.strerror(number) if number > 0 else getattr(error, "strerror", None) or error
            raise SettingError(
                f"The pages cannot listen on {host} port {port}: {why}. "
                "Stop what uses it, or choose another with --host and --port (CART_HOST, CART_PORT)."
            ) from None
        self._ending = False
        self._sockets: dict[int, Any] = {}
        self._server: Any = waitress.server.create_server(
            application,
            self._sockets,
            sockets=[listening],
            threads=THREADS,
            max_request_body_size=MAX_BODY_BYTES,
            connection_limit=CONNECTIONS,
            channel_timeout=SILENT_CONNECTION_S,
            ident="cart",
        )
        self._thread = threading.Thread(target=self._serve, name="pages", daemon=True)
        shown, port = self._server.effective_host, self._server.effective_port
        self.url = f"http://[{shown}]:{port}/" if ":" in shown else f"http://{shown}:{port}/"

    def __enter__(self) -> PageServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Requests under way get their answers. Sockets are closed when the loop is over, never under it; and all of
        # them, as a page that goes on asking would keep the server's own loop running.
        self._server.task_dispatcher.shutdown(timeout=JOIN_S)
        self._ending = True
        self._server.pull_trigger()
        self._thread.join(JOIN_S)
        waitress.wasyncore.close_all(self._sockets)

    def _serve(self) -> None:
        limits = self._server.adj
        while not self._ending:
            waitress.wasyncore.loop(limits.asyncore_loop_timeout, limits.asyncore_use_poll, self._sockets, count=1)
