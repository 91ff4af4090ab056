"""What the bridge shows of itself, to people and to Prometheus."""

from __future__ import annotations

import html
import itertools
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.bridges import Bridge
from support.raw_cart import ask_cluster, attached, open_transfer

from child_cart.network.messages import Role
from parent_cart.bridge.hub import Hub, Limits
from parent_cart.bridge.status import MOST_ROWS, Status, byte_words, duration_words


async def text_of(web: aiohttp.ClientSession, url: str) -> str:
    async with web.get(url) as answer:
        assert answer.status == 200
        return await answer.text()


def samples(text: str) -> dict[tuple[str, str], float]:
    """Return each sample under its name and the value of its only label."""
    return {
        (sample.name, next(iter(sample.labels.values()), "")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_an_empty_bridge_is_healthy_and_says_that_it_is_empty(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with web.get(f"{bridge.http}/healthz") as answer:
        assert await answer.json() == {"status": "ok", "carts": 0}
    page = await text_of(web, bridge.http)
    assert "No cart is attached yet" in page
    assert bridge.relay.bridge_id.hex() in page


async def test_the_page_shows_carts_roles_clusters_and_bytes(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with attached(bridge.url, model_version=7) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(1400), chunk_bytes=1400, granted=1400)
        await shell.socket.send_bytes(opened.frame(0))
        await kernel.hear_bytes()
        page = await text_of(web, bridge.http)
        for cart in (shell, kernel):
            assert f"<code title={cart.id}>{cart.id[:8]}</code>" in page
        assert "<span class=kernel>KERNEL</span>" in page
        assert "<span class=shell>SHELL</span>" in page
        assert f"{bridge.hub.carts[kernel.id].cluster[:8]}</code>: {shell.id[:8]}" in page
        assert page.count("1.4 KB") == 3  # sent by one, received by the other, relayed by the bridge
        assert "<td class=n>7</td>" in page
        assert "$" not in page


async def test_the_metrics_are_read_by_prometheus(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with attached(bridge.url) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(1024), granted=1024)
        await shell.socket.send_bytes(opened.frame(0))
        await kernel.hear_bytes()
        await ask_cluster(kernel, 9, minimum=9)
        async with web.get(f"{bridge.http}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain")
            seen = samples(await answer.text())
    assert seen["bridge_carts", "SHELL"] == seen["bridge_carts", "KERNEL"] == 1
    assert seen["bridge_transfers", ""] == 1
    assert seen["bridge_relayed_bytes_total", ""] == 1024
    assert seen["bridge_events_total", "attached"] == 2
    assert seen["bridge_events_total", "not_enough_peers"] == 1


async def test_pages_run_no_script_and_are_not_kept(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with web.get(bridge.http) as answer:
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "<script" not in await answer.text()


async def test_a_page_of_a_large_fleet_stays_short() -> None:
    hub = Hub(Limits(), lambda: 0.0, lambda: "", lambda low, high: low)
    for number in range(MOST_ROWS + 3):
        hub.attach(f"{number:032x}", Role.SHELL, "ab" * 16, 1)
    clock = itertools.count(0.0, 90.0)
    request: Any = None
    page = (await Status(hub, b"\0" * 16, lambda: next(clock)).page(request)).text
    assert page is not None
    assert page.count("<code title=") == MOST_ROWS
    assert "… and 3 more." in html.unescape(page)
    assert "up 1 min 30 s" in page


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 KB"), (1_400_000, "1.4 MB"), (2.5e9, "2.5 GB"), (3e15, "3000.0 TB")],
)
def test_sizes_in_words(count: float, words: str) -> None:
    assert byte_words(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_time_spans_in_words(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
