"""The page server on real sockets, with and without TLS: its address, a clean end, slow and wrong clients."""

from __future__ import annotations

import asyncio
import errno
import gc
import http.client
import json
import logging
import os
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from urllib.parse import quote

import pytest
from flask import Flask, Response, jsonify, request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.networks.certificates import Authority
from support.processes.programs import wait_for
from werkzeug.wsgi import wrap_file

from cart_common.process.addresses import networks_in
from cart_common.process.settings import SettingError
from cart_common.process.tls import serving_context
from child_cart.api.app import MAX_BODY_BYTES
from child_cart.api.serving import lanes, page_server
from child_cart.api.serving.connection import Connection
from child_cart.api.serving.lanes import THREADS, Lane, answered_in, refuse_when_full
from child_cart.api.serving.page_server import PageServer

SHOP_THREADS = THREADS[Lane.SHOP]
LARGE_ANSWER_BYTES = 12_000_000  # more than the sockets of this machine hold
ASK_SLOWLY = b"GET /slow HTTP/1.1\r\nHost: cart\r\n\r\n"
HALF_A_HEAD = b"GET / HTTP/1.1\r\nHost: cart\r\nX-Slow: "
HALF_A_BODY = b"POST /told HTTP/1.1\r\nHost: cart\r\nContent-Length: 1000\r\n\r\nhalf"
HALF_A_LARGE_BODY = b"POST /told HTTP/1.1\r\nHost: cart\r\nContent-Length: 1000000\r\n\r\nhalf"
LARGE_BODY = b"x" * 100_000


class Pages:
    """An application and its clients, at http:// or at https://."""

    def __init__(self, authority: Authority | None) -> None:
        self.application = Flask(__name__)
        self.application.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
        self.application.add_url_rule("/", view_func=lambda: "here", endpoint="here")
        self.application.add_url_rule("/told", view_func=_told, methods=["GET", "POST"])
        self.application.add_url_rule("/told/<path:rest>", view_func=_told)
        self.authority = authority
        certificate, key = authority.vouch() if authority else ("", "")
        self.tls = serving_context(certificate, key, "CART")

    def serve(self, host: str = "127.0.0.1", proxies: str = "") -> PageServer:
        return PageServer(self.application, host, 0, self.tls, networks_in(proxies))

    def connect(self, server: PageServer, source: str = "127.0.0.1") -> http.client.HTTPConnection:
        if self.authority is None:
            return http.client.HTTPConnection("127.0.0.1", _port(server), timeout=10, source_address=(source, 0))
        trusting = ssl.create_default_context(cafile=self.authority.path)
        return http.client.HTTPSConnection(
            "127.0.0.1", _port(server), timeout=10, source_address=(source, 0), context=trusting
        )

    def socket(self, server: PageServer, sent: bytes = b"") -> socket.socket:
        """Return an open connection over which this was sent."""
        connection = self.connect(server)
        connection.connect()
        connection.sock.sendall(sent)
        opened: socket.socket = connection.sock
        return opened

    def ask(self, server: PageServer) -> str:
        connection = self.connect(server)
        try:
            return ask(connection)
        finally:
            connection.close()

    def told(self, server: PageServer, method: str = "GET", path: str = "/told", **parts: object) -> dict[str, str]:
        connection = self.connect(server)
        try:
            connection.request(method, path, **parts)  # type: ignore[arg-type]
            return dict(_json(connection.getresponse()))
        finally:
            connection.close()


def _told(rest: str = "") -> Response:
    """Tell what the application was told."""
    texts = {name: value for name, value in request.environ.items() if isinstance(value, str)}
    return jsonify(url=request.url, body=request.get_data(as_text=True), **texts)


def _json(answer: http.client.HTTPResponse) -> dict[str, str]:
    return dict(json.load(answer))


def _port(server: PageServer) -> int:
    return int(server.url.rstrip("/").rpartition(":")[2])


def ask(connection: http.client.HTTPConnection) -> str:
    connection.request("GET", "/")
    return connection.getresponse().read().decode()


@pytest.fixture(params=["http", "https"])
def pages(request: pytest.FixtureRequest, tmp_path: Path) -> Pages:
    return Pages(Authority(tmp_path) if request.param == "https" else None)


