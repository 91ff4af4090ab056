"""How many bytes may wait in the bridge for all carts together. Pure.

Granted credit and bytes that wait count alike: a sender will use its credit. While half of the budget is free, each
receiver gets what it asks for. Beyond that it gets as much as it has drained of late, and one chunk to begin with: so
receivers that drain nothing, however many they are, get next to nothing of the half that is left to those who do.
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
    """How much a receiver has drained in the present and in the last full second."""

    since: float
    last_at: float
    """When it drained last, or first held something."""
    now_bytes: int = 0
    before_bytes: int = 0
    first_bytes: int = 0
    """What went to the kernel first, and may still be there."""

    def take(self, count: int, kernel_bytes: int) -> None:
        """Count what has gone, but for what the kernel may have taken."""
        first = min(count, kernel_bytes - self.first_bytes)
        self.first_bytes += first
        self.now_bytes += count - first

    def roll(self, now: float) -> None:
        """Begin another second if the present one is over."""
        if now - self.since >= DRAIN_S:
            self.before_bytes = self.now_bytes if now - self.since < 2 * DRAIN_S else 0
            self.since, self.now_bytes = now, 0


class Budget:
    """The bytes that are promised to receivers, and those that wait for them.

    Args:
        most_bytes: the limit of both together, for all receivers.
        clock: seconds that only grow.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float]) -> None:
        self.most_bytes = most_bytes
        self.promised: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()
        self._clock = clock
        self._held_bytes = 0
        self._drains: dict[str, Drain] = {}

    @property
    def free_bytes(self) -> int:
        """The bytes that are left; below zero after a chunk that was under way already."""
        return self.most_bytes - self._held_bytes

    def promise(self, cart_id: str, count: int) -> None:
        """Count credit of a receiver; a negative count takes it back."""
        self._add(self.promised, cart_id, count)

    def wait(self, cart_id: str, count: int) -> None:
        """Count bytes that wait for a receiver; a negative count, those that it has drained."""
        self._add(self.waiting, cart_id, count)
        drain = self._drains.get(cart_id)
        if count < 0 and drain is not None:
            drain.last_at = now = self._clock()
            drain.roll(now)
            drain.take(-count, self.most_bytes // KERNEL_SHARE)

    def drop(self, cart_id: str) -> None:
        """Stop counting what waits for a receiver whose link is gone; it has not drained that."""
        self._add(self.waiting, cart_id, -self.waiting[cart_id])
        self._drains.pop(cart_id, None)

    def room_for(self, cart_id: str, chunk_bytes: int) -> int:
        """Return how much more a receiver may be promised."""
        free = self.free_bytes
        held = self.promised[cart_id] + self.waiting[cart_id]
        # A receiver that holds nothing gets a chunk if there is room: else a few that hold much could stop the others.
        first = chunk_bytes if not held and free >= chunk_bytes else 0
        earned = min(self._drained_bytes(cart_id) + chunk_bytes - held, free // 2)
        return max(free - self.most_bytes // 2, earned, first)

    def stalled(self) -> list[str]:
        """Return the receivers that hold something and have drained nothing for long; none while there is room."""
        if self.free_bytes >= self.most_bytes // 4:
            return []
        now = self._clock()
        return [
            cart_id
            for cart_id, drain in self._drains.items()
            if now - drain.last_at > STALLED_S and (self.promised[cart_id] or self.waiting[cart_id])
        ]

    def forget_idle(self) -> None:
        """Forget how much receivers have drained that hold nothing and did so long ago; called regularly."""
        now = self._clock()
        for cart_id, drain in list(self._drains.items()):
            holds = self.promised[cart_id] or self.waiting[cart_id]
            if not holds and now - drain.last_at > 2 * DRAIN_S:
                del self._drains[cart_id]

    def _drained_bytes(self, cart_id: str) -> int:
        drain = self._drains.get(cart_id)
        if drain is None:
            return 0
        drain.roll(self._clock())
        return drain.now_bytes + drain.before_bytes

    def _add(self, counts: Counter[str], cart_id: str, count: int) -> None:
        held_nothing = not self.promised[cart_id] and not self.waiting[cart_id]
        self._held_bytes += count
        counts[cart_id] += count
        if not counts[cart_id]:
            del counts[cart_id]
        if held_nothing and count > 0:
            now = self._clock()
            self._drains.setdefault(cart_id, Drain(now, now)).last_at = now
