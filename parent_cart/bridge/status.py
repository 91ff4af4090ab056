"""What the bridge shows of itself: ``/healthz``, ``/metrics`` for Prometheus, and a page for people at ``/``."""

from __future__ import annotations

import html
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from string import Template
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from child_cart.network.messages import Role

from .hub import Cart, Hub

PAGE: Final = Template((Path(__file__).parent / "status.html").read_text("utf-8"))
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
MOST_ROWS: Final = 500


class HubCollector(Collector):
    """The hub's figures, read when Prometheus asks."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """Give each figure once."""
        carts = self._hub.carts.values()
        roles = GaugeMetricFamily("bridge_carts", "Carts attached now.", labels=["role"])
        for role in Role:
            roles.add_metric([role], sum(cart.role is role for cart in carts))
        yield roles
        yield GaugeMetricFamily("bridge_transfers", "Transfers open now.", value=len(self._hub.transfers.open))
        yield CounterMetricFamily(
            "bridge_relayed_bytes", "Payload passed on from cart to cart, in bytes.", value=self._hub.relayed_bytes
        )
        events = CounterMetricFamily("bridge_events", "What has happened, by name.", labels=["event"])
        for name, count in sorted(self._hub.counters.items()):
            events.add_metric([name], count)
        yield events


class Status:
    """The bridge's pages. Read-only."""

    def __init__(self, hub: Hub, bridge_id: bytes, clock: Callable[[], float] = time.monotonic) -> None:
        self._hub = hub
        self._bridge_id = bridge_id.hex()
        self._clock = clock
        self._started_at = clock()
        self._registry = CollectorRegistry()
        self._registry.register(HubCollector(hub))

    def add_routes(self, application: web.Application) -> None:
        """Put the pages into an application."""
        application.router.add_get("/", self.page)
        application.router.add_get("/healthz", self.health)
        application.router.add_get("/metrics", self.metrics)

    async def health(self, _: web.Request) -> web.Response:
        """Answer that the loop turns."""
        return web.json_response({"status": "ok", "carts": len(self._hub.carts)}, headers=HEADERS)

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer with Prometheus's text format."""
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def page(self, _: web.Request) -> web.Response:
        """Show who is attached, their roles, bytes and clusters."""
        now = self._clock()
        carts = sorted(self._hub.carts.values(), key=lambda cart: cart.attached_at)
        text = PAGE.substitute(
            bridge=html.escape(self._bridge_id),
            up=duration_words(now - self._started_at),
            carts=len(carts),
            kernels=sum(cart.role is Role.KERNEL for cart in carts),
            transfers=len(self._hub.transfers.open),
            relayed=byte_words(self._hub.relayed_bytes),
            rows="\n".join(_row(cart, now) for cart in carts[:MOST_ROWS])
            or '<tr><td colspan="8" class="none">No cart is attached yet.</td></tr>',
            more=f"… and {len(carts) - MOST_ROWS} more." if len(carts) > MOST_ROWS else "",
            events="\n".join(
                f"<tr><td>{html.escape(name.replace('_', ' '))}</td><td class=n>{count}</td></tr>"
                for name, count in sorted(self._hub.counters.items())
            ),
        )
        return web.Response(text=text, content_type="text/html", headers=HEADERS)


def _row(cart: Cart, now: float) -> str:
    peers = " ".join(peer[:8] for peer in sorted(cart.cluster_peers))
    cells = (
        f"<td><code title={cart.cart_id}>{cart.cart_id[:8]}</code></td>",
        f"<td><span class={cart.role.lower()}>{cart.role}</span></td>",
        f"<td><code>{cart.model_signature[:8]}</code></td>",
        f"<td class=n>{cart.model_version}</td>",
        f"<td class=n>{byte_words(cart.received_bytes)}</td>",
        f"<td class=n>{byte_words(cart.delivered_bytes)}</td>",
        f"<td>{f'<code>{cart.cluster[:8]}</code>: {peers}' if cart.cluster else ''}</td>",
        f"<td class=n>{duration_words(now - cart.attached_at)}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>"


def byte_words(count: float) -> str:
    """Return a size as people read it: ``1.4 MB``."""
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration_words(seconds: float) -> str:
    """Return a time span as people read it: ``3 h 20 min``."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"