@pytest.fixture
def plain() -> Pages:
    return Pages(None)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times short enough to be waited for."""
    times = {"HEAD_S": 0.3, "REQUEST_S": 0.3, "HANDSHAKE_S": 0.3, "ANSWER_S": 0.2, "CLOSE_S": 0.2}
    for name, value in times.items():
        monkeypatch.setattr(page_server, name, value)


@pytest.fixture
def quick_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end does not wait for slow clients as long as it would."""
    monkeypatch.setattr(page_server, "ANSWER_S", 0.2)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Connections that are closed at the end, whatever became of them."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


# Where and how long.


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_pages_are_served_while_the_block_lasts(plain: Pages, host: str) -> None:
    with plain.serve(host) as server:
        assert server.url == f"http://{host}:{_port(server)}/"
        connection = http.client.HTTPConnection(host, _port(server), timeout=5)
        assert ask(connection) == "here"
        connection.close()
    with pytest.raises(ConnectionRefusedError):
        ask(connection)


def test_an_ipv6_address_is_told_in_brackets(plain: Pages) -> None:
    with plain.serve("::1") as server, urllib.request.urlopen(server.url, timeout=10) as answer:
        assert server.url.startswith("http://[::1]:")
        assert answer.read() == b"here"


def test_a_busy_port_is_named_with_the_way_out(plain: Pages) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingError, match=rf"127.0.0.1 port {port}.*--port \(CART_HOST, CART_PORT\)"):
            PageServer(plain.application, "127.0.0.1", port)


def test_a_host_that_is_none_is_named(plain: Pages) -> None:
    with pytest.raises(SettingError, match=r"no\.such\.host\.invalid"):
        PageServer(plain.application, "no.such.host.invalid", 0)


def test_an_open_page_does_not_hold_up_the_end(pages: Pages, caplog: pytest.LogCaptureFixture) -> None:
    with pages.serve() as server:
        kept_alive, idle = pages.connect(server), pages.connect(server)
        ask(kept_alive)
        ask(idle)
        polls = threading.Thread(target=poll_until_refused, args=(kept_alive,))
        polls.start()
    polls.join()
    idle.close()
    assert not server._thread.is_alive()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def poll_until_refused(connection: http.client.HTTPConnection) -> None:
    try:
        while True:
            ask(connection)
    except (OSError, http.client.HTTPException):
        connection.close()


def test_a_request_under_way_is_answered_at_the_end(pages: Pages) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def slow() -> str:
        begun.set()
        may_end.wait(5)
        return "kept"

    pages.application.add_url_rule("/slow", view_func=slow)
    answers: list[bytes] = []

    def ask_slowly() -> None:
        connection.request("GET", "/slow")
        answers.append(connection.getresponse().read())

    with pages.serve() as server:
        connection = pages.connect(server)
        asking = threading.Thread(target=ask_slowly)
        asking.start()
        begun.wait(5)
        refused = threading.Thread(target=_end_when_refused, args=(server, may_end))
        refused.start()
    asking.join()
    refused.join()
    connection.close()
    assert answers == [b"kept"]


def _end_when_refused(server: PageServer, may_end: threading.Event) -> None:
    try:
        while True:
            socket.create_connection(("127.0.0.1", _port(server)), timeout=5).close()
    except OSError:
        may_end.set()


def test_a_request_that_never_ends_does_not_hold_up_the_end(
    pages: Pages, quick: None, opened: list[socket.socket]
) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def stuck() -> str:
        begun.set()
        may_end.wait(30)
        return "late"

    pages.application.add_url_rule("/stuck", view_func=stuck)
    with pages.serve() as server:
        opened.append(pages.socket(server, b"GET /stuck HTTP/1.1\r\nHost: cart\r\n\r\n"))
        assert begun.wait(5)
    assert not server._thread.is_alive()
    assert opened[0].recv(100) == b""
    may_end.set()


# What the application is told.


