"""What a cart may send in a second. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

BURST_S: Final = 1.0


@dataclass(frozen=True)
class Rates:
    """The most that one cart may send; 0 is no limit."""

    frames_per_s: int = 0
    bytes_per_s: int = 0


class Allowance:
    """Two token buckets of one cart, for frames and for bytes, which may be overdrawn by what was read at once.

    So nothing that came is ever dropped; who overdraws waits until it has been earned.
    """

    __slots__ = ("_bytes_left", "_counted_at", "_frames_left", "_rates")

    def __init__(self, rates: Rates, now: float) -> None:
        self._rates = rates
        self._frames_left = rates.frames_per_s * BURST_S
        self._bytes_left = rates.bytes_per_s * BURST_S
        self._counted_at = now

    def spend(self, frames: int, count: int, now: float) -> float:
        """Take frames and bytes that have come at ``now``; return for how many seconds no more are to be taken."""
        passed_s, self._counted_at = now - self._counted_at, now
        self._frames_left, frames_s = _draw(self._frames_left, frames, self._rates.frames_per_s, passed_s)
        self._bytes_left, bytes_s = _draw(self._bytes_left, count, self._rates.bytes_per_s, passed_s)
        return max(frames_s, bytes_s)


def _draw(left: float, count: int, per_s: int, passed_s: float) -> tuple[float, float]:
    """Return what is left of a bucket, and the seconds until it is not overdrawn any more."""
    if not per_s:
        return 0.0, 0.0
    left = min(per_s * BURST_S, left + passed_s * per_s) - count
    return left, max(0.0, -left / per_s)
