"""A token bucket: what may be taken at once, and what is earned back in a second. Pure."""

from __future__ import annotations

from dataclasses import dataclass


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
