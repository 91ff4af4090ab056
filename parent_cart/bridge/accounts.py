"""Which account each attached cart belongs to: limits count the carts of one account as one. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Generic, Protocol, TypeVar

from cart_common.process.account import account_of


class Accounts:
    """The accounts of the attached carts, each fixed when its cart attaches."""

    def __init__(self) -> None:
        self._of_cart: dict[str, str] = {}
        self._carts: dict[str, set[str]] = {}

    def __contains__(self, cart_id: str) -> bool:
        return cart_id in self._of_cart

    def __getitem__(self, cart_id: str) -> str:
        return self._of_cart[cart_id]

    def enter(self, cart_id: str) -> None:
        """Count a cart whose key has been proved."""
        account = self._of_cart[cart_id] = account_of(cart_id=cart_id)
        self._carts.setdefault(account, set()).add(cart_id)

    def leave(self, cart_id: str) -> None:
        """Stop counting an attached cart."""
        account = self._of_cart.pop(cart_id)
        self._carts[account].discard(cart_id)
        if not self._carts[account]:
            del self._carts[account]

    def carts_beside(self, cart_id: str) -> Collection[str]:
        """Return the attached carts of an attached cart's account, itself among them; one that is not is alone."""
        account = self._of_cart.get(cart_id)
        return (cart_id,) if account is None else self._carts[account]


class Refills(Protocol):
    """A bucket that fills up again."""

    def is_full(self, now: float) -> bool:
        """Tell whether it is full, like a new one."""


B = TypeVar("B", bound=Refills)


class AccountBuckets(Generic[B]):
    """A bucket for each account, until it is full again: who comes back, or comes under many keys, gets no new one.

    Args:
        new: makes a full bucket at a time in seconds.
        most: how many are kept; the one unused for longest is dropped first.
    """

    def __init__(self, new: Callable[[float], B], most: int) -> None:
        self._new = new
        self._most = most
        self._kept: OrderedDict[str, B] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def of(self, account: str, now: float) -> B:
        """Return the bucket of an account, to be used at once: a full one is not kept."""
        bucket = self._kept.get(account)
        if bucket is None:
            while self._kept and (len(self._kept) >= self._most or next(iter(self._kept.values())).is_full(now)):
                self._kept.popitem(last=False)
            bucket = self._kept[account] = self._new(now)
        else:
            self._kept.move_to_end(account)
        return bucket
