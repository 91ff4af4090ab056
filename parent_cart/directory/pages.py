"""``/bridge/neighbours``: which other bridges a bridge knows to be live, for carts and for people who operate them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from aiohttp import web

from child_cart.network.records import BridgeRecord

from .directory import Directory

HEADERS: Final = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}


class DirectoryPages:
    """What is shown of the directory. Read-only."""

    def __init__(self, directory: Directory, now: Callable[[], float] = time.time) -> None:
        self._directory = directory
        self._now = now

    def add_routes(self, application: web.Application) -> None:
        """Put the pages into an application."""
        application.router.add_get("/bridge/neighbours", self.neighbours)

    async def neighbours(self, _: web.Request) -> web.Response:
        """Answer with the live bridges, the least loaded first."""
        records = sorted(self._directory.neighbours(), key=lambda record: record.carts / max(record.max_carts, 1))
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
