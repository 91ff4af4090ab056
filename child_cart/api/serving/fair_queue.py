"""A queue from which clients are served in turns: a client with many jobs delays others by one of them."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Jobs of several clients: those of one client in their order, the clients in turns. For any threads."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False

    def waiting(self, client: str) -> int:
        """Return how many jobs of a client wait."""
        with self._changed:
            return len(self._waiting.get(client, ()))

    def put(self, client: str, job: T) -> None:
        """Add a job behind the client's others."""
        with self._changed:
            self._waiting.setdefault(client, deque()).append(job)
            self._changed.notify()

    def take(self) -> T | None:
        """Wait for a job and return it; None when the queue is closed and empty."""
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            client, jobs = self._waiting.popitem(last=False)
            job = jobs.popleft()
            if jobs:
                self._waiting[client] = jobs  # behind the other clients
            return job

    def drop(self, client: str, job: T) -> None:
        """Remove a job that nobody waits for any more; a job that was taken is not affected."""
        with self._changed:
            jobs = self._waiting.get(client, deque())
            with suppress(ValueError):
                jobs.remove(job)
            if not jobs:
                self._waiting.pop(client, None)

    def close(self) -> None:
        """Let ``take`` return None when no job is left."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
