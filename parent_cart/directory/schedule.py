"""What is due when, for many names whose times change. Pure."""

from __future__ import annotations

import heapq


class Schedule:
    """A due time for each name; each operation takes logarithmic time."""

    def __init__(self) -> None:
        self._due_at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return len(self._due_at)

    def __contains__(self, name: str) -> bool:
        return name in self._due_at

    def put(self, name: str, at: float) -> None:
        """Set the time of a name, in place of an earlier one."""
        self._due_at[name] = at
        heapq.heappush(self._heap, (at, name))
        if len(self._heap) > 2 * len(self._due_at) + 100:  # names that were put again have left their old times behind
            self._heap = [(at, name) for name, at in self._due_at.items()]
            heapq.heapify(self._heap)

    def drop(self, name: str) -> None:
        """Forget a name; one that is not there changes nothing."""
        self._due_at.pop(name, None)

    def take(self, now: float, most: int) -> list[str]:
        """Remove and return up to ``most`` names that are due, the longest due first."""
        taken: list[str] = []
        while self._heap and self._heap[0][0] <= now and len(taken) < most:
            at, name = heapq.heappop(self._heap)
            if self._due_at.get(name) == at:
                del self._due_at[name]
                taken.append(name)
        return taken
