"""What the bridge shows of itself, to people and to Prometheus."""

from __future__ import annotations

import base64
import html
import itertools
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from support.bridges.in_process import Bridge, running_bridge
from support.carts.raw_cart import ask_cluster, attached, open_transfer

from cart_common import __version__
from cart_common.process.number_words import byte_words, duration_words
from cart_common.process.settings import SettingError
from cart_common.process.token_bucket import TokenBucket
from cart_common.wire.messages import Role
from cart_common.wire.records import BridgeRecord
from parent_cart.bridge.hub import AttachedCart, Hub, Limits
from parent_cart.config import BridgeSettings
from parent_cart.main import build
from parent_cart.pages.graph import HEIGHT, WIDTHS, chart, nice_top
from parent_cart.pages.rates import SAMPLES_KEPT, CartRate, Sample, Traffic
from parent_cart.pages.status import MOST_ROWS, StatusPages


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
        assert await answer.json() == {
            "status": "ok",
            "carts": 0,
            "max_carts": 10_000,
            "bridge_id": bridge.relay.bridge_id.hex(),
        }
    page = await text_of(web, bridge.http)
    assert "No cart is attached yet" in page
    assert bridge.relay.bridge_id.hex() in page


async def test_the_version_is_on_the_page_in_the_json_and_among_the_metrics(
    bridge: Bridge, web: aiohttp.ClientSession
) -> None:
    assert f"federated-carts {__version__}</footer>" in await text_of(web, bridge.http)
    assert json.loads(await text_of(web, f"{bridge.http}/status.json"))["version"] == __version__
    seen = samples(await text_of(web, f"{bridge.http}/metrics"))
    assert seen["bridge_info", __version__] == 1
    assert seen["process_open_fds", ""] > 0


async def test_the_page_shows_carts_roles_clusters_and_bytes(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with attached(bridge.url, model_version=7) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(1400), chunk_bytes=1400, granted=1400)
        await shell.socket.send_bytes(opened.frame(0))
        await kernel.hear_bytes()
        page = await text_of(web, bridge.http)
        for cart in (shell, kernel):
            assert f'<code title="{cart.id}">{cart.id[:8]}</code>' in page
        assert '<span class="role kernel">KERNEL</span>' in page
        assert '<span class="role shell">SHELL</span>' in page
        assert f"{bridge.hub.carts[kernel.id].cluster[:8]}</code>: {shell.id[:8]}" in page
        assert page.count("1.4 kB") == 3  # sent by one, received by the other, relayed by the bridge
        assert '<td class="n">7</td>' in page
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


