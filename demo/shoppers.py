"""Shoppers: purchases made of the rows of a cart's share, sent through its API faster than life.

A purchase keeps its id until the cart has taken it, so that none is lost and none counts twice.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

import aiohttp

from child_cart.model.task import Row

from .watch import FAILURES, CartView, Json

TICK_S: Final = 0.25
FILL_STEPS: Final = 10
"""In how many steps a cart gets the rows of a round."""
MOST_LINES: Final = 4
LOOK_AHEAD: Final = 36
BATCH_ROWS: Final = 5
FIRST_YEAR: Final = 2020
YEARS: Final = 4
LAST_DAY: Final = 28  # of any month


@dataclass(frozen=True)
class Purchase:
    """One request to a cart, and how many rows it makes."""

    path: str
    body: Json
    rows: int


def bills(
    rows: Sequence[Row], codes: Mapping[int, Sequence[str]], draw: random.Random, name: str
) -> Iterator[Purchase]:
    """Turn ``shopping`` rows into bills without end, from the first row again after the last.

    A bill takes the next row and those of the same month and gender among the few that follow, each as an item of the
    row's category that is not on it yet: lines of one item would be put together, and make one row.
    """
    waiting: list[Row] = []
    for number in count(1):
        while len(waiting) < LOOK_AHEAD:
            waiting += rows
        first = waiting[0]
        same = [row for row in waiting[:LOOK_AHEAD] if _buyer(row) == _buyer(first)]
        lines: dict[str, int] = {}
        for row in same[: draw.randint(1, MOST_LINES)]:
            unused = [code for code in codes[row["item"]] if code not in lines]
            if unused:
                lines[draw.choice(unused)] = draw.randint(1, 3)
                waiting.remove(row)
        body = {
            "sale_id": f"{name}-{number}",
            "gender": first["gender"],
            "sold_on": f"{FIRST_YEAR + draw.randrange(YEARS)}-{first['month']:02d}-{draw.randint(1, LAST_DAY):02d}",
            "lines": [{"code": code, "amount": amount} for code, amount in lines.items()],
        }
        yield Purchase("/api/checkout", body, len(lines))


def _buyer(row: Row) -> tuple[int, int]:
    return row["month"], row["gender"]


def batches(rows: Sequence[Row], name: str) -> Iterator[Purchase]:
    """Turn rows of any task into small batches without end, from the first row again after the last."""
    place = 0
    for number in count(1):
        batch = [rows[(place + step) % len(rows)] for step in range(BATCH_ROWS)]
        place += BATCH_ROWS
        yield Purchase("/api/rows", {"batch_id": f"{name}-{number}", "rows": batch}, BATCH_ROWS)


def rows_wanted(status: Json, fleet: Sequence[Json], limit: int) -> int:
    """Return how many rows a cart is to get now.

    All carts are filled to the same level, a step at a time, and wait for each other after a round: so they train at
    the same moment, and the models that they then ask each other for have just been trained. A cart that trains while
    the others do not gets their last average instead, in which its own share of knowledge is thinned out.

    Args:
        status: what the cart says of itself.
        fleet: what all carts say that are not to be left behind.
        limit: rounds after which a cart gets no more; 0 for none.
    """
    ended = status["rounds_ended"]
    if not _is_buying(status) or (limit and ended >= limit) or any(other["rounds_ended"] < ended for other in fleet):
        return 0
    size, waiting = int(status["rows"]["dataset_size"]), int(status["rows"]["waiting"])
    level = min(
        (int(other["rows"]["waiting"]) for other in fleet if other["rounds_ended"] == ended and _is_buying(other)),
        default=waiting,
    )
    return max(0, min(size, level + math.ceil(size / FILL_STEPS)) - waiting)


def _is_buying(status: Json) -> bool:
    rows = status["rows"]
    return status["stage"] == "SERVING" and status["round"] is None and rows["waiting"] < rows["dataset_size"]


class Shoppers:
    """All that buy at one cart.

    Args:
        cart: what is seen of it.
        fleet: what is seen of all carts, this one too.
        rows: those of its share that are left to buy; none if the task has none.
        sells: whether the rows are sold as bills.
        limit: rounds after which to stop buying; 0 for none.
        name: what the ids of their purchases begin with. A cart knows the ids of all that was ever bought there.
    """

    def __init__(
        self,
        cart: CartView,
        fleet: Sequence[CartView],
        rows: Sequence[Row],
        sells: bool,
        limit: int,
        name: str = "demo",
    ) -> None:
        self._cart = cart
        self._fleet = fleet
        self._rows = rows
        self._sells = sells
        self._limit = limit
        self._name = f"{name}-{cart.number}"
        self._draw = random.Random(cart.number)  # noqa: S311 - nothing secret
        self._next: Purchase | None = None

    async def run(self, web: aiohttp.ClientSession, opened: Callable[[], bool]) -> None:
        """Look at the cart and buy, for ever; nothing is bought before ``opened``."""
        purchases: Iterator[Purchase] | None = None
        while True:
            await _until_next(TICK_S, 0.0)
            if await self._cart.look(web) and self._rows and opened():
                # Half a tick later all carts have been looked at, so that all shoppers decide by the same picture.
                await _until_next(TICK_S, TICK_S / 2)
                purchases = purchases or await self._purchases(web)
                if purchases is not None:
                    await self._buy(purchases, web)

    async def _buy(self, purchases: Iterator[Purchase], web: aiohttp.ClientSession) -> None:
        """Make the purchases of one tick."""
        now = time.monotonic()
        fleet = [cart.status for cart in self._fleet if cart.holds_up(now)]
        wanted = rows_wanted(self._cart.status, fleet, self._limit)
        while wanted > 0:
            self._next = self._next or next(purchases)
            if not await self._send(self._next, web):
                return
            wanted -= self._next.rows
            self._next = None

    async def _send(self, purchase: Purchase, web: aiohttp.ClientSession) -> bool:
        """Send a purchase; False if it is to be sent again later."""
        try:
            address, headers = f"{self._cart.url}{purchase.path}", self._cart.headers
            async with web.post(address, json=purchase.body, headers=headers) as answer:
                if answer.status < 500:
                    self._cart.trouble = "" if answer.ok else str((await answer.json()).get("error", answer.reason))
                    return True
                self._cart.trouble = f"The cart answered with HTTP status {answer.status}."
        except FAILURES:
            pass
        return False

    async def _purchases(self, web: aiohttp.ClientSession) -> Iterator[Purchase] | None:
        """Return what will be bought; None while the cart does not show its items."""
        if not self._sells:
            return batches(self._rows, self._name)
        try:
            async with web.get(f"{self._cart.url}/api/items") as answer:
                answer.raise_for_status()
                return bills(self._rows, codes_of(await answer.json()), self._draw, self._name)
        except FAILURES:
            return None


async def _until_next(period_s: float, offset_s: float) -> None:
    """Sleep until the clock is at a multiple of the period, plus the offset: the same moments for everybody."""
    await asyncio.sleep(period_s - (time.monotonic() - offset_s) % period_s)


def codes_of(catalogue: Mapping[str, Any]) -> dict[int, list[str]]:
    """Return the codes of each category from the answer of ``/api/items``."""
    codes: dict[int, list[str]] = {}
    for item in catalogue["items"]:
        codes.setdefault(item["category"], []).append(item["code"])
    return codes
