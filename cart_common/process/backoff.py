"""Delays between tries: exponential, with jitter and a cap, so that a fleet does not come back as one stampede."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Give growing delays until something works.

    Each delay is drawn between half and all of ``first_s * 2**n``, at most ``cap_s`` ("equal jitter": never a burst,
    never zero).
    """

    def __init__(self, first_s: float, cap_s: float, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._uniform = uniform
        self._tries = 0

    def next_delay_s(self) -> float:
        """Return how many seconds to wait before the next try."""
        # The exponent is bounded: 2**n of a bridge that is away for a week would be a large integer for nothing.
        ceiling_s = min(self._cap_s, self._first_s * 2 ** min(self._tries, 32))
        self._tries += 1
        return self._uniform(ceiling_s / 2, ceiling_s)

    def reset(self) -> None:
        """Start again with the shortest delay: the last try worked."""
        self._tries = 0
