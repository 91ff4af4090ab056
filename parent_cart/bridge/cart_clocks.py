"""How far this machine's clock is from those of the attached carts. Decides without I/O; clocks are handed in."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Final

from cart_common.process.number_words import duration_words

CLOCK_OFF_S: Final = 60.0
"""Records that others have signed are refused with two minutes of difference, or once a short life is over."""


class CartClocks:
    """What the attached carts' clocks say, from the times of their records.

    A cart can only lie about its own clock, and only warnings follow from it.

    Args:
        clock: seconds that only grow. They carry the carts' times on, so setting this machine's clock shows at once.
        wall_clock: seconds since the epoch, by this machine's clock.
    """

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._of_carts: dict[str, float] = {}

    def note(self, cart_id: str, time_s: float) -> None:
        """Take the time that a cart's clock shows now, in seconds since the epoch."""
        self._of_carts[cart_id] = time_s - self._clock()

    def forget(self, cart_id: str) -> None:
        """Forget a cart that has left."""
        self._of_carts.pop(cart_id, None)

    def ahead_s(self) -> float | None:
        """Return how far this machine's clock is ahead of the median of the carts' clocks; None without a cart."""
        return self._own() - median(self._of_carts.values()) if self._of_carts else None

    def count_off(self) -> int:
        """Return how many carts have a clock that is far from this machine's."""
        own = self._own()
        return sum(abs(own - cart) > CLOCK_OFF_S for cart in self._of_carts.values())

    def sentence(self) -> str:
        """Return what an operator should know of the clocks; empty if nothing is wrong."""
        ahead_s, off = self.ahead_s(), self.count_off()
        if not off or ahead_s is None:
            return ""
        if abs(ahead_s) <= CLOCK_OFF_S:
            carts = "1 cart is" if off == 1 else f"{off} carts are"
            return f"By their clocks {carts} off by more than {CLOCK_OFF_S:.0f} s; the admin pages say by how much."
        way = "ahead of" if ahead_s > 0 else "behind"
        return (
            f"This machine's clock is {duration_words(round(abs(ahead_s)))} {way} those of most carts. "
            "Set the one that is wrong (timedatectl): until then carts are not found over several bridges."
        )

    def _own(self) -> float:
        return self._wall_clock() - self._clock()