def test_the_application_knows_the_client_and_how_it_came(pages: Pages) -> None:
    with pages.serve() as server:
        connection = pages.connect(server, source="127.0.0.9")
        connection.request("GET", "/told?a=%20b", headers={"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "gopher"})
        told = _json(connection.getresponse())
        connection.close()
    scheme = "https" if pages.tls else "http"
    assert told["wsgi.url_scheme"] == scheme
    assert told["REMOTE_ADDR"] == "127.0.0.9"
    assert told["url"].startswith(f"{scheme}://127.0.0.1:{_port(server)}/told")
    assert told["QUERY_STRING"] == "a=%20b"
    assert told["SERVER_PORT"] == str(_port(server))


def test_bodies_arrive_whole_however_they_are_sent(pages: Pages) -> None:
    body = "é" * 300_000
    with pages.serve() as server:
        assert pages.told(server, "POST", body=body.encode())["body"] == body
        chunked = pages.told(server, "POST", body=iter([b"ab", b"c" * 70_000]), encode_chunked=True)
        assert chunked["body"] == "ab" + "c" * 70_000
        assert chunked["CONTENT_LENGTH"] == "70002"
        assert "HTTP_TRANSFER_ENCODING" not in chunked
        assert pages.told(server, "POST", body=b"")["CONTENT_LENGTH"] == "0"


def test_a_body_that_is_too_large_is_refused_by_the_application(plain: Pages) -> None:
    plain.application.register_error_handler(413, lambda _: ("too large for us", 413))
    with plain.serve() as server:
        connection = plain.connect(server)
        connection.request("POST", "/told", body=b"x" * (MAX_BODY_BYTES + 1))
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (413, b"too large for us")
        connection.close()
        connection.request("POST", "/told", body=iter([b"x" * MAX_BODY_BYTES, b"x"]), encode_chunked=True)
        assert connection.getresponse().status == 413
        connection.close()
        assert len(plain.told(server, "POST", body=b"x" * MAX_BODY_BYTES)["body"]) == MAX_BODY_BYTES


def test_a_client_that_asks_first_is_told_to_go_on(plain: Pages, opened: list[socket.socket]) -> None:
    with plain.serve() as server:
        asking = plain.socket(
            server, b"POST /told HTTP/1.1\r\nHost: cart\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
        )
        opened.append(asking)
        assert asking.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        asking.sendall(b"body")
        assert b"200 OK" in asking.recv(100)


def test_headers_with_an_underscore_cannot_pass_for_others(plain: Pages) -> None:
    with plain.serve() as server:
        told = plain.told(server, headers={"X_Real": "false", "X-Real": "true", "Cookie": "a=1"})
    assert told["HTTP_X_REAL"] == "true"
    assert told["HTTP_COOKIE"] == "a=1"


def test_headers_that_come_twice_are_joined(plain: Pages) -> None:
    with plain.serve() as server:
        connection = plain.connect(server)
        connection.putrequest("GET", "/told")
        for name, value in (("Cookie", "a=1"), ("Cookie", "b=2"), ("X-Twice", "1"), ("X-Twice", "\xe9")):
            connection.putheader(name, value)
        connection.endheaders()
        told = _json(connection.getresponse())
        connection.close()
    assert told["HTTP_COOKIE"] == "a=1; b=2"
    assert told["HTTP_X_TWICE"] == "1, \xe9"


def test_answers_arrive_as_the_application_gave_them(plain: Pages) -> None:
    def view() -> Response:
        answer = Response(b"made", status=418, mimetype="text/x-tea")
        answer.set_cookie("a", "1")
        answer.set_cookie("b", "2")
        return answer

    plain.application.add_url_rule("/view", view_func=view)
    with plain.serve() as server:
        for method, body in (("GET", b"made"), ("HEAD", b"")):
            connection = plain.connect(server)
            connection.request(method, "/view")
            answer = connection.getresponse()
            assert (answer.status, answer.reason, answer.read()) == (418, "I'M A TEAPOT", body)
            assert answer.headers["Content-Length"] == "4"
            assert answer.headers["Content-Type"].startswith("text/x-tea")
            assert answer.headers["Server"] == "cart"
            assert answer.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2; Path=/"]
            connection.close()


def test_an_application_that_fails_costs_one_answer(plain: Pages, caplog: pytest.LogCaptureFixture) -> None:
    def broken(*_: object) -> list[bytes]:
        raise RuntimeError("broken")

    working, plain.application.wsgi_app = plain.application.wsgi_app, broken  # type: ignore[method-assign]
    with plain.serve() as server:
        connection = plain.connect(server)
        connection.request("GET", "/")
        assert connection.getresponse().status == 500
        connection.close()
        assert "broken" in caplog.text
        plain.application.wsgi_app = working  # type: ignore[method-assign]
        assert plain.ask(server) == "here"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_characters="/\n", exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_every_path_arrives(standing: tuple[Pages, PageServer], names: list[str]) -> None:
    pages, server = standing
    told = pages.told(server, path="/told/" + "/".join(quote(name, safe="") for name in names))
    assert told["PATH_INFO"].encode("latin-1").decode() == "/told/" + "/".join(names)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([b"", b"GET ", b"GET / HTTP/1.1\r\n", HALF_A_HEAD, HALF_A_BODY]))
def test_what_is_no_request_harms_nobody(standing: tuple[Pages, PageServer], sent: bytes, before: bytes) -> None:
    pages, server = standing
    pages.socket(server, before + sent).close()
    assert pages.ask(server) == "here"


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://cart/told HTTP/1.1", b"200"),
        (b"GET /told HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket", b"400"),
        (b"GET //told HTTP/1.1", b"200"),
        (b"GET /told/../told HTTP/1.1", b"200"),
        (b"OPTIONS * HTTP/1.1", b"404"),
        (b"CONNECT cart:443 HTTP/1.1", b"404"),
        (b"GET /" + b"x" * 20_000 + b" HTTP/1.1", b"400"),
        (b"GET /told HTTP/1.1\r\nContent-Length: 4\r\nTransfer-Encoding: chunked", b"400"),
        (b"POST /told HTTP/1.1\r\nContent-Length: -4", b"400"),
    ],
)
def test_odd_requests_are_answered(
    standing: tuple[Pages, PageServer],
    opened: list[socket.socket],
    caplog: pytest.LogCaptureFixture,
    line: bytes,
    status: bytes,
) -> None:
    pages, server = standing
    opened.append(pages.socket(server, line + b"\r\nHost: cart\r\n\r\n"))
    assert opened[0].recv(12)[9:] == status
    assert pages.ask(server) == "here"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.fixture
