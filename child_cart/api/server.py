"""The pages on a production WSGI server (waitress), in threads beside the cart's loop."""

from __future__ import annotations

import threading
from typing import Any, Final

import waitress.server
from flask import Flask

from ..network.settings import SettingError

THREADS: Final = 8
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
JOIN_S: Final = 5.0


class PageServer:
    """Serve an application from the moment of entering the block to its end.

    Raises:
        SettingError: when built, if the address cannot be listened on.
    """

    def __init__(self, application: Flask, host: str, port: int) -> None:
        try:
            self._server: Any = waitress.server.create_server(
                application, host=host, port=port, threads=THREADS, max_request_body_size=MAX_BODY_BYTES, ident="cart"
            )
        except OSError as error:
            raise SettingError(
                f"The pages cannot listen on {host} port {port}: {error.strerror or error}. "
                "Stop what uses it, or choose another with --host and --port (CART_HOST, CART_PORT)."
            ) from None
        self._thread = threading.Thread(target=self._serve, name="pages", daemon=True)
        self.url = f"http://{self._server.effective_host}:{self._server.effective_port}/"

    def __enter__(self) -> PageServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        # Waking the server's own loop is how it learns of the end; closing its sockets under it would race.
        self._server.pull_trigger()
        self._server.close()
        self._thread.join(JOIN_S)
        self._server.task_dispatcher.shutdown()

    def _serve(self) -> None:
        self._server.run()
