"""How many bytes may wait in the bridge for all carts together. Pure.

Granted credit and bytes that wait count alike: a sender will use its credit. While half of the budget is free, each
receiver gets what it asks for. Beyond that it gets at most a quarter of what is free, so that receivers that read
nothing always leave room for those that read (after Choudhury and Hahne, Dynamic Queue Length Thresholds, 1998).
"""

from __future__ import annotations

from collections import Counter


class Budget:
    """The bytes that are promised to receivers, and those that wait for them.

    Args:
        most_bytes: the limit of both together, for all receivers.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.promised: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()
        self._held_bytes = 0

    @property
    def free_bytes(self) -> int:
        """The bytes that are left; below zero after a chunk that was under way already."""
        return self.most_bytes - self._held_bytes

    def promise(self, cart_id: str, count: int) -> None:
        """Count credit of a receiver; a negative count takes it back."""
        self._add(self.promised, cart_id, count)

    def wait(self, cart_id: str, count: int) -> None:
        """Count bytes that wait for a receiver; a negative count, those that no longer do."""
        self._add(self.waiting, cart_id, count)

    def room_for(self, cart_id: str, chunk_bytes: int) -> int:
        """Return how much more a receiver may be promised."""
        free = self.free_bytes
        held = self.promised[cart_id] + self.waiting[cart_id]
        # A receiver that holds nothing gets a chunk if there is room: else a few that hold much could stop the others.
        first = chunk_bytes if not held and free >= chunk_bytes else 0
        return max(free - self.most_bytes // 2, free // 4 - held, first)

    def _add(self, counts: Counter[str], cart_id: str, count: int) -> None:
        self._held_bytes += count
        counts[cart_id] += count
        if not counts[cart_id]:
            del counts[cart_id]
