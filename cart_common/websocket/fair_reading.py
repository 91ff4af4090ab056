"""Sockets that have read much wait while others are read, so that a short message does not wait for megabytes.

An event loop polls all sockets in each pass, and uvloop reads from one of them up to 32 times while data is there.
With some bulk transfers such a pass takes milliseconds, and everything else waits for its end.

Over TLS, uvloop drops what was not read when the other side closes. If a process is killed, and so closes without the
closing handshake, its last bytes may be lost while its socket waits. A transfer resumes without them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class FairReading:
    """The sockets that wait; one of them reads on in each pass of the event loop."""

    def __init__(self) -> None:
        self._waiting: deque[Callable[[], None]] = deque()

    def wait(self, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` when it is this socket's turn: after the present pass at the earliest."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        self._waiting.append(go_on)

    def _next(self) -> None:
        go_on = self._waiting.popleft()
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._next)
        go_on()
