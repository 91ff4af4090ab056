"""What a cart may send in a second. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cart_common.process.token_bucket import TokenBucket

BURST_S: Final = 1.0


@dataclass(frozen=True)
class RateLimits:
    """The most that one cart may send; 0 is no limit."""

    frames_per_s: int = 0
    bytes_per_s: int = 0


class Allowance:
    """What is left to one cart, of frames and of bytes; both may be overdrawn by what was read at once.

    So nothing that came is ever dropped; who overdraws waits until it has been earned.
    """

    __slots__ = ("_bytes", "_frames")

    def __init__(self, rates: RateLimits, now: float) -> None:
        self._frames, self._bytes = (_bucket(per_s, now) for per_s in (rates.frames_per_s, rates.bytes_per_s))

    def spend(self, frames: int, count: int, now: float) -> float:
        """Take frames and bytes that have come at ``now``; return for how many seconds no more are to be taken."""
        return max(_draw(self._frames, frames, now), _draw(self._bytes, count, now))

    def is_full(self, now: float) -> bool:
        """Tell whether nothing is missing, as in a new one."""
        return all(bucket is None or bucket.is_full(now) for bucket in (self._frames, self._bytes))


def _bucket(per_s: int, now: float) -> TokenBucket | None:
    return TokenBucket(per_s, per_s * BURST_S, now) if per_s else None


def _draw(bucket: TokenBucket | None, count: int, now: float) -> float:
    """Take so many, and return the seconds until the bucket is not overdrawn any more."""
    return 0.0 if bucket is None else max(0.0, -bucket.take(count, now) / bucket.per_s)
