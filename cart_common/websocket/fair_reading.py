"""Who has read much waits, while all others are looked at: a message of a few bytes is not to wait for megabytes.

An event loop looks at all sockets in each of its passes, and uvloop reads from one up to 32 times as long as there is
something to read. With some bulk transfers such a pass takes milliseconds, and whatever else comes waits for its end.

Over TLS, uvloop drops what is not read when the other side's end comes: so the last bytes of a side that ends without
the closing handshake, as one that is killed does, may be lost while it waits. A transfer goes on without them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class FairReading:
    """Those who wait; one of them goes on in each pass of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call back when it is this one's turn, which is after the present pass at the earliest."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        self._waiting.append(go_on)

    def _next(self) -> None:
        go_on = self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        go_on()
