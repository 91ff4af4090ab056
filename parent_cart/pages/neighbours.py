"""The directory's page, ``/bridge/neighbours``, and its figures for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final

from aiohttp import web
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cart_common.wire.records import BridgeRecord

from ..directory.directory import Directory

HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class DirectoryPage:
    """The page of the neighbours. Read-only."""

    def __init__(self, directory: Directory, now: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._now = now

    async def neighbours(self, _: web.Request) -> web.Response:
        """Answer with the live bridges, the least loaded first."""
        records = sorted(self._directory.neighbours(), key=lambda record: record.load)
        return web.json_response({"neighbours": [self._shown(record) for record in records]}, headers=HEADERS)

    def _shown(self, record: BridgeRecord) -> dict[str, object]:
        return {
            "bridge_id": record.bridge_id,
            "url": record.url,
            "carts": record.carts,
            "max_carts": record.max_carts,
            "shells": dict(record.shells),
            "age_s": max(0, round(self._now() - record.issued_at_s)),
            "expires_at_s": record.expires_at_s,
        }


class DirectoryCollector(Collector):
    """The directory's figures, read when Prometheus asks."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        """Give each figure once."""
        figures = self._directory.figures()
        yield GaugeMetricFamily("bridge_neighbours", "Other bridges that are live.", value=figures.neighbours)
        yield GaugeMetricFamily("bridge_records", "Records that are kept for other bridges.", value=figures.records)
        events = CounterMetricFamily("bridge_directory_events", "What was refused or lost, by name.", labels=["event"])
        for name, count in sorted(figures.counters.items()):
            events.add_metric([name], count)
        yield events
