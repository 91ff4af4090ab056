"""A database on a MongoDB server: asks, asks again once, and turns the driver's errors into readable ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import pymongo
from pymongo import MongoClient, ReadPreference
from pymongo.errors import ConnectionFailure, DuplicateKeyError, PyMongoError, ServerSelectionTimeoutError
from pymongo.write_concern import WriteConcern

from .deadline import remaining_s, within
from .refusals import Refusals
from .store import StoreAway, StoreError
from .timed_lock import TimedLock

T = TypeVar("T")

WATCH_MS: Final = 2000
"""Interval at which the driver looks for a server that is away."""


class MongoServer:
    """One database, asked by one thread at a time.

    Args:
        url: ``mongodb://…/database``.
        shown: the same without secrets, for messages.
        timeout_s: limit for finding the server, and for each answer.

    Raises:
        StoreError: if the address is not valid.

    Attributes:
        database: writes to it are journaled and acknowledged by a majority.
        lock: is held while the server is asked; hold it longer for questions that belong together.
        refusals: of writes.
        on_break: is called when the cart no longer knows what the server has done and kept.
    """

    def __init__(self, url: str, shown: str, timeout_s: float) -> None:
        self._shown = shown
        self._timeout_s = timeout_s
        self.on_break: Callable[[], None] = lambda: None
        self._is_away = False
        self.refusals = Refusals()
        self.lock = TimedLock(timeout_s, lambda: StoreAway(self._away_sentence("others wait for it already")))
        with self.explained():
            self._client = client_of(
                url,
                timeout_s,
                heartbeatFrequencyMS=WATCH_MS,
                retryWrites=False,  # a standalone server cannot; ``ask`` repeats instead
                appname="cart",
                maxPoolSize=4,
            )
            self.database: Any = self._client.get_default_database().with_options(
                read_preference=ReadPreference.PRIMARY,
                write_concern=WriteConcern(w="majority", j=True, wtimeout=_milliseconds(timeout_s)),
            )

    def close(self) -> None:
        """Let the connections go. Safe to call again."""
        self._client.close()

    def ask(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run idempotent work on the server; repeat it once if the connection breaks.

        All waiting together, for the lock, for a server and for its answers, ends after the time that is set for the
        store, or for the request (``deadline.within``).

        Raises:
            StoreAway: if there is no answer in time.
            StoreError: if it refuses.
        """
        with within(self._timeout_s), self.lock, self.explained():
            # A page must not wait anew for each of its figures. The driver looks for the server by itself.
            if self._is_away and not self._client.topology_description.has_writable_server():
                raise StoreAway(self._away_sentence("no connection"))
            if (left_s := remaining_s(self._timeout_s)) == 0.0:
                raise StoreAway(self._away_sentence("no time is left"))
            with pymongo.timeout(left_s):
                done = self._tried(work, *arguments)
            self._is_away = False
            return done

    def write(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run idempotent work that writes, as ``ask`` does; that it succeeds ends a refusal."""
        done = self.ask(work, *arguments)
        self.refusals.clear()
        return done

    def prepare(self, work: Callable[[], T]) -> T:
        """Run idempotent work at the start, as long as each of its answers comes in time."""
        with self.lock, self.explained():
            return self._tried(work)

    def _tried(self, work: Callable[..., T], *arguments: Any) -> T:
        try:
            return work(*arguments)
        except ServerSelectionTimeoutError:  # the driver has waited long enough
            raise
        except ConnectionFailure:
            self.on_break()
            return work(*arguments)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn the driver's errors into ``StoreAway`` and ``StoreError``, except that of a duplicate key."""
        try:
            yield
        except DuplicateKeyError:
            raise
        except ValueError as error:  # the driver's words for an invalid address
            raise StoreError(f"The store {self._shown} cannot be used ({error}).") from None
        except ConnectionFailure as error:
            self.on_break()
            self._is_away = True
            raise StoreAway(self._away_sentence(first_words(error))) from None
        except PyMongoError as error:
            self.on_break()
            if error.timeout:  # as a write that no majority has confirmed
                raise StoreAway(self._away_sentence(first_words(error))) from None
            refused = StoreError(
                f"The store {self._shown} refuses ({first_words(error)}). Look at the server's log; a full disk, a "
                "wrong password and a user without readWrite on this database look like this."
            )
            self.refusals.note(str(refused))
            raise refused from None

    def _away_sentence(self, why: str) -> str:
        return (
            f"The store {self._shown} does not answer ({why}). Nothing that was confirmed is lost; a running "
            "cart goes on by itself when the server is back."
        )


def client_of(url: str, timeout_s: float, **options: Any) -> MongoClient[dict[str, Any]]:
    """Return a client that waits at most this long to find the server, and for each answer."""
    wait_ms = _milliseconds(timeout_s)
    return MongoClient(
        url, serverSelectionTimeoutMS=wait_ms, connectTimeoutMS=wait_ms, socketTimeoutMS=wait_ms, **options
    )


def _milliseconds(seconds: float) -> int:
    return max(int(seconds * 1000), 1)


def first_words(error: Exception) -> str:
    """Return the beginning of a driver's error; the rest describes the whole topology."""
    return str(error).partition(", Timeout:")[0].partition(", full error:")[0][:200]