def standing(plain: Pages) -> Iterator[tuple[Pages, PageServer]]:
    with plain.serve() as server:
        yield plain, server


# Clients that are slow.


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY, HALF_A_LARGE_BODY])
def test_slow_clients_hold_up_nobody(pages: Pages, quick_end: None, opened: list[socket.socket], sent: bytes) -> None:
    with pages.serve() as server:
        opened.extend(pages.socket(server, sent) for _ in range(5 * SHOP_THREADS))
        assert pages.ask(server) == "here"
        assert pages.told(server, "POST", body=b"small")["body"] == "small"


def test_clients_that_take_no_answer_hold_up_nobody(pages: Pages, quick_end: None, opened: list[socket.socket]) -> None:
    pages.application.add_url_rule("/large", view_func=lambda: b"x" * LARGE_ANSWER_BYTES)
    with pages.serve() as server:
        opened.extend(
            pages.socket(server, b"GET /large HTTP/1.1\r\nHost: cart\r\n\r\n") for _ in range(SHOP_THREADS + 1)
        )
        assert pages.ask(server) == "here"


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY, HALF_A_LARGE_BODY])
def test_a_request_that_is_never_whole_is_cut_off(
    pages: Pages, quick: None, opened: list[socket.socket], sent: bytes
) -> None:
    with pages.serve() as server:
        opened.append(pages.socket(server, sent))
        assert _end_of(opened[0])


