"""Limits how often passwords are tried, from one address and from all together. Has no I/O and no clock."""

from __future__ import annotations

import math
from typing import Final

from cart_common.process.token_bucket import AddressBuckets, TokenBucket

PER_ADDRESS: Final = 5
ADDRESS_REFILL_S: Final = 30.0
IN_ALL: Final = 20
ALL_REFILL_S: Final = 3.0
ADDRESSES_KEPT: Final = 1024


class LoginThrottle:
    """Token buckets: a burst of tries, then one more every few seconds.

    Args:
        per_address: tries at once from one address (of IPv6, one network); one more each ``address_refill_s`` seconds.
        in_all: tries at once from everywhere; one more each ``all_refill_s`` seconds.
    """

    def __init__(
        self,
        per_address: int = PER_ADDRESS,
        address_refill_s: float = ADDRESS_REFILL_S,
        in_all: int = IN_ALL,
        all_refill_s: float = ALL_REFILL_S,
    ) -> None:
        self._all = TokenBucket(1 / all_refill_s, in_all, -math.inf)
        # A flood of addresses can push others out of here; the bound over all still holds.
        self._addresses = AddressBuckets(1 / address_refill_s, per_address, ADDRESSES_KEPT)

    def take(self, address: str, now: float) -> float:
        """Take one try and return 0; if none is left, take nothing and return the seconds to wait."""
        buckets = (self._addresses.of(address, now), self._all)
        wait_s = max(bucket.wait_s(1, now) for bucket in buckets)
        if wait_s == 0:
            for bucket in buckets:
                bucket.take(1, now)
        return wait_s

    def give_back(self, address: str) -> None:
        """Forget the tries of an address that has sent the right password."""
        self._addresses.forget(address)
        self._all.give_back(1)
