"""A page of another site gets nothing of a bridge, and a cart is no page."""

from __future__ import annotations

import aiohttp
import pytest
from blockbuster import BlockBuster
from support.bridges.in_process import Bridge, running_bridge

from cart_common.process.settings import SettingError
from parent_cart.config import BridgeSettings
from parent_cart.main import build

PAGES = ("/", "/status.json", "/metrics", "/bridge/neighbours", "/status.css", "/status.js", "/bridge.svg")
NAMED = {"public_url": "wss://bridge.example:9000", "page_hosts": "inside, Other.Example"}
ALLOWED = "https://console.example"


async def status_of(web: aiohttp.ClientSession, url: str, **headers: str) -> tuple[int, str]:
    async with web.get(url, headers=headers) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("page", [*PAGES, "/nowhere"])
async def test_pages_do_not_answer_to_a_foreign_name(bridge: Bridge, web: aiohttp.ClientSession, page: str) -> None:
    for host in ("evil.example", "evil.example:9000", ""):
        status, sentence = await status_of(web, bridge.http + page, Host=host)
        assert status == 403
        assert "--page-hosts" in sentence
        assert repr(host.partition(":")[0]) in sentence
    assert bridge.hub.counters["foreign_hosts"] == 3


async def test_pages_answer_to_addresses_and_to_the_names_that_are_set(
    no_blocking: BlockBuster, web: aiohttp.ClientSession
) -> None:
    async with running_bridge(**NAMED) as bridge:
        for host in ("127.0.0.1", "[::1]:9000", "localhost", "BRIDGE.example", "inside:9000", "other.example"):
            for page in PAGES:
                assert (await status_of(web, bridge.http + page, Host=host))[0] == 200


async def test_health_checks_may_use_any_name(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    assert (await status_of(web, f"{bridge.http}/healthz", Host="parent_cart:9000"))[0] == 200


async def attach_status(web: aiohttp.ClientSession, bridge: Bridge, **headers: str) -> int:
    """Return the HTTP status with which a WebSocket is refused, or 101."""
    try:
        async with web.ws_connect(f"{bridge.url}/v1/cart", headers=headers):
            return 101
    except aiohttp.WSServerHandshakeError as error:
        return error.status


async def test_only_own_and_allowed_pages_may_attach_and_carts_by_any_name(
    no_blocking: BlockBuster, web: aiohttp.ClientSession
) -> None:
    async with running_bridge(**NAMED, page_origins=f"https://other.example:8443,{ALLOWED}") as bridge:
        own = f"127.0.0.1:{bridge.port}"
        for headers, status in (
            ({}, 101),
            ({"Host": "parent_cart:9000"}, 101),
            ({"Origin": f"http://{own}"}, 101),
            ({"Origin": "https://bridge.example:9000", "Host": "bridge.example:9000"}, 101),
            ({"Origin": ALLOWED}, 101),
            ({"Origin": ALLOWED.upper()}, 101),
            ({"Origin": "https://console.example:8443"}, 403),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "https://evil.example", "Host": "evil.example"}, 403),  # a name that was pointed here
            ({"Origin": f"http://127.0.0.1:{bridge.port + 1}"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": ""}, 403),
        ):
            assert await attach_status(web, bridge, **headers) == status, headers
        assert bridge.hub.counters["foreign_origins"] == 6


@pytest.mark.parametrize("origins", ["console.example", "https://a.example/path", "*", "https://a.example,b"])
def test_an_origin_that_is_none_is_named(origins: str) -> None:
    with pytest.raises(SettingError, match=r"--page-origins \(BRIDGE_PAGE_ORIGINS\)"):
        build(BridgeSettings(page_origins=origins))
