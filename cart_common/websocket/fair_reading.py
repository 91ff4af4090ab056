"""Sockets share the event loop's time, so that a short message waits neither for megabytes nor for a flood of messages.

An event loop polls all sockets in each pass, and uvloop reads from one of them up to 32 times while data is there. With
some bulk transfers, or a flood of messages that are costly to answer, such a pass takes milliseconds or seconds, and
everything else waits for its end. So a pass works for ``PASS_S``; sockets for which no time is left wait, and one of
them goes on in each later pass: one of the account that has used least, which has no more turns with many sockets than
with one. Time is measured, so it does not matter what it is spent on (start-time fair queueing: Goyal, Vin and Cheng,
SIGCOMM 1996).

Over TLS, uvloop drops what was not read when the other side closes. If a process is killed, and so closes without the
closing handshake, its last bytes may be lost while its socket waits. A transfer resumes without them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush, heapreplace
from itertools import count
from typing import Final
from weakref import WeakValueDictionary

PASS_S: Final = 0.0005


class ReadingAccount:
    """The time that was used for those who share it; what they did not use earlier gives them no advantage later.

    What they used while nobody waited gives them no disadvantage either.
    """

    __slots__ = ("__weakref__", "used_s", "waiting")

    def __init__(self) -> None:
        self.used_s = 0.0
        self.waiting: deque[Callable[[], None]] = deque()
        """What goes on at the turns of this account, in this order."""


class FairReading:
    """The time of the present pass, and the sockets that wait for a later one."""

    def __init__(self) -> None:
        self._accounts: WeakValueDictionary[str, ReadingAccount] = WeakValueDictionary()
        self._waiting: list[tuple[float, int, ReadingAccount]] = []  # a heap; each account at most once
        # The last to come goes first among equals: one who asks now and then need not wait for all of a flood.
        self._numbers = count(0, -1)
        self._level_s = 0.0  # what the account of the one that went on last had used
        self._most_s = 0.0  # the most that any account has used
        self._spent_s = 0.0
        self._is_pass_marked = False

    def account(self, name: str) -> ReadingAccount:
        """Return the account of this name; it is forgotten when no socket uses it."""
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = ReadingAccount()
        return account

    def has_time(self) -> bool:
        """Tell whether the present pass has time left."""
        return self._spent_s < PASS_S

    def may_go_on(self, account: ReadingAccount) -> bool:
        """Tell whether to work for an account now: there is time, and nobody waits who has used less."""
        return self.has_time() and (not self._waiting or self._start_of(account) <= self._least_s())

    def charge(self, account: ReadingAccount, seconds: float) -> None:
        """Take note of the time that was used for an account in the present pass."""
        account.used_s = self._start_of(account) + seconds
        self._most_s = max(self._most_s, account.used_s)
        self._spent_s += seconds
        self._mark_pass()

    def wait(self, account: ReadingAccount, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` when it is this account's turn: after the present pass at the earliest."""
        account.waiting.append(go_on)
        if len(account.waiting) == 1:
            self._push(account)
        self._mark_pass()

    def _push(self, account: ReadingAccount) -> None:
        heappush(self._waiting, (self._start_of(account), next(self._numbers), account))

    def _least_s(self) -> float:
        """Return where the first of those that wait starts; those that were charged meanwhile are put back first."""
        while True:
            start_s, _, account = self._waiting[0]
            if self._start_of(account) <= max(start_s, self._level_s):
                return start_s
            heapreplace(self._waiting, (self._start_of(account), next(self._numbers), account))

    def _start_of(self, account: ReadingAccount) -> float:
        return max(account.used_s, self._level_s)

    def _mark_pass(self) -> None:
        if not self._is_pass_marked:
            self._is_pass_marked = True
            asyncio.get_running_loop().call_soon(self._begin_pass)

    def _begin_pass(self) -> None:
        self._is_pass_marked, self._spent_s = False, 0.0
        if self._waiting:
            go_on = self._next()
            if self._waiting:
                self._mark_pass()
            go_on()
        else:
            self._level_s = self._most_s  # what was used while nobody waited gives no disadvantage later

    def _next(self) -> Callable[[], None]:
        """Return what goes on next; it waits no longer."""
        self._level_s = max(self._level_s, self._least_s())
        _, _, account = heappop(self._waiting)
        go_on = account.waiting.popleft()
        if account.waiting:
            self._push(account)
        return go_on
