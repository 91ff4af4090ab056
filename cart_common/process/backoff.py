"""Random delays, so that many machines that start or fail together do not go on together."""

from __future__ import annotations

import random
from collections.abc import Callable


def jittered(
    seconds: float, least: float = 0.5, most: float = 1.0, uniform: Callable[[float, float], float] = random.uniform
) -> float:
    """Return a random part of a time: between ``least`` and ``most`` times ``seconds``."""
    return uniform(least * seconds, most * seconds)


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
        # The exponent is bounded: after a week without a bridge, 2**n would be a huge integer.
        ceiling_s = min(self._cap_s, self._first_s * 2 ** min(self._tries, 32))
        self._tries += 1
        return jittered(ceiling_s, uniform=self._uniform)

    def reset(self) -> None:
        """Start again with the shortest delay: the last try worked."""
        self._tries = 0