async def test_pages_are_not_kept_and_run_nothing_but_their_own(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with web.get(bridge.http) as answer:
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'"} <= set(policy)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        page = await answer.text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://|<script[^>]*>[^<]", page)
    size = len(page)
    for name in set(re.findall(r'(?:src|href)="(/[^"]+)"', page)):
        async with web.get(bridge.http + name) as answer:
            assert answer.status == 200, name
            size += len(await answer.read())
    assert size < 50_000


async def test_what_the_page_refreshes_is_in_it(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    script = await text_of(web, f"{bridge.http}/status.js")
    (parts,) = re.findall(r"PARTS = (\[.*\]);", script)
    page = await text_of(web, bridge.http)
    assert all(page.count(f'id="{part}"') == 1 for part in [*json.loads(parts), "pulse"])


async def test_programs_get_the_same_as_json(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with attached(bridge.url, model_version=7) as shell, attached(bridge.url, role="KERNEL") as kernel:
        opened = await open_transfer(kernel, shell, bytes(1400), chunk_bytes=1400, granted=1400)
        await shell.socket.send_bytes(opened.frame(0))
        await kernel.hear_bytes()
        facts = json.loads(await text_of(web, f"{bridge.http}/status.json"))
    by_id = {cart["cart_id"]: cart for cart in facts["carts"]}
    assert (by_id[shell.id]["sent_bytes"], by_id[kernel.id]["got_bytes"], facts["relayed_bytes"]) == (1400, 1400, 1400)
    assert by_id[kernel.id]["cluster_peers"] == [shell.id]
    assert facts["open_transfers"] == 1


def basic(name: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


TOKEN = "a token that is long enough"


@pytest.mark.parametrize("path", ["/", "/metrics", "/status.json"])
async def test_with_a_status_token_the_bridge_shows_itself_to_those_who_have_it(
    tmp_path: Path, web: aiohttp.ClientSession, path: str
) -> None:
    (tmp_path / "token").write_text(TOKEN + "\n")
    async with running_bridge(status_token_file=str(tmp_path / "token")) as bridge:
        wrong = basic("anybody", TOKEN[:-1])
        for shown in ("", "Basic", "Basic %%%", "Bearer", "Bearer x", f"Digest {TOKEN}", wrong, "Basic w7w="):
            async with web.get(bridge.http + path, headers={"Authorization": shown}) as answer:
                assert answer.status == 401, shown
                assert answer.headers["WWW-Authenticate"].startswith("Basic ")
                assert bridge.relay.bridge_id.hex() not in await answer.text()
        for shown in (f"Bearer {TOKEN}", basic("anybody", TOKEN)):
            async with web.get(bridge.http + path, headers={"Authorization": shown}) as answer:
                assert answer.status == 200, shown
        assert json.loads(await text_of(web, f"{bridge.http}/healthz"))["status"] == "ok"


@pytest.mark.parametrize(
    ("content", "words"), [(b"short", "has 5 characters, 16 are needed"), (b"\xff", "it is not text")]
)
def test_a_status_token_that_will_not_do_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=words) as refused:
        build(BridgeSettings(status_token_file=str(path)))
    assert str(refused.value).startswith(f"--status-token-file (BRIDGE_STATUS_TOKEN_FILE) is {str(path)!r}; ")


def cart(number: int, received: int, delivered: int) -> AttachedCart:
    requests = TokenBucket(per_s=1, most=1, counted_at=0.0)
    counted = {"received_bytes": received, "delivered_bytes": delivered}
    return AttachedCart(f"{number:032x}", Role.SHELL, "ab" * 16, 1, 0.0, requests, **counted)


def test_rates_are_what_passed_between_two_samples() -> None:
    rates = Traffic()
    rates.sample(10.0, 5000, [cart(1, 5000, 0), cart(2, 0, 5000)])
    assert (rates.bytes_per_s, rates.of(f"{1:032x}")) == (0.0, CartRate(0.0, 0.0))
    rates.sample(12.0, 9000, [cart(1, 9000, 0), cart(2, 0, 9000), cart(3, 0, 0)])
    assert rates.bytes_per_s == 2000
    assert rates.of(f"{1:032x}") == CartRate(2000.0, 0.0)
    assert rates.of(f"{2:032x}") == CartRate(0.0, 2000.0)
    rates.sample(14.0, 9000, [cart(1, 100, 0)])  # attached anew, it counts from zero
    assert rates.of(f"{1:032x}") == CartRate(0.0, 0.0)
    assert [(sample.at, sample.bytes_per_s, sample.carts) for sample in rates.history] == [(12, 2000, 3), (14, 0, 1)]


def test_old_samples_go() -> None:
    rates = Traffic()
    for second in range(SAMPLES_KEPT + 10):
        rates.sample(float(second), 0, [])
    assert len(rates.history) == SAMPLES_KEPT


@given(st.lists(st.floats(0, 1e15), max_size=SAMPLES_KEPT), st.floats(0, 1e6))
def test_a_chart_is_well_formed_and_stays_within_its_picture(values: list[float], now: float) -> None:
    samples = [Sample(now - 2 * place, value, 1) for place, value in enumerate(reversed(values))][::-1]
    root = ElementTree.fromstring(chart(samples, now, WIDTHS["narrow"], "narrow"))
    line = root.find("polyline")
    points = line.attrib["points"].split() if line is not None else []
    assert len(points) == len(samples)
    for x, y in (map(float, point.split(",")) for point in points):
        assert 0 <= x <= WIDTHS["narrow"]
        assert 0 <= y <= HEIGHT


@given(st.floats(0, 1e18))
def test_the_scale_holds_what_is_shown_and_not_much_more(most: float) -> None:
    top = nice_top(most)
    assert most <= top
    assert top == 1000 or top <= most * 2.5


async def test_the_page_shows_other_bridges_and_never_their_markup() -> None:
    signed = {"encoded": b"", "sequence": 1, "issued_at_s": 1, "expires_at_s": 2, "signature": "", "tag": ""}
    records = [
        BridgeRecord(public_key="ab" * 32, url="ws://<b>full", carts=9, max_carts=10, shells={}, **signed),
        BridgeRecord(public_key="cd" * 32, url="wss://b.example", carts=1000, max_carts=10_000, shells={}, **signed),
    ]
    request: Any = None
    hub = Hub(Limits(), lambda: 0.0, lambda: 0.0, lambda: "", lambda low, high: low)
    page = (await StatusPages(hub, b"\0" * 16, neighbours=lambda: records).page(request)).text
    assert page is not None
    assert "ws://&lt;b&gt;full" in page
    assert "<b>" not in page
    assert page.index("1,000 of 10,000") < page.index("9 of 10")  # the one with more room first
    lone = (await StatusPages(hub, b"\0" * 16).page(request)).text
    assert lone is not None
    assert "This bridge knows no other bridge." in lone


async def test_a_page_of_a_large_fleet_stays_short() -> None:
    hub = Hub(Limits(), lambda: 0.0, lambda: 0.0, lambda: "", lambda low, high: low)
    for number in range(MOST_ROWS + 3):
        hub.attach(f"{number:032x}", Role.SHELL, "ab" * 16, 1)
    clock = itertools.count(0.0, 90.0)
    request: Any = None
    page = (await StatusPages(hub, b"\0" * 16, clock=lambda: next(clock)).page(request)).text
    assert page is not None
    assert page.count("<code title=") == MOST_ROWS
    assert "… and 3 more." in html.unescape(page)
    assert "up 1 min 30 s" in page


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (1_400_000, "1.4 MB"), (2.5e9, "2.5 GB"), (3e15, "3000.0 TB")],
)
def test_sizes_in_words(count: float, words: str) -> None:
    assert byte_words(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59.9, "59 s"), (60, "1 min 0 s"), (3661, "1 h 1 min"), (90_000, "1 d 1 h")],
)
def test_time_spans_in_words(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words
