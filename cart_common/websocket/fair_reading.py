"""Sockets share the event loop's time, so that a short message waits neither for megabytes nor for a flood of messages.

An event loop polls all sockets in each pass, and uvloop reads from one of them up to 32 times while data is there. With
some bulk transfers, or a flood of messages that are costly to answer, such a pass takes milliseconds or seconds, and
everything else waits for its end. So a pass works for ``PASS_S``; sockets for which no time is left wait, and one of
them goes on in each later pass: the one whose account has used least. Time is measured, so it does not matter what it
is spent on (start-time fair queueing: Goyal, Vin and Cheng, SIGCOMM 1996).

Over TLS, uvloop drops what was not read when the other side closes. If a process is killed, and so closes without the
closing handshake, its last bytes may be lost while its socket waits. A transfer resumes without them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Final

PASS_S: Final = 0.0005


class ReadingAccount:
    """The time that was used for those who share it; what they did not use earlier gives them no advantage later."""

    __slots__ = ("__weakref__", "used_s")

    def __init__(self) -> None:
        self.used_s = 0.0


class FairReading:
    """The time of the present pass, and the sockets that wait for a later one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()  # who waits longer goes first among equals
        self._level_s = 0.0  # what the account of the one that went on last had used
        self._spent_s = 0.0
        self._is_pass_marked = False

    def has_time(self) -> bool:
        """Tell whether the present pass has time left."""
        return self._spent_s < PASS_S

    def may_go_on(self, account: ReadingAccount) -> bool:
        """Tell whether to work for an account now: there is time, and nobody waits who has used less."""
        return self.has_time() and (not self._waiting or self._start_of(account) <= self._waiting[0][0])

    def charge(self, account: ReadingAccount, seconds: float) -> None:
        """Take note of the time that was used for an account in the present pass."""
        account.used_s = self._start_of(account) + seconds
        self._spent_s += seconds
        self._mark_pass()

    def wait(self, account: ReadingAccount, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` when it is this account's turn: after the present pass at the earliest."""
        heappush(self._waiting, (self._start_of(account), next(self._numbers), go_on))
        self._mark_pass()

    def _start_of(self, account: ReadingAccount) -> float:
        return max(account.used_s, self._level_s)

    def _mark_pass(self) -> None:
        if not self._is_pass_marked:
            self._is_pass_marked = True
            asyncio.get_running_loop().call_soon(self._begin_pass)

    def _begin_pass(self) -> None:
        self._is_pass_marked, self._spent_s = False, 0.0
        if self._waiting:
            self._level_s, _, go_on = heappop(self._waiting)
            if self._waiting:
                self._mark_pass()
            go_on()
