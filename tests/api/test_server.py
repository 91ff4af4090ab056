"""The page server on real sockets: a free port, a busy one, and an end that open pages do not hold up."""

from __future__ import annotations

import http.client
import logging
import socket
import threading
import time

import pytest
from flask import Flask

from child_cart.api.server import PageServer
from child_cart.network.settings import SettingError


@pytest.fixture
def application() -> Flask:
    application = Flask(__name__)
    application.add_url_rule("/", view_func=lambda: "here", endpoint="here")
    return application


def connect(server: PageServer) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(server.url.removeprefix("http://").rstrip("/"), timeout=5)


def ask(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_pages_are_served_while_the_block_lasts(application: Flask, host: str) -> None:
    with PageServer(application, host, 0) as server:
        connection = connect(server)
        assert ask(connection) == "here"
        connection.close()
    late = connect(server)
    with pytest.raises(ConnectionRefusedError):
        late.request("GET", "/")
    late.close()


def test_a_busy_port_is_named_with_the_way_out(application: Flask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=rf"127.0.0.1 port {port}.*--port \(CART_HOST, CART_PORT\)"):
            PageServer(application, "127.0.0.1", port)


def test_a_host_that_is_none_is_named(application: Flask) -> None:
    with pytest.raises(SettingError, match=r"no\.such\.host\.invalid"):
        PageServer(application, "no.such.host.invalid", 0)


def test_an_open_page_does_not_hold_up_the_end(application: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with PageServer(application, "127.0.0.1", 0) as server:
        kept_alive = connect(server)
        ask(kept_alive)
        polls = threading.Thread(target=poll_until_refused, args=(kept_alive,))
        polls.start()
        left_at = time.monotonic()
    took_s = time.monotonic() - left_at
    polls.join()
    assert took_s < 4  # the thread would be given up after 5 s
    assert not server._thread.is_alive()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


def poll_until_refused(connection: http.client.HTTPConnection) -> None:
    try:
        while True:
            ask(connection)
    except (OSError, http.client.HTTPException):
        connection.close()


def test_a_request_under_way_is_answered_at_the_end() -> None:
    begun, application = threading.Event(), Flask(__name__)

    def slow() -> str:
        begun.set()
        time.sleep(0.2)
        return "kept"

    application.add_url_rule("/", view_func=slow)
    answers: list[str] = []
    with PageServer(application, "127.0.0.1", 0) as server:
        connection = connect(server)
        asking = threading.Thread(target=lambda: answers.append(ask(connection)))
        asking.start()
        begun.wait(5)
    asking.join()
    connection.close()
    assert answers == ["kept"]