def test_an_answer_that_is_never_taken_is_cut_off(
    pages: Pages, quick: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS", 1)
    pages.application.add_url_rule("/large", view_func=lambda: b"x" * LARGE_ANSWER_BYTES)
    with pages.serve() as server:
        opened.append(pages.socket(server, b"GET /large HTTP/1.1\r\nHost: cart\r\n\r\n"))
        assert pages.ask(server) == "here"  # in the only place


def test_no_connection_is_left_open_at_the_end(
    tmp_path: Path, quick: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    pages = Pages(Authority(tmp_path))
    monkeypatch.setattr(page_server, "CLOSE_S", 1.0)
    with pages.serve() as server:
        # The server ends the connection with its answer, and then waits for a client that does not end it in turn.
        opened.append(pages.socket(server, b"GET /told HTTP/1.1\r\nHost: cart\r\nConnection: close\r\n\r\n"))
        assert _end_of(opened[0])
        monkeypatch.setattr(page_server, "CLOSE_S", 0.05)
    server._thread.join(10)
    assert not server._thread.is_alive()
    del server
    gc.collect()  # a connection that is left open is told here, and fails the test


def test_a_connection_that_loses_its_place_as_it_is_set_up_is_cut(
    pages: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transport that is cancelled in that moment ends by itself only when its client agrees."""

    class Displaced(Connection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            if self.place.holder is not None:
                self.place.holder.cancel()

    monkeypatch.setattr(page_server, "Connection", Displaced)
    monkeypatch.setattr(page_server, "CLOSE_S", 30.0)
    with pages.serve() as server:
        opened.append(pages.socket(server))
        assert _end_of(opened[0])
        monkeypatch.setattr(page_server, "CLOSE_S", 0.05)
    server._thread.join(10)
    assert not server._thread.is_alive()
    del server
    gc.collect()  # a connection that is left open is told here, and fails the test


class EndlessFile(BytesIO):
    """A file of 64 MB, more than any socket holds, which says how much of it was read."""

    size, taken = 64_000_000, 0

    def read(self, most: int | None = -1, /) -> bytes:
        count = self.size - self.taken if most is None or most < 0 else min(most, self.size - self.taken)
        self.taken += count
        return bytes(count)


def test_a_file_is_read_as_its_client_takes_it(pages: Pages) -> None:
    file = EndlessFile()

    def view() -> Response:
        body = wrap_file(request.environ, file)
        return Response(body, headers={"Content-Length": str(file.size)}, direct_passthrough=True)

    pages.application.add_url_rule("/file", view_func=view)
    with pages.serve() as server:
        connection = pages.connect(server)
        connection.request("GET", "/file")
        answer = connection.getresponse()
        assert file.taken < file.size
        assert answer.headers["Content-Length"] == str(file.size)
        assert len(answer.read()) == file.size
        assert ask(connection) == "here"
        connection.close()
    assert file.closed


def test_a_file_whose_client_has_gone_is_closed(pages: Pages, quick_end: None, opened: list[socket.socket]) -> None:
    file = EndlessFile()
    pages.application.add_url_rule(
        "/file", view_func=lambda: Response(wrap_file(request.environ, file), direct_passthrough=True)
    )
    with pages.serve() as server:
        opened.append(pages.socket(server, b"GET /file HTTP/1.1\r\nHost: cart\r\n\r\n"))
        assert opened[0].recv(9) == b"HTTP/1.1 "
        opened.pop().close()
        wait_for(lambda: file.closed)


def test_a_file_that_nobody_waits_for_any_more_is_closed(
    plain: Pages, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, begun, may_end = EndlessFile(), threading.Event(), threading.Event()

    def view() -> Response:
        begun.set()
        may_end.wait(10)
        return Response(wrap_file(request.environ, file), direct_passthrough=True)

    plain.application.add_url_rule("/file", view_func=view)
    with plain.serve() as server:
        opened.append(plain.socket(server, b"GET /file HTTP/1.1\r\nHost: cart\r\n\r\n"))
        assert begun.wait(10)
        opened.pop().close()
        wait_for(lambda: len(server._places) == 0)
        may_end.set()
        wait_for(lambda: file.closed)


def test_the_application_may_take_longer_than_clients(pages: Pages, quick: None) -> None:
    pages.application.add_url_rule("/long", view_func=lambda: threading.Event().wait(0.6) or "done")
    with pages.serve() as server:
        connection = pages.connect(server)
        connection.request("GET", "/long")
        assert connection.getresponse().read() == b"done"
        assert ask(connection) == "here"
        connection.close()


def test_large_bodies_take_turns(
    plain: Pages, quick: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_place_for_large_bodies(monkeypatch, Lane.SHOP)
    with plain.serve() as server:
        opened.append(plain.socket(server, HALF_A_LARGE_BODY))
        assert plain.told(server, "POST", body=b"small")["body"] == "small"
        assert _end_of(opened[0])
        assert len(plain.told(server, "POST", body=b"x" * 100_000)["body"]) == 100_000


@pytest.mark.parametrize("sent", [b"", HALF_A_HEAD, HALF_A_BODY])
def test_an_address_without_a_place_left_gives_up_the_connection_that_waits_longest(
    pages: Pages, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS_OF_ONE", 3)
    with pages.serve() as server:
        opened.extend(pages.socket(server, sent) for _ in range(3))
        kept = pages.connect(server)
        assert ask(kept) == "here"
        assert _end_of(opened[0])
        assert ask(kept) == "here"
        kept.close()


def test_the_connections_of_one_address_cost_others_nothing(
    pages: Pages, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS", 8)
    with pages.serve() as server:
        kept = pages.connect(server, source="127.0.0.2")
        assert ask(kept) == "here"
        opened.extend(pages.socket(server, HALF_A_BODY) for _ in range(30))  # takes each place again when it is cut
        assert ask(kept) == "here"
        other = pages.connect(server, source="127.0.0.3")
        assert ask(other) == "here"
        kept.close()
        other.close()


def test_a_request_that_is_worked_on_keeps_its_place(
    pages: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS_OF_ONE", 2)
    slow = SlowView(pages, Lane.SHOP)
    with pages.serve() as server:
        opened.extend(pages.socket(server, ASK_SLOWLY) for _ in range(2))
        slow.wait_for_calls(2)
        with pytest.raises((OSError, http.client.HTTPException)):
            pages.ask(server)
        slow.may_end.set()
        assert [each.recv(100)[9:12] for each in opened] == [b"200", b"200"]


def test_connections_that_come_faster_than_they_are_set_up_wait_and_are_not_cut(
    pages: Pages, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS_OF_ONE", 2)
    monkeypatch.setattr(page_server, "SET_UP_AT_ONCE", 2)
    monkeypatch.setattr(page_server, "ARRIVALS", 20)
    for pace in ("SET_UP_PER_S", "HANDSHAKES_PER_S"):
        monkeypatch.setattr(page_server, pace, 0.001)
    with pages.serve() as server:
        address = ("127.0.0.1", _port(server))
        opened.extend(socket.create_connection(address, timeout=10) for _ in range(22))
        wait_for(lambda: len(server._arrivals) == 20)
        for each in opened:
            each.setblocking(False)
            with pytest.raises(BlockingIOError):
                each.recv(1)
        opened.append(socket.create_connection(address, timeout=10))
        opened[2].setblocking(True)
        assert _end_of(opened[2]), "the oldest of those that wait gives up"


ASK_SLOWLY_BEHIND = b"GET /slow HTTP/1.1\r\nHost: cart\r\nX-Forwarded-For: 192.0.2.%d\r\n\r\n"


def test_clients_behind_a_trusted_proxy_do_not_share_the_places_of_one(
    pages: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS_OF_ONE", 2)
    slow = SlowView(pages, Lane.SHOP)
    with pages.serve(proxies="127.0.0.1") as server:
        opened.extend(pages.socket(server, ASK_SLOWLY_BEHIND % number) for number in range(4))
        slow.wait_for_calls(4)
        slow.may_end.set()
        assert [each.recv(100)[9:12] for each in opened] == [b"200"] * 4


def test_a_client_behind_a_trusted_proxy_fills_the_lane_for_itself_alone(
    plain: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lanes.MOST_WAITING, Lane.PICTURES, 1)
    slow = SlowView(plain, Lane.PICTURES)
    with plain.serve(proxies="127.0.0.1") as server:
        opened.append(plain.socket(server, ASK_SLOWLY_BEHIND % 1))
        slow.wait_for_calls(1)
        opened.append(plain.socket(server, ASK_SLOWLY_BEHIND % 1))
        wait_for(lambda: server._workers[Lane.PICTURES].is_full_for("192.0.2.1"))
        opened.append(plain.socket(server, ASK_SLOWLY_BEHIND % 1))
        assert opened[2].recv(100)[9:12] == b"503"
        opened.append(plain.socket(server, ASK_SLOWLY_BEHIND % 2))
        wait_for(lambda: server._workers[Lane.PICTURES].is_full_for("192.0.2.2"))
        slow.may_end.set()
        assert opened[3].recv(100)[9:12] == b"200"


def test_a_head_that_is_never_whole_is_cut_off_sooner_than_a_body(
    pages: Pages, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "HEAD_S", 0.2)
    with pages.serve() as server:
        opened.extend(pages.socket(server, sent) for sent in (HALF_A_BODY, HALF_A_HEAD))
        assert _end_of(opened[1])
        opened[0].setblocking(False)
        with pytest.raises((BlockingIOError, ssl.SSLWantReadError)):
            opened[0].recv(1)


def test_large_bodies_of_one_address_leave_room_for_those_of_others(
    plain: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lanes.LARGE_BODIES, Lane.SHOP, 3)
    monkeypatch.setattr(page_server, "ONE_HAS_A", 2)
    with plain.serve() as server:
        opened.extend(plain.socket(server, HALF_A_LARGE_BODY) for _ in range(6))
        other = plain.connect(server, source="127.0.0.2")
        other.request("POST", "/told", body=b"x" * 100_000)
        assert other.getresponse().status == 200
        other.close()


def test_a_large_body_whose_place_is_not_free_gives_up_its_connection(
    pages: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS_OF_ONE", 3)
    one_place_for_large_bodies(monkeypatch, Lane.SHOP)
    slow = SlowView(pages, Lane.SHOP)
    with pages.serve() as server:
        opened.append(send_slowly(pages, server))
        slow.wait_for_calls(1)
        opened.extend(pages.socket(server, HALF_A_LARGE_BODY) for _ in range(2))
        own = server._body_places[Lane.SHOP]._of["127.0.0.1"]
        wait_for(lambda: len(own._waiters or ()) == 2)
        assert pages.ask(server) == "here"
        assert _end_of(opened[1])
        slow.may_end.set()
        assert opened[0].recv(100)[9:12] == b"200"


# Requests that take long.


class SlowView:
    """The view of ``/slow``, in a lane: it answers when it may."""

    def __init__(self, pages: Pages, lane: Lane) -> None:
        self.begun, self.may_end = threading.Semaphore(0), threading.Event()

        @answered_in(lane)
        def slow() -> str:
            self.begun.release()
            self.may_end.wait(10)
            return "slow"

        pages.application.add_url_rule("/slow", view_func=slow, methods=["GET", "POST"])
        pages.application.before_request(refuse_when_full)

    def wait_for_calls(self, count: int) -> None:
        for _ in range(count):
            assert self.begun.acquire(timeout=10)


@pytest.mark.parametrize("lane", [Lane.PICTURES, Lane.REPORTS])
def test_what_may_take_long_holds_no_thread_of_the_shop(
    pages: Pages, quick_end: None, opened: list[socket.socket], lane: Lane
) -> None:
    slow = SlowView(pages, lane)
    with pages.serve() as server:
        opened.extend(pages.socket(server, ASK_SLOWLY) for _ in range(2 * SHOP_THREADS))
        slow.wait_for_calls(THREADS[lane])
        assert pages.ask(server) == "here"


def test_a_client_whose_lane_is_full_is_told_so(
    pages: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(lanes.MOST_WAITING, Lane.PICTURES, 2)
    slow = SlowView(pages, Lane.PICTURES)
    with pages.serve() as server:
        opened.append(pages.socket(server, ASK_SLOWLY))
        slow.wait_for_calls(1)
        opened.extend(pages.socket(server, ASK_SLOWLY) for _ in range(3))
        assert opened[-1].recv(100).startswith(b"HTTP/1.1 503 SERVICE UNAVAILABLE")
        other = pages.connect(server, source="127.0.0.2")
        other.request("GET", "/slow")
        slow.may_end.set()
        assert other.getresponse().read() == b"slow"
        other.close()


def one_place_for_large_bodies(monkeypatch: pytest.MonkeyPatch, *of: Lane) -> None:
    for lane in of:
        monkeypatch.setitem(lanes.LARGE_BODIES, lane, 1)
    monkeypatch.setattr(page_server, "ONE_HAS_A", 1)


def send_slowly(pages: Pages, server: PageServer) -> socket.socket:
    """Send a large body to the slow view, which then holds the body's place."""
    head = f"POST /slow HTTP/1.1\r\nHost: cart\r\nContent-Length: {len(LARGE_BODY)}\r\n\r\n"
    return pages.socket(server, head.encode() + LARGE_BODY)


def test_a_large_body_waits_for_its_place_longer_than_its_client_may_be_silent(
    pages: Pages, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_place_for_large_bodies(monkeypatch, Lane.SHOP)
    begun = threading.Event()

    def long() -> str:
        begun.set()
        return threading.Event().wait(0.9) or "done"

    pages.application.add_url_rule("/long", view_func=long, methods=["POST"])
    with pages.serve() as server:
        first = pages.connect(server)
        first.request("POST", "/long", LARGE_BODY)
        assert begun.wait(10)
        assert len(pages.told(server, "POST", body=LARGE_BODY)["body"]) == len(LARGE_BODY)
        assert first.getresponse().read() == b"done"
        first.close()


@pytest.mark.parametrize("lane", Lane)
def test_a_large_body_that_gets_no_place_in_time_is_told_so(
    pages: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch, lane: Lane
) -> None:
    one_place_for_large_bodies(monkeypatch, lane)
    monkeypatch.setattr(page_server, "BODY_PLACE_S", 0.1)
    slow = SlowView(pages, lane)
    with pages.serve() as server:
        opened.append(send_slowly(pages, server))
        slow.wait_for_calls(1)
        refused = pages.connect(server, source="127.0.0.2")
        refused.request("POST", "/slow", LARGE_BODY)
        answer = refused.getresponse()
        assert (answer.status, answer.headers["Retry-After"]) == (503, str(lanes.RETRY_AFTER_S))
        assert "The cart is still" in answer.read().decode()
        refused.close()
        opened.append(pages.socket(server, EXPECTANT))
        assert opened[1].recv(12) == b"HTTP/1.1 503", "it was not asked to send its body"
        slow.may_end.set()
        assert opened[0].recv(100)[9:12] == b"200"


EXPECTANT = b"POST /slow HTTP/1.1\r\nHost: cart\r\nContent-Length: 100000\r\nExpect: 100-continue\r\n\r\n"


def test_large_bodies_of_one_lane_take_no_place_of_another(
    pages: Pages, quick_end: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_place_for_large_bodies(monkeypatch, *Lane)
    monkeypatch.setattr(page_server, "BODY_PLACE_S", 0.1)
    slow = SlowView(pages, Lane.PICTURES)
    pages.application.add_url_rule(
        "/file", view_func=answered_in(Lane.REPORTS)(lambda: "taken"), endpoint="file", methods=["POST"]
    )
    with pages.serve() as server:
        opened.append(send_slowly(pages, server))
        slow.wait_for_calls(1)
        operator = pages.connect(server, source="127.0.0.2")
        operator.request("POST", "/file", LARGE_BODY)
        assert operator.getresponse().read() == b"taken"
        operator.close()
        slow.may_end.set()
        assert opened[0].recv(100)[9:12] == b"200"


def test_requests_of_one_client_that_wait_for_the_shop_are_all_answered(
    plain: Pages, quick_end: None, opened: list[socket.socket]
) -> None:
    slow = SlowView(plain, Lane.SHOP)
    with plain.serve(proxies="127.0.0.1") as server:
        opened.extend(plain.socket(server, ASK_SLOWLY_BEHIND % 1) for _ in range(SHOP_THREADS + 110))
        wait_for(lambda: server._workers[Lane.SHOP]._jobs.waiting("192.0.2.1") == 110)
        slow.may_end.set()
        assert {each.recv(100)[9:12] for each in opened} == {b"200"}


def test_a_request_whose_client_has_gone_is_not_run(
    pages: Pages, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = SlowView(pages, Lane.PICTURES)
    with pages.serve() as server:
        opened.append(pages.socket(server, ASK_SLOWLY))
        slow.wait_for_calls(1)
        waiting = server._workers[Lane.PICTURES]._jobs
        opened.append(pages.socket(server, ASK_SLOWLY))
        wait_for(lambda: waiting.waiting("127.0.0.1") == 1)
        opened.pop().close()
        wait_for(lambda: waiting.waiting("127.0.0.1") == 0)
        slow.may_end.set()
        assert opened[0].recv(100).startswith(b"HTTP/1.1 200 OK")
    assert not slow.begun.acquire(blocking=False)


def test_a_system_without_room_for_a_connection_is_tried_again(
    plain: Pages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(page_server, "NO_FILES_S", 0.01)
    failures = [OSError(errno.EMFILE, os.strerror(errno.EMFILE))] * 3
    accept: Callable[[socket.socket], tuple[socket.socket, object]] = socket.socket.accept

    def sometimes(listening: socket.socket) -> tuple[socket.socket, object]:
        if failures:
            raise failures.pop()
        return accept(listening)

    with plain.serve() as server:
        monkeypatch.setattr(socket.socket, "accept", sometimes)
        assert plain.ask(server) == "here"
    assert "no connection can be taken for now: Too many open files" in caplog.text


def _end_of(connection: socket.socket) -> bool:
    """Wait until the other side has ended a connection."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


# TLS.


def test_a_certificate_that_a_client_does_not_trust(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS", 2)
    pages, stranger = Pages(Authority(tmp_path)), Pages(Authority(tmp_path, "stranger"))
    with pages.serve() as server:
        assert server.url.startswith("https://")
        for _ in range(5):  # each gives its place back
            with pytest.raises(ssl.SSLCertVerificationError):
                stranger.ask(server)
        assert pages.ask(server) == "here"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_http_is_not_spoken_where_there_is_a_certificate(tmp_path: Path, plain: Pages) -> None:
    pages = Pages(Authority(tmp_path))
    with pages.serve() as server:
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            plain.ask(server)
        assert pages.ask(server) == "here"


def test_handshakes_that_never_end(
    tmp_path: Path, quick: None, opened: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "CONNECTIONS", 20)
    pages = Pages(Authority(tmp_path))
    with pages.serve() as server:
        opened.extend(socket.create_connection(("127.0.0.1", _port(server)), timeout=10) for _ in range(20))
        assert all(_end_of(each) for each in opened)
        opened.extend(socket.create_connection(("127.0.0.1", _port(server)), timeout=10) for _ in range(10))
        assert pages.ask(server) == "here"


def test_old_tls_is_refused(tmp_path: Path) -> None:
    pages = Pages(Authority(tmp_path))
    assert pages.tls is not None
    assert pages.tls.minimum_version >= ssl.TLSVersion.TLSv1_2
