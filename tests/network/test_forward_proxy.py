"""A cart in a network from which only an HTTP proxy leads out."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bridges.in_process import running_bridge, until
from support.carts.node import Node, model_of, running
from support.networks.certificates import Authority
from support.networks.connect_proxy import connect_proxy
from support.processes.programs import CartProcess

from cart_common.process.settings import SettingError
from cart_common.process.tls import serving_context
from child_cart.config import CartSettings
from child_cart.config.resources import bridge_trust, forward_proxies
from child_cart.network.bridge_probe import BridgeProbe
from child_cart.network.bridge_selection import BridgeSelection
from child_cart.network.client_connection import ClientConnection
from child_cart.network.forward_proxy import ForwardProxies, Proxy, ProxyError, proxies_of
from child_cart.network.opening_handshake import MAX_HEAD_BYTES, NoBridge, connect

SECRET = "s3cret word"
PAIR = f"till:{SECRET}"


def named(port: int, pair: str = "till:s3cret%20word@") -> ForwardProxies:
    address = f"http://{pair}127.0.0.1:{port}"
    return proxies_of({"HTTP_PROXY": address, "HTTPS_PROXY": address})


# Which proxy.


@pytest.mark.parametrize(
    ("environ", "url", "proxy"),
    [
        ({}, "wss://bridge.example", None),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, "wss://bridge.example", "http://proxy.example:3128"),
        ({"HTTPS_PROXY": "http://proxy.example:3128"}, "ws://bridge.example", None),
        ({"HTTP_PROXY": "proxy.example:3128"}, "ws://bridge.example", "http://proxy.example:3128"),
        ({"HTTP_PROXY": "http://proxy.example/"}, "ws://bridge.example", "http://proxy.example:80"),
        ({"HTTP_PROXY": "http://[fd00::1]:3128"}, "ws://bridge.example", "http://[fd00::1]:3128"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": "http://b:2"}, "ws://bridge.example", "http://b:2"),
        ({"HTTP_PROXY": "http://a:1", "http_proxy": ""}, "ws://bridge.example", "http://a:1"),
        ({"HTTP_PROXY": "http://a:1"}, "ws://127.0.0.1:9000", None),
        ({"HTTP_PROXY": "http://a:1"}, "ws://[::1]:9000", None),
        ({"HTTP_PROXY": "http://a:1"}, "ws://localhost:9000", None),
        ({"HTTP_PROXY": "http://a:1"}, "ws://[broken", None),
    ],
)
def test_the_environment_names_the_proxy(environ: dict[str, str], url: str, proxy: str | None) -> None:
    found = proxies_of(environ).proxy_for(url)
    assert (found and found.url) == proxy


@pytest.mark.parametrize(
    ("exempt", "url", "direct"),
    [
        ("shop.example", "ws://shop.example:9000", True),
        ("shop.example", "ws://bridge.SHOP.example:9000", True),
        ("shop.example", "ws://workshop.example:9000", False),
        (".shop.example", "ws://bridge.shop.example.:9000", True),
        ("*.shop.example", "ws://bridge.shop.example:9000", True),
        ("other.example, shop.example", "ws://shop.example", True),
        ("other.example shop.example", "ws://shop.example", True),
        ("shop.example:9000", "ws://shop.example:9000", True),
        ("shop.example:9001", "ws://shop.example:9000", False),
        ("shop.example:80", "ws://shop.example", True),
        ("10.0.0.0/8", "ws://10.1.2.3:9000", True),
        ("10.0.0.0/8", "ws://11.1.2.3:9000", False),
        ("10.1.2.3:9000", "ws://10.1.2.3:9000", True),
        ("fd00::/8", "ws://[fd00::7]:9000", True),
        ("[fd00::7]:9000", "ws://[fd00::7]:9000", True),
        ("*", "ws://anything.example", True),
        (",", "ws://anything.example", False),
        (".", "ws://anything.example", False),
    ],
)
def test_some_hosts_are_reached_directly(exempt: str, url: str, direct: bool) -> None:
    proxies = proxies_of({"HTTP_PROXY": "http://proxy.example:3128", "NO_PROXY": exempt})
    assert (proxies.proxy_for(url) is None) is direct


@pytest.mark.parametrize(
    "address", [f"socks5://{PAIR}@a:1", f"https://{PAIR}@a:1", f"http://{PAIR}@", f"http://{PAIR}@a:x", f"://{PAIR}@a"]
)
def test_a_wrong_proxy_stops_the_start_and_shows_no_password(address: str) -> None:
    with pytest.raises(SettingError, match=r"HTTPS_PROXY is .*; it must be http://host:port") as refused:
        forward_proxies(CartSettings(bridge="wss://bridge.example"), {"HTTPS_PROXY": address})
    assert "s3cret" not in str(refused.value)
    forward_proxies(CartSettings(bridge="wss://127.0.0.1:9000"), {"HTTPS_PROXY": address})


@given(st.text(), st.text(), st.text(alphabet="sw:/[]@.%x1 ") | st.text())
def test_every_environment_gives_a_proxy_or_a_sentence(address: str, exempt: str, url: str) -> None:
    proxies = proxies_of({"HTTP_PROXY": address, "HTTPS_PROXY": address, "NO_PROXY": exempt})
    for asked in (url, f"ws://{url}", "ws://bridge.example"):
        try:
            proxies.proxy_for(asked)
        except ProxyError as error:
            assert "it must be http://host:port" in str(error)


@given(st.binary())
def test_every_answer_of_a_proxy_is_taken_or_refused(head: bytes) -> None:
    try:
        Proxy("proxy.example", 1, "HTTP_PROXY").check_answer(head)
    except ProxyError:
        return
    assert head.startswith(b"HTTP/1.")
    assert head[9:10] == b"2"


def test_a_proxy_shows_no_password() -> None:
    proxies = proxies_of({"HTTP_PROXY": f"http://{PAIR}@proxy.example:3128"})
    proxy = proxies.proxy_for("ws://bridge.example")
    assert proxy is not None
    assert "s3cret" not in f"{proxies!r} {proxy!r} {proxy.url}"
    assert proxy.authorization not in repr(proxy)


# Through one.


async def test_carts_learn_from_each_other_through_a_proxy_with_a_password(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    payload = os.urandom(300_000)
    async with running_bridge() as bridge, connect_proxy({"bridge.test": bridge.port}, PAIR) as proxy:
        url = f"ws://bridge.test:{bridge.port}"
        giver = Node(url, tmp_path, model_of(payload), proxies=named(proxy.port))
        taker = Node(url, tmp_path, proxies=named(proxy.port))
        async with running(giver, taker):
            assert await taker.fetch_from(giver) == payload
        assert set(proxy.asked) == {f"CONNECT bridge.test:{bridge.port} HTTP/1.1"}
    assert "s3cret" not in caplog.text


async def test_tls_goes_from_the_cart_to_the_bridge(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    tls = serving_context(*authority.vouch("bridge.test"), "BRIDGE")
    trust = bridge_trust(CartSettings(bridge_ca=str(authority.path)))
    async with running_bridge(tls=tls) as bridge, connect_proxy({"bridge.test": bridge.port}, PAIR) as proxy:
        bridges = BridgeSelection([f"wss://bridge.test:{bridge.port}"], 0.01, 0.05, time.monotonic, time.time)
        node = Node("", tmp_path, tls=trust, bridges=bridges, proxies=named(proxy.port))
        async with running(node):
            assert set(bridge.hub.carts) == {node.id}
            known = bridges.known()[0]
            assert await BridgeProbe(bridges, trust, print, named(proxy.port))._measure(known)
        assert set(proxy.asked) == {f"CONNECT bridge.test:{bridge.port} HTTP/1.1"}
        assert len(proxy.asked) == 2


async def test_a_bridge_is_measured_through_the_proxy() -> None:
    async with running_bridge() as bridge, connect_proxy({"bridge.test": bridge.port}, PAIR) as proxy:
        bridges = BridgeSelection([f"ws://bridge.test:{bridge.port}"], 0.01, 0.05, time.monotonic, time.time)
        known = bridges.known()[0]
        assert await BridgeProbe(bridges, None, print, named(proxy.port))._measure(known)
        assert proxy.asked[0] == f"GET http://bridge.test:{bridge.port}/healthz HTTP/1.1"
        assert await BridgeProbe(bridges, None, print, named(proxy.port, "till:wrong@"))._measure(known) is None
        assert await BridgeProbe(bridges, None, print, proxies_of({"HTTP_PROXY": "?"}))._measure(known) is None


async def test_a_cart_takes_the_proxy_from_its_environment(tmp_path: Path) -> None:
    async with running_bridge() as bridge, connect_proxy({"bridge.test": bridge.port}, PAIR) as proxy:
        address = f"http://till:s3cret%20word@127.0.0.1:{proxy.port}"
        cart = CartProcess(tmp_path / "cart", f"ws://bridge.test:{bridge.port}", HTTP_PROXY=address, NO_PROXY="")
        await asyncio.to_thread(cart.start)
        try:
            await until(lambda: bridge.hub.carts, 90)
        finally:
            await asyncio.to_thread(cart.kill)
    assert "s3cret" not in cart.log


# When it does not lead anywhere.


async def reason(proxies: ForwardProxies, url: str = "ws://bridge.test:9000") -> str:
    with pytest.raises(NoBridge) as refused:
        await connect(url, None, ClientConnection(1024, 0), proxies)
    assert "s3cret" not in str(refused.value)
    return str(refused.value)


async def test_a_wrong_password_of_the_proxy_is_named() -> None:
    async with connect_proxy({}, PAIR) as proxy:
        said = await reason(named(proxy.port, f"till:not-{SECRET.replace(' ', '')}@"))
        assert f"the proxy http://127.0.0.1:{proxy.port} refuses this cart's user or password" in said
        assert "HTTP_PROXY has them as http://user:password@host:port" in said


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not connect (HTTP status 403)"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "is not a proxy: its answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nVia: x", "has no end"),
        (b"HTTP/1.1 200 OK\r\n\r\nand more", "has no end"),
        (b"HTTP/1.1 200 OK\r\nVia: " + b"x" * 3 * MAX_HEAD_BYTES, "has no end"),
    ],
)
async def test_an_answer_that_does_not_connect_is_named(answer: bytes, words: str) -> None:
    async with connect_proxy({}, answer=answer) as proxy:
        said = await reason(named(proxy.port))
        assert said.startswith("ws://bridge.test:9000 cannot be reached: ")
        assert words in said


async def test_a_proxy_that_is_away_is_named() -> None:
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        assert "hung up" in await reason(named(port))
    await server.wait_closed()
    assert f"the proxy http://127.0.0.1:{port} (HTTP_PROXY) does not answer (Connection refused)" in await reason(
        named(port)
    )


async def test_a_name_that_cannot_be_one_is_named() -> None:
    async with connect_proxy({}) as proxy:
        assert "names no host" in await reason(named(proxy.port), f"ws://{'x' * 70}.test:9000")
