"""Which requests are fresh: made lately, and taken for the first time. Pure.

A message id begins with the time at which it was made. So it need be remembered only until that time is too long ago.

Where the wall clock is set, all ids are forgotten, and of the time before only the span is known in which the requests
were made that were taken. So nothing is taken twice, and a clock that was wrong for a while hinders nothing later.
"""

from __future__ import annotations

import math
import os
from typing import Final

from .datagrams import MESSAGE_ID_BYTES, DatagramError, Fault

TIME_BYTES: Final = 6
WINDOW_S: Final = 120.0
"""How far the clocks of two bridges may be apart; records are taken by the same measure."""
# Of each request that is answered, for 120 s, or 240 s where a clock is ahead: about 1,000 a second without a break.
MOST_REMEMBERED: Final = 1 << 18
SET_BY_S: Final = 10.0
"""A wall clock that has moved by more than this against the monotonic one was set."""
MOST_SPANS: Final = 8


def new_message_id(now_s: float) -> bytes:
    """Return an id for a request that is made now: milliseconds since 1970, and 14 random bytes."""
    return int(now_s * 1000).to_bytes(TIME_BYTES) + os.urandom(MESSAGE_ID_BYTES - TIME_BYTES)


def _made_at_s(message_id: bytes) -> float:
    return int.from_bytes(message_id[:TIME_BYTES]) / 1000


class ReplayWindow:
    """The ids of the requests that were taken lately.

    Args:
        now_s: seconds since 1970. What was made before is refused, since the ids of an earlier process are not known.
            Where the clock is set, this moment moves with it.
        monotonic_s: seconds that only grow.
        most: how many ids are remembered; beyond that requests are refused, not ids forgotten.
    """

    def __init__(self, now_s: float, monotonic_s: float, most: int = MOST_REMEMBERED) -> None:
        self._started_s = monotonic_s
        self._offset_s = now_s - monotonic_s
        # In milliseconds, as times are written: a request made in the same one is not from before.
        self._known_since_s = int(now_s * 1000) / 1000
        self._most = most
        self._by_second: dict[int, set[bytes]] = {}
        self._count = 0
        self._swept_at = 0
        self._span: tuple[float, float] | None = None
        """When the first and the last of the requests were made that were taken since the clock was set."""
        self._earlier: list[tuple[float, float]] = []

    def __len__(self) -> int:
        return self._count

    def check(self, message_id: bytes, now_s: float, monotonic_s: float) -> None:
        """Check that a request is fresh.

        Raises:
            DatagramError: if it is not: ``STALE``, or ``REPEATED``.
        """
        self._follow(now_s, monotonic_s)
        made_at_s = _made_at_s(message_id)
        if made_at_s < self._known_since_s or abs(now_s - made_at_s) > WINDOW_S:
            raise DatagramError(Fault.STALE)
        if any(first_s <= made_at_s <= last_s for first_s, last_s in self._earlier):
            raise DatagramError(Fault.STALE)
        if message_id in self._by_second.get(int(made_at_s), ()):
            raise DatagramError(Fault.REPEATED)

    def remember(self, message_id: bytes, now_s: float) -> None:
        """Remember a request that is taken: one that was checked just now.

        Raises:
            DatagramError: if there is no room (``TOO_MANY``); the request is not taken then.
        """
        self._forget_old(now_s)
        if self._count >= self._most:
            raise DatagramError(Fault.TOO_MANY)
        made_at_s = _made_at_s(message_id)
        self._by_second.setdefault(int(made_at_s), set()).add(message_id)
        self._count += 1
        first_s, last_s = self._span or (made_at_s, made_at_s)
        self._span = (min(first_s, made_at_s), max(last_s, made_at_s))

    def _follow(self, now_s: float, monotonic_s: float) -> None:
        """Begin anew if the wall clock was set; small steps add up."""
        offset_s = now_s - monotonic_s
        if abs(offset_s - self._offset_s) <= SET_BY_S:
            return
        self._offset_s = offset_s
        self._known_since_s = int((self._started_s + offset_s) * 1000) / 1000
        if self._span is not None:
            self._earlier = sorted([*self._earlier, self._span])
            self._span = None
        if len(self._earlier) > MOST_SPANS:  # the two that are longest ago become one, with what lies between
            (first_s, end_s), (_, last_s), *others = self._earlier
            self._earlier = [(first_s, max(end_s, last_s)), *others]
        self._by_second.clear()
        self._count = 0

    def _forget_old(self, now_s: float) -> None:
        if int(now_s) == self._swept_at:
            return
        self._swept_at = int(now_s)
        oldest_s = math.ceil(now_s - WINDOW_S - 1)
        # A small step back must make nothing fresh again.
        self._known_since_s = max(self._known_since_s, oldest_s)
        for second in [second for second in self._by_second if second < oldest_s]:
            self._count -= len(self._by_second.pop(second))
