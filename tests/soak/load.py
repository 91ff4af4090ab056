"""Shoppers and a feed that never give up: each sale and batch is sent until the cart has confirmed it."""

from __future__ import annotations

import http.client
import random
import threading
import time
import urllib.error
from collections.abc import Callable
from typing import Any

from child_cart.model.task import Row
from child_cart.shop.billing import CATALOGUE
from tests.soak.sold_task import row_of
from tests.support.processes.programs import CartProcess

AGAIN_S = 0.05


class Load:
    """What was sent to a cart, and what it has confirmed."""

    def __init__(self, cart: CartProcess, seed: int, shoppers: int = 2) -> None:
        self._cart = cart
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.sales: dict[str, list[int]] = {}
        """The amounts on each confirmed bill, by sale id."""
        self.batches: dict[str, list[Row]] = {}
        """The rows of each confirmed batch."""
        self.refused: list[str] = []
        self.tries = 0
        works: list[Callable[[str, random.Random], None]] = [self._shop] * shoppers + [self._feed]
        self._threads = [
            threading.Thread(target=self._run, args=(work, f"{place}", random.Random(seed + place)), daemon=True)
            for place, work in enumerate(works)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """Begin nothing new, and see to it that all that was begun is confirmed."""
        self._stop.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), "a sale was never confirmed"

    def _run(self, work: Callable[[str, random.Random], None], name: str, draw: random.Random) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                work(f"{name}-{number}", draw)
            except Exception as error:
                self.refused.append(f"{type(error).__name__}: {error}")
                raise
            time.sleep(draw.expovariate(1 / 0.02))  # shoppers, not a benchmark: the machine is to train as well

    def _shop(self, sale_id: str, draw: random.Random) -> None:
        items = draw.sample(CATALOGUE, draw.randint(1, 4))
        amounts = [draw.randint(1, 900) for _ in items]
        lines = [{"code": item.code, "amount": amount} for item, amount in zip(items, amounts, strict=True)]
        body = {"sale_id": sale_id, "gender": draw.randint(0, 1), "lines": lines}
        answer = self._until_confirmed("/api/checkout", body)
        total = sum(item.price_cents * amount for item, amount in zip(items, amounts, strict=True))
        with self._lock:
            self.sales[sale_id] = amounts
            if answer["sale"]["total_cents"] != total:
                self.refused.append(f"{sale_id} was confirmed with another total")

    def _feed(self, batch_id: str, draw: random.Random) -> None:
        rows = [row_of(draw.randint(1, 900)) for _ in range(draw.randint(1, 12))]
        self._until_confirmed("/api/rows", {"batch_id": batch_id, "rows": rows})
        with self._lock:
            self.batches[batch_id] = rows

    def _until_confirmed(self, path: str, body: dict[str, Any]) -> Any:
        while True:
            self.tries += 1
            try:
                return self._cart.post(path, body)
            except urllib.error.HTTPError as error:
                if error.code != 503:
                    with self._lock:
                        self.refused.append(f"{path} {error.code} {error.read()[:300]!r}")
            except (OSError, ValueError, http.client.HTTPException):
                pass  # it is being killed, or is starting
            time.sleep(AGAIN_S)
