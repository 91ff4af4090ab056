"""The bridge's pages: ``/healthz``, ``/metrics`` for Prometheus, ``/status.json``, and a page at ``/``.

Read-only. With a status token, everything but ``/healthz`` needs it.
"""

from __future__ import annotations

import asyncio
import hmac
import html
import time
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from string import Template
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cart_common import __version__
from cart_common.process.number_words import byte_words, duration_words
from cart_common.process.tasks import background, in_thread
from cart_common.wire.messages import Role
from cart_common.wire.records import BridgeRecord

from ..bridge.hub import AttachedCart, Hub
from .graph import charts
from .rates import SAMPLE_EVERY_S, Traffic

FOLDER: Final = Path(__file__).parent
PAGE: Final = Template((FOLDER / "status.html").read_text("utf-8"))
FILES: Final = {"status.css": "text/css", "status.js": "text/javascript", "bridge.svg": "image/svg+xml"}
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
ASK: Final = {"WWW-Authenticate": 'Basic realm="bridge", charset="UTF-8"'}
NOT_SHOWN: Final = "This page needs the bridge's status token. Enter it as the password, with any user name.\n"
MOST_ROWS: Final = 500
COLUMNS: Final = 10


class HubCollector(Collector):
    """The hub's metrics, read when Prometheus scrapes them."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Give each metric once."""
        info = GaugeMetricFamily("bridge_info", "The program.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        carts = self._hub.carts.values()
        roles = GaugeMetricFamily("bridge_carts", "Carts attached now.", labels=["role"])
        for role in Role:
            roles.add_metric([role], sum(cart.role is role for cart in carts))
        yield roles
        yield GaugeMetricFamily("bridge_transfers", "Transfers open now.", value=len(self._hub.transfers.open))
        yield CounterMetricFamily(
            "bridge_relayed_bytes", "Payload passed on from cart to cart, in bytes.", value=self._hub.relayed_bytes
        )
        yield GaugeMetricFamily(
            "bridge_clock_offset_seconds",
            "How far this machine's clock is ahead of the median of the carts' clocks; 0 without a cart.",
            value=self._hub.clocks.ahead_s() or 0.0,
        )
        yield GaugeMetricFamily(
            "bridge_carts_clock_off",
            "Attached carts whose clock is more than a minute from this machine's.",
            value=self._hub.clocks.count_off(),
        )
        events = CounterMetricFamily("bridge_events", "What has happened, by name.", labels=["event"])
        for name, count in sorted(self._hub.counters.items()):
            events.add_metric([name], count)
        yield events


class StatusPages:
    """The bridge's status pages.

    Args:
        hub: what is shown.
        bridge_id: the bridge's.
        token: the status token that requests need; empty for none.
        neighbours: returns the other bridges that are live.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        hub: Hub,
        bridge_id: bytes,
        token: str = "",
        neighbours: Callable[[], Sequence[BridgeRecord]] = tuple,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._bridge_id = bridge_id.hex()
        self._token = token
        self._neighbours = neighbours
        self._clock = clock
        self._started_at = clock()
        self._rates = Traffic()
        self._registry, self._process = CollectorRegistry(), CollectorRegistry()
        self._registry.register(HubCollector(hub))
        ProcessCollector(registry=self._process)

    def add_figures(self, collector: Collector) -> None:
        """Add the figures of another part of the bridge to ``/metrics``."""
        self._registry.register(collector)

    def add_routes(self, application: web.Application) -> None:
        """Add the pages to an application, and sample the rates while it runs."""
        router = application.router
        router.add_get("/healthz", self.health)
        router.add_get("/", self.guarded(self.page))
        router.add_get("/status.json", self.guarded(self.json))
        router.add_get("/metrics", self.guarded(self.metrics))
        for name in FILES:
            router.add_get(f"/{name}", self.file)
        application.cleanup_ctx.append(self._sampling)

    async def health(self, _: web.Request) -> web.Response:
        """Answer that the event loop runs."""
        places = {"carts": len(self._hub.carts), "max_carts": self._hub.limits.max_carts}
        return web.json_response({"status": "ok", **places, "bridge_id": self._bridge_id}, headers=HEADERS)

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer with Prometheus's text format."""
        process = await in_thread(generate_latest, self._process)  # reads files
        body = generate_latest(self._registry) + process
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def file(self, request: web.Request) -> web.Response:
        """Answer with a file that the page loads."""
        name = request.path[1:]
        return web.Response(body=_FILES[name], content_type=FILES[name], headers=HEADERS)

    async def json(self, _: web.Request) -> web.Response:
        """Answer with the content of the page as JSON."""
        return web.json_response(self._facts(), headers=HEADERS)

    async def page(self, _: web.Request) -> web.Response:
        """Show the attached carts with their roles, bytes and clusters, and the other bridges."""
        now, hub = self._clock(), self._hub
        carts = self._carts()
        text = PAGE.substitute(
            version=__version__,
            bridge=html.escape(self._bridge_id),
            clock=html.escape(hub.clocks.sentence()),
            up=duration_words(now - self._started_at),
            carts=len(carts),
            kernels=sum(cart.role is Role.KERNEL for cart in carts),
            transfers=len(hub.transfers.open),
            relayed=byte_words(hub.relayed_bytes),
            rate=byte_words(self._rates.bytes_per_s),
            chart=charts(self._rates.history, now),
            rows="\n".join(self._row(cart, now) for cart in carts[:MOST_ROWS])
            or f'<tr><td colspan="{COLUMNS}" class="none">No cart is attached yet.</td></tr>',
            more=f"… and {len(carts) - MOST_ROWS} more." if len(carts) > MOST_ROWS else "",
            bridges="\n".join(map(_bridge_row, sorted(self._neighbours(), key=lambda record: record.load)))
            or '<tr><td colspan="3" class="none">This bridge knows no other bridge.</td></tr>',
            events="\n".join(
                f'<tr><th scope="row">{html.escape(name.replace("_", " "))}</th><td class="n">{count:,}</td></tr>'
                for name, count in sorted(hub.counters.items())
            )
            or '<tr><td colspan="2" class="none">No event yet.</td></tr>',
        )
        return web.Response(text=text, content_type="text/html", headers=HEADERS)

    def _carts(self) -> list[AttachedCart]:
        return sorted(self._hub.carts.values(), key=lambda cart: cart.attached_at)

    def _row(self, cart: AttachedCart, now: float) -> str:
        peers = " ".join(peer[:8] for peer in sorted(cart.cluster_peers))
        rate = self._rates.of(cart.cart_id)
        cells = (
            f'<th scope="row"><code title="{cart.cart_id}">{cart.cart_id[:8]}</code></th>',
            f'<td><span class="role {cart.role.lower()}">{cart.role}</span></td>',
            f"<td><code>{cart.model_signature[:8]}</code></td>",
            f'<td class="n">{cart.model_version}</td>',
            f'<td class="n">{byte_words(cart.received_bytes)}</td>',
            f'<td class="n">{byte_words(rate.sent)}/s</td>',
            f'<td class="n">{byte_words(cart.delivered_bytes)}</td>',
            f'<td class="n">{byte_words(rate.got)}/s</td>',
            f"<td>{f'<code>{cart.cluster[:8]}</code>: {peers}' if cart.cluster else ''}</td>",
            f'<td class="n">{duration_words(now - cart.attached_at)}</td>',
        )
        return f"<tr>{''.join(cells)}</tr>"

    def _facts(self) -> dict[str, Any]:
        now = self._clock()
        return {
            "bridge_id": self._bridge_id,
            "version": __version__,
            "up_s": round(now - self._started_at, 1),
            "carts": [
                {
                    "cart_id": cart.cart_id,
                    "role": cart.role,
                    "model_signature": cart.model_signature,
                    "model_version": cart.model_version,
                    "sent_bytes": cart.received_bytes,
                    "sent_bytes_per_s": round(self._rates.of(cart.cart_id).sent, 1),
                    "got_bytes": cart.delivered_bytes,
                    "got_bytes_per_s": round(self._rates.of(cart.cart_id).got, 1),
                    "cluster": cart.cluster,
                    "cluster_peers": sorted(cart.cluster_peers),
                    "attached_for_s": round(now - cart.attached_at, 1),
                }
                for cart in self._carts()
            ],
            "open_transfers": len(self._hub.transfers.open),
            "relayed_bytes": self._hub.relayed_bytes,
            "relayed_bytes_per_s": round(self._rates.bytes_per_s, 1),
            "history": [
                {"ago_s": round(now - sample.at, 1), "bytes_per_s": round(sample.bytes_per_s, 1), "carts": sample.carts}
                for sample in self._rates.history
            ],
            "clock_ahead_s": self._hub.clocks.ahead_s(),
            "events": dict(sorted(self._hub.counters.items())),
        }

    def guarded(self, handler: Handler) -> Handler:
        """Return a handler that answers only requests with the status token."""

        async def guard(request: web.Request) -> web.StreamResponse:
            if self._token and not shows_token(request.headers.get("Authorization", ""), self._token):
                return web.Response(status=401, text=NOT_SHOWN, headers={**HEADERS, **ASK})
            return await handler(request)

        return guard

    async def _sampling(self, _: web.Application) -> AsyncIterator[None]:
        async with background(self._sample()):
            yield

    async def _sample(self) -> None:
        while True:
            self._rates.sample(self._clock(), self._hub.relayed_bytes, self._hub.carts.values())
            await asyncio.sleep(SAMPLE_EVERY_S)


def _bridge_row(record: BridgeRecord) -> str:
    return (
        f'<tr><th scope="row"><code title="{record.bridge_id}">{record.bridge_id[:8]}</code></th>'
        f"<td>{html.escape(record.url)}</td>"
        f'<td class="n">{record.carts:,} of {record.max_carts:,}</td></tr>'
    )


def shows_token(authorization: str, token: str) -> bool:
    """Tell whether a request's ``Authorization`` holds the token: as a bearer token, or as a password (browsers)."""
    scheme, _, shown = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            shown = b64decode(shown, validate=True).decode("utf-8").partition(":")[2]
        except ValueError:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(shown.strip().encode(errors="replace"), token.encode())


_FILES: Final = {name: (FOLDER / "static" / name).read_bytes() for name in FILES}
