"""How often an address may check out without a login. May be called from any thread; has no clock."""

from __future__ import annotations

import math
import threading
from typing import Final

from cart_common.process.token_bucket import AddressBuckets

MINUTE_S: Final = 60.0


class TooManySales(Exception):
    """An address has checked out too often; the message is a sentence for the shopper.

    Attributes:
        wait_s: seconds until the next sale is taken.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(
            f"Nothing was sold: this address has sent too many sales. Wait {math.ceil(wait_s)} s, then check out again."
        )
        self.wait_s = wait_s


class CheckoutLimit:
    """A token bucket for each address (of IPv6, each /64 network).

    Args:
        per_minute: how many sales an address earns in a minute; 0 for no limit.
        at_once: sales that one address may make at once, after a rest.
    """

    def __init__(self, per_minute: float, at_once: int) -> None:
        self._buckets = AddressBuckets(per_minute / MINUTE_S, at_once) if per_minute else None
        self._taking = threading.Lock()

    def take(self, address: str, now: float) -> None:
        """Count one sale.

        Raises:
            TooManySales: if the address has none left; nothing is counted then.
        """
        if self._buckets is None:
            return
        with self._taking:
            bucket = self._buckets.of(address, now)
            wait_s = bucket.wait_s(1, now)
            if not wait_s:
                bucket.take(1, now)
        if wait_s:
            raise TooManySales(wait_s)

    def give_back(self, address: str, now: float) -> None:
        """Take the count of a sale back that was not kept."""
        if self._buckets is not None:
            with self._taking:
                self._buckets.of(address, now).give_back(1)
