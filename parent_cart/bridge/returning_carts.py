"""What carts that left may still take: a cart that comes back does not get a full bucket. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from cart_common.process.account import account_of


class Refills(Protocol):
    """A bucket that fills up again."""

    def is_full(self, now: float) -> bool:
        """Tell whether it is full, like a new one."""


B = TypeVar("B", bound=Refills)


class ReturningCarts(Generic[B]):
    """The buckets of carts that have left, for when they come back.

    Args:
        most: how many are kept; the oldest is dropped first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, B] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def leave(self, cart_id: str, bucket: B, now: float) -> None:
        """Keep the bucket of a cart that leaves, unless it is full; forget those that are full by now."""
        if not bucket.is_full(now):
            account = account_of(cart_id=cart_id)
            self._kept[account] = bucket
            self._kept.move_to_end(account)
        while self._kept and (len(self._kept) > self._most or next(iter(self._kept.values())).is_full(now)):
            self._kept.popitem(last=False)

    def come_back(self, cart_id: str) -> B | None:
        """Return the bucket that a cart has left behind, if there is one."""
        return self._kept.pop(account_of(cart_id=cart_id), None)
