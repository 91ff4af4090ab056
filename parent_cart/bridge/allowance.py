"""How much an account may send in a second. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cart_common.process.token_bucket import TokenBucket

BURST_S: Final = 1.0


@dataclass(frozen=True)
class RateLimits:
    """How much the carts of one account may send at most; 0 is no limit."""

    frames_per_s: int = 0
    bytes_per_s: int = 0

    @property
    def is_any(self) -> bool:
        """Whether there is a limit."""
        return bool(self.frames_per_s or self.bytes_per_s)


class Allowance:
    """The frames and bytes that one account has left.

    What was read at once may overdraw both, so that nothing is dropped; the cart then waits until it has earned them.
    """

    __slots__ = ("_bytes", "_frames")

    def __init__(self, rates: RateLimits, now: float) -> None:
        self._frames, self._bytes = (_bucket(per_s, now) for per_s in (rates.frames_per_s, rates.bytes_per_s))

    def spend(self, frames: int, count: int, now: float) -> float:
        """Take the frames and bytes that came at ``now``; return for how many seconds to read no more."""
        return max(_draw(self._frames, frames, now), _draw(self._bytes, count, now))

    def is_full(self, now: float) -> bool:
        """Tell whether it is full, like a new one."""
        return all(bucket is None or bucket.is_full(now) for bucket in (self._frames, self._bytes))


def _bucket(per_s: int, now: float) -> TokenBucket | None:
    return TokenBucket(per_s, per_s * BURST_S, now) if per_s else None


def _draw(bucket: TokenBucket | None, count: int, now: float) -> float:
    """Take ``count`` tokens, and return the seconds until the bucket is no longer overdrawn."""
    return 0.0 if bucket is None else max(0.0, -bucket.take(count, now) / bucket.per_s)
