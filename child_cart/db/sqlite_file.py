"""One SQLite file: written ahead (WAL), synced at each commit, and used by one thread at a time."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from cart_common.process.os_errors import error_words

from .deadline import remaining_s, within
from .refusals import Refusals
from .store import StoreAway, StoreError
from .timed_lock import TimedLock

TIMEOUT_S: Final = 5.0


class SqliteFile:
    """A file and its connection.

    One connection, one lock: SQLite writes one transaction at a time anyway, and each here takes well under a
    millisecond beside the disk's sync.

    Args:
        path: made if it does not exist.
        timeout_s: how long to wait for other threads and for other programs that use the file, all in all, where no
            deadline is set (``deadline.within``).

    Raises:
        StoreError: if it cannot be opened, or is not an SQLite file.

    Attributes:
        lock: is held during each query; hold it longer for queries that belong together.
        connection: for statements of a ``transaction``.
        refusals: of transactions.
    """

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self.lock = TimedLock(
            timeout_s, lambda: StoreAway(self._busy_sentence("others of this cart wait for it already"))
        )
        self.refusals = Refusals()
        # Purchases are private: no other user of the machine may read them, from the first byte on.
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
            os.fchmod(descriptor, 0o600)  # a file that was copied back may have another mode
            os.close(descriptor)
        except OSError as error:
            raise StoreError(f"The store {path} cannot be opened: {error_words(error)}.") from None
        self.connection = sqlite3.connect(path, timeout_s, check_same_thread=False, isolation_level=None)
        with self._naming_the_file():
            self.connection.execute("PRAGMA journal_mode = WAL")
            self.connection.execute("PRAGMA synchronous = FULL")

    def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """Return all rows that a query finds."""
        with self._held():
            return self.connection.execute(statement, parameters).fetchall()

    def value(self, statement: str, *parameters: Any) -> Any:
        """Return the first column of the first row that a query finds."""
        return self.rows(statement, *parameters)[0][0]

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what the block writes, or nothing of it if the block fails."""
        with self._noting_refusals(), self._held():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # after some errors, as a full disk, SQLite has ended it itself
                    self.connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the connection. Safe to call again."""
        with self.lock:
            self.connection.close()

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the file, with what is left of the time to wait for other programs that write to it."""
        with within(self._timeout_s), self.lock, self._naming_the_file():
            self.connection.execute(f"PRAGMA busy_timeout = {int(remaining_s(self._timeout_s) * 1000)}")
            yield

    @contextmanager
    def _noting_refusals(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            if isinstance(error.__cause__, sqlite3.DatabaseError):
                self.refusals.note(str(error))
            raise
        self.refusals.clear()

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Turn SQLite's errors into one that names the file and the way out."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                raise StoreAway(self._busy_sentence(str(error))) from error
            raise StoreError(
                f"The store {self._path} cannot be used ({error}). If the disk is full, make room; if the file is "
                "damaged, restore it from a backup, or move it away to start with an empty store."
            ) from error

    def _busy_sentence(self, why: str) -> str:
        return (
            f"The store {self._path} is busy ({why}). Another program may hold the file; the cart goes on by itself "
            "when it lets go."
        )
