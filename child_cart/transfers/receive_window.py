"""How far a sender may run ahead: somewhat more than the path holds, measured while the transfer runs. Pure.

What a path holds is its rate times its shortest round trip. A window of that size fills the path; a larger one only
fills the queues before the bottleneck, where it delays everything else. A window of a multiple of the measured size
grows until the rate stops growing, and then stops by itself (the idea of dynamic right-sizing, Fisk and Feng 2001,
with the bottleneck model of BBR, Cardwell et al. 2016).
"""

from __future__ import annotations

from collections import deque
from typing import Final

FIRST_BYTES: Final = 256 * 1024
LEAST_CHUNKS: Final = 2
# Between two processes of one machine a trip takes less than a pass of their event loops; the window must last for one.
SHORTEST_TRIP_S: Final = 0.01
RATES_KEPT: Final = 8
# While the window is what limits, two thirds of it are always granted (see Assembler), so it must give more than 3 / 2.
GAIN: Final = 2.5


class ReceiveWindow:
    """The receive window of one transfer.

    Args:
        chunk_bytes: the transfer's; a window holds two chunks at least, where ``most_bytes`` allows.
        most_bytes: the most that the receiver and the bridge allow; at least a chunk.
    """

    def __init__(self, chunk_bytes: int, most_bytes: int) -> None:
        self._chunk_bytes = chunk_bytes
        self.most_bytes = max(most_bytes, chunk_bytes)
        self._rates: deque[float] = deque(maxlen=RATES_KEPT)
        self._trip_s: float | None = None
        self._probe: tuple[int, float] | None = None
        self._mark: tuple[int, float] | None = None
        self.size_bytes = self._first_bytes = self._within(FIRST_BYTES)

    def limit_to(self, most_bytes: int) -> None:
        """Set another limit, and drop the measurement under way, since the path may have changed."""
        self.most_bytes = max(most_bytes, self._chunk_bytes)
        self.size_bytes = self._within(self.size_bytes)
        self._probe = self._mark = None

    def note_grant(self, beyond_bytes: int, now_s: float) -> None:
        """Record that the sender may send payload beyond this position from now on, but not before."""
        if self._probe is None:
            self._probe = (beyond_bytes, now_s)

    def note_arrival(self, position_bytes: int, now_s: float) -> None:
        """Record that payload up to this position has come."""
        if self._probe is not None and position_bytes > self._probe[0]:
            trip_s = now_s - self._probe[1]
            self._trip_s = trip_s if self._trip_s is None else min(self._trip_s, trip_s)
            self._probe = None
        if self._mark is None:
            self._mark = (position_bytes, now_s)
        trip_s = max(self._trip_s or 0.0, SHORTEST_TRIP_S)
        since_s = now_s - self._mark[1]
        if since_s >= trip_s:
            self._rates.append((position_bytes - self._mark[0]) / since_s)
            self._mark = (position_bytes, now_s)
            self.size_bytes = self._within(int(GAIN * max(self._rates) * trip_s))
        elif not self._rates and since_s < SHORTEST_TRIP_S:
            # Nothing is measured yet, but payload that comes so soon shows a fast path: as in slow start (RFC 5681),
            # the window doubles with each trip. Over a slow path this ends after a chunk.
            self.size_bytes = self._within(max(self.size_bytes, self._first_bytes + position_bytes - self._mark[0]))

    def _within(self, size_bytes: int) -> int:
        return min(max(size_bytes, LEAST_CHUNKS * self._chunk_bytes), self.most_bytes)
