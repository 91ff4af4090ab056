"""How many bytes may wait in the bridge for all carts together. Pure.

Granted credit and bytes that wait count alike: a sender will use its credit. While half of the budget is free, each
receiver gets what it asks for. Beyond that an account gets as much as it has drained of late, and one chunk to begin
with: so those that drain nothing, however many they are, get next to nothing of the half that is left to those who do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

DRAIN_S: Final = 1.0
# A link over radio may stand still for some seconds. Who stands still for longer gives way, but only in a full bridge.
STALLED_S: Final = 3.0
# What the kernel takes for one that reads nothing (4 MiB by Linux's tcp_wmem) must not look as if it were drained.
KERNEL_SHARE: Final = 16  # of the whole budget, which is 64 MiB by default


@dataclass(slots=True)
class Drain:
    """What an account holds, and how much it has drained in the present and in the last full second."""

    since: float
    held_bytes: int = 0
    now_bytes: int = 0
    before_bytes: int = 0

    def roll(self, now: float) -> None:
        """Begin another second if the present one is over."""
        if now - self.since >= DRAIN_S:
            self.before_bytes = self.now_bytes if now - self.since < 2 * DRAIN_S else 0
            self.since, self.now_bytes = now, 0


@dataclass(slots=True)
class Receiver:
    """A receiver that holds something, or has drained something of late."""

    account: str
    last_at: float
    """When it drained last, or first held something."""
    first_bytes: int = 0
    """What went to the kernel first, and may still be there."""

    def beyond_kernel(self, count: int, kernel_bytes: int) -> int:
        """Count what has gone; return how much of it cannot be in the kernel."""
        first = min(count, kernel_bytes - self.first_bytes)
        self.first_bytes += first
        return count - first


class Budget:
    """The bytes that are promised to receivers, and those that wait for them.

    Args:
        most_bytes: the limit of both together, for all receivers.
        clock: seconds that only grow.
        account_of: the account of an attached receiver; all its receivers together earn room as one.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float], account_of: Callable[[str], str]) -> None:
        self.most_bytes = most_bytes
        self.promised: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()
        self._clock = clock
        self._account_of = account_of
        self._held_bytes = 0
        self._receivers: dict[str, Receiver] = {}
        self._drains: dict[str, Drain] = {}  # by account

    @property
    def free_bytes(self) -> int:
        """The bytes that are left; below zero after a chunk that was under way already."""
        return self.most_bytes - self._held_bytes

    @property
    def is_half_free(self) -> bool:
        """Whether each receiver gets what it asks for."""
        return self.free_bytes > self.most_bytes // 2

    def promise(self, cart_id: str, count: int) -> None:
        """Count credit of a receiver; a negative count takes it back."""
        self._add(self.promised, cart_id, count)

    def wait(self, cart_id: str, count: int) -> None:
        """Count bytes that wait for a receiver; a negative count, those that it has drained."""
        self._add(self.waiting, cart_id, count)
        if count < 0:
            receiver = self._receivers[cart_id]
            receiver.last_at = now = self._clock()
            drain = self._drains[receiver.account]
            drain.roll(now)
            drain.now_bytes += receiver.beyond_kernel(-count, self.most_bytes // KERNEL_SHARE)

    def drop(self, cart_id: str) -> None:
        """Stop counting what waits for a receiver whose link is gone; it has not drained that."""
        self._add(self.waiting, cart_id, -self.waiting[cart_id])
        if cart_id in self._receivers:
            self._receivers[cart_id].first_bytes = 0  # the next link has another buffer

    def room_for(self, cart_id: str, chunk_bytes: int) -> int:
        """Return how much more a receiver may be promised."""
        free, drain = self.free_bytes, self._drains.get(self._account_of(cart_id), Drain(0.0))
        drain.roll(self._clock())
        held, drained = drain.held_bytes, drain.now_bytes + drain.before_bytes
        # An account that holds nothing gets a chunk if there is room: else a few that hold much could stop the others.
        first = chunk_bytes if not held and free >= chunk_bytes else 0
        earned = min(drained + chunk_bytes - held, free // 2)
        return max(free - self.most_bytes // 2, earned, first)

    def stalled(self) -> list[str]:
        """Return the receivers that hold something and have drained nothing for long; none while there is room."""
        if self.free_bytes >= self.most_bytes // 4:
            return []
        now = self._clock()
        return [
            cart_id
            for cart_id, receiver in self._receivers.items()
            if now - receiver.last_at > STALLED_S and self._holds(cart_id)
        ]

    def forget_idle(self) -> None:
        """Forget how much receivers have drained that hold nothing and did so long ago; called regularly."""
        now = self._clock()
        for cart_id, receiver in list(self._receivers.items()):
            if not self._holds(cart_id) and now - receiver.last_at > 2 * DRAIN_S:
                del self._receivers[cart_id]
        used = {receiver.account for receiver in self._receivers.values()}
        self._drains = {account: drain for account, drain in self._drains.items() if account in used}

    def _holds(self, cart_id: str) -> bool:
        return cart_id in self.promised or cart_id in self.waiting

    def _add(self, counts: Counter[str], cart_id: str, count: int) -> None:
        if not count:
            return
        if not self._holds(cart_id):
            now = self._clock()
            receiver = self._receivers.setdefault(cart_id, Receiver("", now))
            receiver.account, receiver.last_at = self._account_of(cart_id), now
            self._drains.setdefault(receiver.account, Drain(now))
        self._drains[self._receivers[cart_id].account].held_bytes += count
        self._held_bytes += count
        counts[cart_id] += count
        if not counts[cart_id]:
            del counts[cart_id]
