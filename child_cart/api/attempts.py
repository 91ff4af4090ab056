"""How often a password may be tried: by one address, and by all together. Decides with no I/O and no clock."""

from __future__ import annotations

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

PER_ADDRESS: Final = 5
ADDRESS_REFILL_S: Final = 30.0
IN_ALL: Final = 20
ALL_REFILL_S: Final = 3.0
ADDRESSES_KEPT: Final = 1024


@dataclass(slots=True)
class _Bucket:
    left: float
    at: float


class Attempts:
    """Token buckets: some tries at once, then one each so many seconds.

    Args:
        per_address: tries at once from one address; one more each ``address_refill_s`` seconds.
        in_all: tries at once from everywhere; one more each ``all_refill_s`` seconds.
    """

    def __init__(
        self,
        per_address: int = PER_ADDRESS,
        address_refill_s: float = ADDRESS_REFILL_S,
        in_all: int = IN_ALL,
        all_refill_s: float = ALL_REFILL_S,
    ) -> None:
        self._per_address = per_address
        self._address_refill_s = address_refill_s
        self._in_all = in_all
        self._all_refill_s = all_refill_s
        self._all = _Bucket(in_all, -math.inf)
        self._addresses: OrderedDict[str, _Bucket] = OrderedDict()

    def take(self, address: str, now: float) -> float:
        """Take one try; returns 0, or how many seconds to wait if there is none left (nothing is taken then)."""
        bucket = self._addresses.get(address) or _Bucket(self._per_address, now)
        _refill(bucket, self._per_address, self._address_refill_s, now)
        _refill(self._all, self._in_all, self._all_refill_s, now)
        wait_s = max(_wait_s(bucket, self._address_refill_s), _wait_s(self._all, self._all_refill_s))
        if wait_s == 0:
            bucket.left -= 1
            self._all.left -= 1
        # The longest unseen goes first: what a flood of addresses can push out, the bound over all still holds.
        self._addresses[address] = bucket
        self._addresses.move_to_end(address)
        if len(self._addresses) > ADDRESSES_KEPT:
            self._addresses.popitem(last=False)
        return wait_s

    def give_back(self, address: str) -> None:
        """Forget the tries of an address whose password was right."""
        self._addresses.pop(address, None)
        self._all.left = min(self._all.left + 1, self._in_all)


def _refill(bucket: _Bucket, most: int, refill_s: float, now: float) -> None:
    bucket.left = min(float(most), bucket.left + max(0.0, now - bucket.at) / refill_s)
    bucket.at = now


def _wait_s(bucket: _Bucket, refill_s: float) -> float:
    return 0.0 if bucket.left >= 1 else (1 - bucket.left) * refill_s
