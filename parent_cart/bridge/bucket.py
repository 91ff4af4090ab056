"""A token bucket: what may be taken at once, and what is earned back in a second; and buckets of who is away. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar


@dataclass(slots=True)
class Bucket:
    """Tokens that are earned at a rate, up to as many as fit; full at first.

    More may be taken than are left: the bucket is overdrawn then, until that has been earned.
    """

    per_s: float
    most: float
    counted_at: float
    taken: float = 0.0
    """How many were missing from a full bucket when it was counted."""

    def left(self, now: float) -> float:
        """Return how many tokens are left; below zero if it is overdrawn."""
        return self.most - max(0.0, self.taken - (now - self.counted_at) * self.per_s)

    def take(self, count: float, now: float) -> float:
        """Take tokens, and return how many are left."""
        left = self.left(now) - count
        self.taken, self.counted_at = self.most - left, now
        return left

    def is_full(self, now: float) -> bool:
        """Tell whether nothing is missing, as in a new bucket."""
        return self.left(now) >= self.most


class Refills(Protocol):
    """What is as good as new after a while."""

    def is_full(self, now: float) -> bool:
        """Tell whether it is as good as new."""


B = TypeVar("B", bound=Refills)


class Away(Generic[B]):
    """Buckets of carts that have left: who comes back finds its own, and none is refilled by coming back.

    Args:
        most: how many are kept; the one that was left longest ago goes first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, B] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def leave(self, cart_id: str, bucket: B, now: float) -> None:
        """Keep the bucket of a cart that leaves, unless it is full; forget those that have filled up meanwhile."""
        if not bucket.is_full(now):
            self._kept[cart_id] = bucket
            self._kept.move_to_end(cart_id)
        while self._kept and (len(self._kept) > self._most or next(iter(self._kept.values())).is_full(now)):
            self._kept.popitem(last=False)

    def come_back(self, cart_id: str) -> B | None:
        """Return the bucket that a cart has left behind, if there is one."""
        return self._kept.pop(cart_id, None)
