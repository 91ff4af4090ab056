"""A token bucket: what may be taken at once, and what is earned back in a second; and one for each address. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from .account import account_of

ADDRESSES_KEPT: Final = 10_000


@dataclass(slots=True)
class TokenBucket:
    """Tokens that are earned at a rate, up to a limit; full at first.

    More tokens may be taken than are left: the bucket is then overdrawn until they have been earned.
    """

    per_s: float
    most: float
    counted_at: float
    taken: float = 0.0
    """How many tokens were missing from a full bucket at ``counted_at``."""

    def left(self, now: float) -> float:
        """Return how many tokens are left; below zero if it is overdrawn."""
        return self.most - max(0.0, self.taken - (now - self.counted_at) * self.per_s)

    def take(self, count: float, now: float) -> float:
        """Take tokens, and return how many are left."""
        left = self.left(now) - count
        self.taken, self.counted_at = self.most - left, now
        return left

    def wait_s(self, count: float, now: float) -> float:
        """Return in how many seconds there are this many tokens; 0 if there are now."""
        return max(0.0, count - self.left(now)) / self.per_s

    def give_back(self, count: float) -> None:
        """Put tokens back that were taken."""
        self.taken = max(0.0, self.taken - count)

    def is_full(self, now: float) -> bool:
        """Tell whether nothing is missing, as in a new bucket."""
        return self.left(now) >= self.most


class AddressBuckets:
    """A bucket for each address that was seen lately; the addresses of one network share one.

    Args:
        per_s: how many tokens an address earns in a second.
        most: how many it has at once.
        kept: how many buckets are kept; the one unused for longest is dropped first, so a flood of addresses needs a
            limit for all of them, too.
    """

    def __init__(self, per_s: float, most: float, kept: int = ADDRESSES_KEPT) -> None:
        self._per_s = per_s
        self._most = most
        self._kept = kept
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def of(self, address: str, now: float) -> TokenBucket:
        """Return the bucket of an address."""
        key = account_of(address=address)
        bucket = self._buckets.setdefault(key, TokenBucket(self._per_s, self._most, now))
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._kept:
            self._buckets.popitem(last=False)
        return bucket

    def forget(self, address: str) -> None:
        """Give an address a full bucket again."""
        self._buckets.pop(account_of(address=address), None)
