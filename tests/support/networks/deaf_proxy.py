"""A TCP proxy that can swallow an answer: the server has done what the client asked, and the client is not told."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class DeafProxy:
    """Between a client and a port of the loopback.

    Attributes:
        deaf_to: a connection on which this is asked is broken instead of answered.
        times: how often.
        swallowed: how often that has happened.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.deaf_to = b""
        self.times = 0
        self.swallowed = 0
        self._sockets = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in self._sockets:
            _end(each)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                waits_in_vain = threading.Event()
                for work in ((client, server, self._ask), (server, client, self._answer)):
                    threading.Thread(target=self._pass, args=(*work, waits_in_vain), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, check, waits_in_vain: threading.Event) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not check(data, waits_in_vain):
                    break
                target.sendall(data)
        _end(source)
        _end(target)

    def _ask(self, data: bytes, waits_in_vain: threading.Event) -> bool:
        if self.times and self.deaf_to in data:
            self.times -= 1
            waits_in_vain.set()
        return True

    def _answer(self, data: bytes, waits_in_vain: threading.Event) -> bool:
        self.swallowed += waits_in_vain.is_set()
        return not waits_in_vain.is_set()


def _end(each: socket.socket) -> None:
    with suppress(OSError):
        each.shutdown(socket.SHUT_RDWR)
    each.close()
