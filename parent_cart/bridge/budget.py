"""How much may wait in the bridge for all carts together. Pure.

Credit that was granted and what waits to be read count alike: what a sender may send, it will send. While half of the
whole is free, everybody gets what they ask for. Beyond that a receiver has at most a quarter of what is free, so that
receivers who read nothing share what there is, and always leave some for those who read (after Choudhury and Hahne,
Dynamic Queue Length Thresholds, 1998).
"""

from __future__ import annotations

from collections import Counter


class Budget:
    """What is promised to receivers and what waits for them, in bytes.

    Args:
        most_bytes: of both together, for all receivers.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.promised: Counter[str] = Counter()
        self.waiting: Counter[str] = Counter()
        self._held_bytes = 0

    @property
    def free_bytes(self) -> int:
        """What is left; below zero after a chunk that was on its way already."""
        return self.most_bytes - self._held_bytes

    def promise(self, cart_id: str, count: int) -> None:
        """Count credit of a receiver; less than zero takes it back."""
        self._add(self.promised, cart_id, count)

    def wait(self, cart_id: str, count: int) -> None:
        """Count bytes that wait for a receiver; less than zero if they do no longer."""
        self._add(self.waiting, cart_id, count)

    def room_for(self, cart_id: str, chunk_bytes: int) -> int:
        """Return how much more a receiver may be promised."""
        free = self.free_bytes
        held = self.promised[cart_id] + self.waiting[cart_id]
        # Who holds nothing gets a chunk, as long as there is one: else a few that hold much would stop all others.
        first = chunk_bytes if not held and free >= chunk_bytes else 0
        return max(free - self.most_bytes // 2, free // 4 - held, first)

    def _add(self, counts: Counter[str], cart_id: str, count: int) -> None:
        self._held_bytes += count
        counts[cart_id] += count
        if not counts[cart_id]:
            del counts[cart_id]
