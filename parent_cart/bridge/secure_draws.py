"""Random numbers that nobody can predict, from the system's source, many of which are fetched at once."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from typing import Final

FETCHED_AT_ONCE: Final = 256
BYTES_OF_ONE: Final = 8


class SecureDraws:
    """Draw whole numbers.

    A call of the system costs more than all the rest of a draw, and a cluster takes hundreds of draws.

    Args:
        random_bytes: like ``os.urandom``.
    """

    def __init__(self, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._random_bytes = random_bytes
        self._fetched: list[int] = []

    def randrange(self, first: int, stop: int) -> int:
        """Return a number of ``range(first, stop)``, each as likely as the others but for one part in 2^64 / range."""
        if not self._fetched:
            self._fetched = array("Q", self._random_bytes(FETCHED_AT_ONCE * BYTES_OF_ONE)).tolist()
        return first + self._fetched.pop() % (stop - first)
