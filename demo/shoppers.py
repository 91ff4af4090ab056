"""Simulated shoppers: turn the rows of a cart's partition into purchases, and send them through the cart's API.

A purchase keeps its id until the cart has accepted it, so that no purchase is lost or counted twice.
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
"""The number of steps in which a cart gets the rows of a round."""
MOST_LINES: Final = 4
LOOK_AHEAD: Final = 36
BATCH_ROWS: Final = 5
FIRST_YEAR: Final = 2020
YEARS: Final = 4
LAST_DAY: Final = 28  # of any month


@dataclass(frozen=True)
class Purchase:
    """One request to a cart, and the number of rows that the cart makes of it."""

    path: str
    body: Json
    rows: int


def bills(
    rows: Sequence[Row], codes: Mapping[int, Sequence[str]], draw: random.Random, name: str
) -> Iterator[Purchase]:
    """Turn ``shopping`` rows into bills endlessly; after the last row the first one follows.

    A bill takes the next row, and rows of the same month and gender among the few that follow. Each row becomes an item
    of its category that is not on the bill yet: a cart merges lines of the same item, and would make one row of them.
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
    """Turn rows of any task into small batches endlessly; after the last row the first one follows."""
    place = 0
    for number in count(1):
        batch = [rows[(place + step) % len(rows)] for step in range(BATCH_ROWS)]
        place += BATCH_ROWS
        yield Purchase("/api/rows", {"batch_id": f"{name}-{number}", "rows": batch}, BATCH_ROWS)


def rows_wanted(status: Json, fleet: Sequence[Json], limit: int) -> int:
    """Return how many rows a cart gets now.

    All carts are filled to the same level, step by step, and wait for each other after a round. So they train at the
    same time, and request models from each other that have just been trained. A cart that trains alone would get the
    last average of the others instead, in which its own contribution is diluted.

    Args:
        status: the cart's status.
        fleet: the statuses of all carts that wait for each other.
        limit: number of rounds after which a cart gets no more rows; 0 for no limit.
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
    """The simulated shoppers of one cart.

    Args:
        cart: the view of this cart.
        fleet: the views of all carts, including this one.
        rows: the rows to buy; empty if the task has no starter rows.
        sells: whether the rows are sold as bills.
        limit: number of rounds after which they stop buying; 0 for no limit.
        name: prefix of the ids of their purchases. It must be new to the cart, which remembers all ids.
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

    async def run(self, web: aiohttp.ClientSession, may_buy: Callable[[], bool]) -> None:
        """Read the cart's status and buy, until cancelled; buy only while ``may_buy`` returns True."""
        purchases: Iterator[Purchase] | None = None
        while True:
            await _until_next(TICK_S, 0.0)
            if await self._cart.look(web) and self._rows and may_buy():
                # Half a tick later all statuses are known, so that all shoppers decide on the same ones.
                await _until_next(TICK_S, TICK_S / 2)
                purchases = purchases or await self._purchases(web)
                if purchases is not None:
                    await self._buy(purchases, web)

    async def _buy(self, purchases: Iterator[Purchase], web: aiohttp.ClientSession) -> None:
        """Make the purchases of one tick."""
        now = time.monotonic()
        fleet = [cart.status for cart in self._fleet if cart.is_waited_for(now)]
        wanted = rows_wanted(self._cart.status, fleet, self._limit)
        while wanted > 0:
            self._next = self._next or next(purchases)
            if not await self._send(self._next, web):
                return
            wanted -= self._next.rows
            self._next = None

    async def _send(self, purchase: Purchase, web: aiohttp.ClientSession) -> bool:
        """Send a purchase; return False if it must be sent again."""
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
        """Return the endless purchases; None while the cart does not list its items."""
        if not self._sells:
            return batches(self._rows, self._name)
        try:
            async with web.get(f"{self._cart.url}/api/items") as answer:
                answer.raise_for_status()
                return bills(self._rows, codes_of(await answer.json()), self._draw, self._name)
        except FAILURES:
            return None


async def _until_next(period_s: float, offset_s: float) -> None:
    """Sleep until the clock is at a multiple of the period, plus the offset: the same times for all shoppers."""
    await asyncio.sleep(period_s - (time.monotonic() - offset_s) % period_s)


def codes_of(catalogue: Mapping[str, Any]) -> dict[int, list[str]]:
    """Return the codes of each category, from the answer of ``/api/items``."""
    codes: dict[int, list[str]] = {}
    for item in catalogue["items"]:
        codes.setdefault(item["category"], []).append(item["code"])
    return codes
