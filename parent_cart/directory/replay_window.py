"""Which requests are fresh: made lately, and taken for the first time. Pure.

A message id begins with the time at which it was made. So it need be remembered only until that time is too long ago.
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


def new_message_id(now_s: float) -> bytes:
    """Return an id for a request that is made now: milliseconds since 1970, and 14 random bytes."""
    return int(now_s * 1000).to_bytes(TIME_BYTES) + os.urandom(MESSAGE_ID_BYTES - TIME_BYTES)


def _made_at_s(message_id: bytes) -> float:
    return int.from_bytes(message_id[:TIME_BYTES]) / 1000


class ReplayWindow:
    """The ids of the requests that were taken lately.

    Args:
        now_s: seconds since 1970. What was made before is refused, since the ids of an earlier process are not known.
            So is what was made before ids were last forgotten: a clock that is set back makes nothing fresh again.
        most: how many ids are remembered; beyond that requests are refused, not ids forgotten.
    """

    def __init__(self, now_s: float, most: int = MOST_REMEMBERED) -> None:
        # In milliseconds, as times are written: a request made in the same one is not from before.
        self._known_since_s = int(now_s * 1000) / 1000
        self._most = most
        self._by_second: dict[int, set[bytes]] = {}
        self._count = 0
        self._swept_at = 0

    def __len__(self) -> int:
        return self._count

    def check(self, message_id: bytes, now_s: float) -> None:
        """Check that a request is fresh.

        Raises:
            DatagramError: if it is not: ``STALE``, or ``REPEATED``.
        """
        made_at_s = _made_at_s(message_id)
        if made_at_s < self._known_since_s or abs(now_s - made_at_s) > WINDOW_S:
            raise DatagramError(Fault.STALE)
        if message_id in self._by_second.get(int(made_at_s), ()):
            raise DatagramError(Fault.REPEATED)

    def remember(self, message_id: bytes, now_s: float) -> None:
        """Remember a request that is taken.

        Raises:
            DatagramError: if there is no room (``TOO_MANY``); the request is not taken then.
        """
        self._forget_old(now_s)
        if self._count >= self._most:
            raise DatagramError(Fault.TOO_MANY)
        self._by_second.setdefault(int(_made_at_s(message_id)), set()).add(message_id)
        self._count += 1

    def _forget_old(self, now_s: float) -> None:
        if int(now_s) == self._swept_at:
            return
        self._swept_at = int(now_s)
        oldest_s = math.ceil(now_s - WINDOW_S - 1)
        self._known_since_s = max(self._known_since_s, oldest_s)
        for second in [second for second in self._by_second if second < oldest_s]:
            self._count -= len(self._by_second.pop(second))
