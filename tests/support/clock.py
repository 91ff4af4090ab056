"""A clock that a test turns."""

from __future__ import annotations


class Clock:
    """Seconds, as a function gives them; they change only by ``now``."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the present time."""
        return self.now
