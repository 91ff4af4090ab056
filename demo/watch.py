"""The fleet as seen from outside: each cart's ``/api/status``, the bridge's health and its relayed bytes."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp

from .processes import Program

Json = dict[str, Any]
PREPARING: Final = ("PREPARING", "JOINING", "STARTING")
ANSWER_S: Final = 3.0
AWAY_S: Final = 5.0
"""The other carts do not wait for a cart that has not answered for this time."""
PATIENCE_S: Final = 60.0
"""Nor for a cart that answers but has made no progress for this time."""
OPERATORS_PART: Final = "transfers"
"""A part of a status that only the operator sees."""
RELAYED: Final = "bridge_relayed_bytes_total "
FAILURES: Final = (aiohttp.ClientError, OSError, TimeoutError, ValueError)


def new_web() -> aiohttp.ClientSession:
    """Return the HTTP client that reads statuses and sends purchases."""
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S), trust_env=False)


@dataclass
class CartView:
    """One cart as seen from outside. Times are monotonic.

    Attributes:
        status: its newest status; empty before the first.
        earlier_value: what was measured of the version before the current one.
        trouble: why it rejected the last purchase, as a sentence.
        folder: its data folder, which contains the token of its API.
    """

    number: int
    url: str
    folder: Path = Path()
    status: Json = field(default_factory=dict)
    answered_at: float = float("-inf")
    moved_at: float = float("-inf")
    earlier_value: float | None = None
    trouble: str = ""

    async def look(self, web: aiohttp.ClientSession) -> bool:
        """Request the cart's status; return False if it does not answer, or not to the operator."""
        try:
            async with web.get(f"{self.url}/api/status", headers=self.headers) as answer:
                answer.raise_for_status()
                status = await answer.json()
        except FAILURES:
            return False
        if OPERATORS_PART not in status:  # a cart that starts answers before its token is written
            return False
        self.take(status, time.monotonic())
        return True

    @property
    def headers(self) -> dict[str, str]:
        """The HTTP headers that authorize a request as the operator's."""
        try:
            return {"Authorization": f"Bearer {(self.folder / 'api-token').read_text().strip()}"}
        except OSError:
            return {}

    def take(self, status: Json, now: float) -> None:
        """Record a status."""
        before, self.status, self.answered_at = self.status, status, now
        if progress_of(status) != progress_of(before):
            self.moved_at = now
        old, new = before.get("model"), status["model"]
        if old and new and old["number"] != new["number"]:
            self.earlier_value = old["value"]

    def answers(self, now: float) -> bool:
        """Return whether the cart has answered recently."""
        return now - self.answered_at < AWAY_S

    def is_waited_for(self, now: float) -> bool:
        """Return whether the other carts wait for this one: it answers, and makes progress."""
        return self.answers(now) and now - self.moved_at < PATIENCE_S

    @property
    def is_prepared(self) -> bool:
        """Whether the cart has a trained model and serves."""
        return bool(self.status) and bool(self.status["model"]) and self.status["stage"] not in PREPARING

    @property
    def rounds_ended(self) -> int:
        """The number of rounds that have ended."""
        return int(self.status.get("rounds_ended", 0))


@dataclass
class OwnCart(CartView):
    """A cart that the demo itself runs."""

    program: Program = field(kw_only=True)


def progress_of(status: Json) -> tuple[object, ...]:
    """Return the parts of a status that change when a cart makes progress."""
    if not status:
        return ()
    return (status["stage"], status["rounds_ended"], status["rows"]["total"], str(status["epoch"]))


@dataclass
class BridgeView:
    """The bridge as seen from outside."""

    url: str
    program: Program
    carts: int = 0
    relayed_bytes: int = 0
    answered_at: float = float("-inf")

    async def look(self, web: aiohttp.ClientSession) -> bool:
        """Request the bridge's figures; return False if it does not answer."""
        try:
            async with web.get(f"{self.url}/healthz") as answer:
                answer.raise_for_status()
                self.carts = int((await answer.json())["carts"])
            async with web.get(f"{self.url}/metrics") as answer:
                answer.raise_for_status()
                self.relayed_bytes = relayed_bytes(await answer.text())
        except FAILURES:
            return False
        self.answered_at = time.monotonic()
        return True

    def answers(self, now: float) -> bool:
        """Return whether the bridge has answered recently."""
        return now - self.answered_at < AWAY_S


def relayed_bytes(metrics: str) -> int:
    """Return the relayed bytes from Prometheus's text format; 0 if they are missing."""
    for line in metrics.splitlines():
        if line.startswith(RELAYED):
            return int(float(line[len(RELAYED) :]))
    return 0
