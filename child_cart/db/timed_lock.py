"""A lock around a store that no request waits for longer than it may wait for the store."""

from __future__ import annotations

import threading
from collections.abc import Callable

from .deadline import remaining_s
from .store import StoreAway


class TimedLock:
    """A lock that its holder may take again, and that others wait for no longer than they may wait for the store.

    Args:
        timeout_s: how long, where no deadline is set.
        busy: makes the error that is raised then.
    """

    def __init__(self, timeout_s: float, busy: Callable[[], StoreAway]) -> None:
        self._lock = threading.RLock()
        self._timeout_s = timeout_s
        self._busy = busy

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=remaining_s(self._timeout_s)):
            raise self._busy()

    def __exit__(self, *_: object) -> None:
        self._lock.release()
