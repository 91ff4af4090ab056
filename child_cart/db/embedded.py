"""The store without a server: one SQLite file, written ahead (WAL) and synced at each commit."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from .records import BillLine, Item, Json, ModelVersion, Origin, Outcome, RoundRecord, Sale, StoredRow, Verdict
from .store import HOLD_OUT_EVERY, StoreError

SCHEMA_VERSION: Final = 2
# Sales and rows are never deleted and their numbers never reused, so the largest number is also the count: every
# figure that a page asks for is one step in an index, however long the history.
_SCHEMA: Final = f"""
BEGIN;
CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, category INTEGER NOT NULL, price_cents INTEGER NOT NULL,
    retired INTEGER NOT NULL DEFAULT 0);
CREATE TABLE sales (number INTEGER PRIMARY KEY, sale_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE batches (batch_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE cart_data (sequence INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE INDEX held_out_rows ON cart_data (sequence) WHERE sequence % {HOLD_OUT_EVERY} = 0;
CREATE TABLE models (number INTEGER PRIMARY KEY, trained_to INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE rounds (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""
_FROM_1_TO_2: Final = """
BEGIN;
ALTER TABLE items ADD COLUMN retired INTEGER NOT NULL DEFAULT 0;
PRAGMA user_version = 2;
COMMIT;
"""


class EmbeddedStore:
    """A ``Store`` in one SQLite file.

    One connection, one lock: SQLite writes one transaction at a time anyway, and each here takes well under a
    millisecond beside the disk's sync.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        # Purchases are private: nobody else on the machine may read them, from the first byte on.
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(f"The store {path} cannot be opened: {error.strerror}.") from None
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        with self._naming_the_file():
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")
            found = self._value("PRAGMA user_version")
            if found == 0:
                self._connection.executescript(_SCHEMA)
            elif found == 1:
                self._connection.executescript(_FROM_1_TO_2)
            elif found != SCHEMA_VERSION:
                raise StoreError(
                    f"The store {path} has schema version {found}; this program reads {SCHEMA_VERSION}. "
                    "Use the version of the program that wrote it, or give another --data-dir."
                )

    # Selling.

    def items(self) -> list[Item]:
        """Return the catalogue, by category and name."""
        rows = self._all("SELECT code, name, category, price_cents, retired FROM items ORDER BY category, name")
        return [Item(code, name, category, cents, bool(retired)) for code, name, category, cents, retired in rows]

    def put_items(self, items: Sequence[Item]) -> None:
        """Add items, or change those whose code is there."""
        with self._transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO items (code, name, category, price_cents, retired) VALUES (?, ?, ?, ?, ?)",
                [(item.code, item.name, item.category, item.price_cents, item.retired) for item in items],
            )

    def record_sale(self, sale: Sale, rows: Sequence[Json]) -> bool:
        """Keep a sale and its rows, both or neither; False if this sale id is there already (nothing changes)."""
        with self._transaction() as connection:
            body = json.dumps(asdict(sale))
            added = connection.execute(
                "INSERT OR IGNORE INTO sales (sale_id, body) VALUES (?, ?)", (sale.sale_id, body)
            )
            return self._add_rows_if(added, rows)

    def sale(self, sale_id: str) -> Sale | None:
        """Return the sale of this id, or None."""
        rows = self._all("SELECT body FROM sales WHERE sale_id = ?", sale_id)
        return _sale_of(json.loads(rows[0][0])) if rows else None

    def sales(self, limit: int) -> list[Sale]:
        """Return the newest sales, newest first."""
        rows = self._all("SELECT body FROM sales ORDER BY number DESC LIMIT ?", limit)
        return [_sale_of(json.loads(body)) for (body,) in rows]

    def sale_count(self) -> int:
        """Return how many sales there are."""
        return int(self._value("SELECT COALESCE(MAX(number), 0) FROM sales"))

    # Cart data.

    def record_rows(self, batch_id: str, rows: Sequence[Json]) -> bool:
        """Keep rows that come from no sale; False if this batch id is there already (nothing changes)."""
        with self._transaction() as connection:
            added = connection.execute("INSERT OR IGNORE INTO batches VALUES (?)", (batch_id,))
            return self._add_rows_if(added, rows)

    def row_count(self) -> int:
        """Return how many rows there are, spent or not."""
        return int(self._value("SELECT COALESCE(MAX(sequence), 0) FROM cart_data"))

    def waiting_count(self) -> int:
        """Return how many rows are above the current version's ``trained_to``."""
        with self._lock:
            return self.row_count() - self._trained_to()

    def waiting_rows(self, limit: int) -> list[StoredRow]:
        """Return the oldest waiting rows, oldest first."""
        with self._lock:
            rows = self._all(
                "SELECT sequence, body FROM cart_data WHERE sequence > ? ORDER BY sequence LIMIT ?",
                *(self._trained_to(), limit),
            )
        return [StoredRow(sequence, json.loads(body), sequence % HOLD_OUT_EVERY == 0) for sequence, body in rows]

    def held_out_rows(self, limit: int) -> list[Json]:
        """Return the newest held-out rows that are not waiting."""
        with self._lock:
            rows = self._all(
                f"SELECT body FROM cart_data WHERE sequence % {HOLD_OUT_EVERY} = 0 AND sequence <= ? "  # noqa: S608
                "ORDER BY sequence DESC LIMIT ?",
                *(self._trained_to(), limit),
            )
        return [json.loads(body) for (body,) in rows]

    # Models.

    def add_version(self, version: ModelVersion) -> None:
        """Keep a version: the commit point. From here on its rows are spent.

        Raises:
            StoreError: if it is not the next version, or would take rows back.
        """
        with self._transaction() as connection:
            newest = self._value("SELECT COALESCE(MAX(number), -1) FROM models")
            if version.number != newest + 1 or version.trained_to < self._trained_to():
                raise StoreError(
                    f"Version {version.number} (trained to row {version.trained_to}) does not follow version {newest} "
                    f"(trained to row {self._trained_to()})."
                )
            connection.execute(
                "INSERT INTO models VALUES (?, ?, ?)", (version.number, version.trained_to, json.dumps(asdict(version)))
            )

    def current_version(self) -> ModelVersion | None:
        """Return the newest version."""
        return next(iter(self.versions(1)), None)

    def versions(self, limit: int) -> list[ModelVersion]:
        """Return the newest versions, newest first."""
        rows = self._all("SELECT body FROM models ORDER BY number DESC LIMIT ?", limit)
        return [_version_of(json.loads(body)) for (body,) in rows]

    def forget_model(self) -> None:
        """Remove all versions and rounds; sales and rows stay, and all rows wait again."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM models")
            connection.execute("DELETE FROM rounds")

    # Rounds and settings.

    def save_round(self, record: RoundRecord) -> None:
        """Keep a round, in place of what was kept of it before."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO rounds VALUES (?, ?)", (record.number, json.dumps(asdict(record)))
            )

    def rounds(self, limit: int) -> list[RoundRecord]:
        """Return the newest rounds, newest first."""
        rows = self._all("SELECT body FROM rounds ORDER BY number DESC LIMIT ?", limit)
        return [_round_of(json.loads(body)) for (body,) in rows]

    def settings(self) -> dict[str, str]:
        """Return the settings that were changed on this cart."""
        return dict(self._all("SELECT name, value FROM settings"))

    def put_setting(self, name: str, value: str | None) -> None:
        """Keep a changed setting; None forgets the change."""
        with self._transaction() as connection:
            if value is None:
                connection.execute("DELETE FROM settings WHERE name = ?", (name,))
            else:
                connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Let the store go. Safe to call again."""
        with self._lock:
            self._connection.close()

    def _add_rows_if(self, added: sqlite3.Cursor, rows: Sequence[Json]) -> bool:
        """Add the rows of a source that was not there before, in its transaction."""
        if added.rowcount == 0:
            return False
        self._connection.executemany(
            "INSERT INTO cart_data (body) VALUES (?)", [(json.dumps(row, separators=(",", ":")),) for row in rows]
        )
        return True

    def _trained_to(self) -> int:
        return int(self._value("SELECT COALESCE((SELECT trained_to FROM models ORDER BY number DESC LIMIT 1), 0)"))

    def _value(self, statement: str, *parameters: Any) -> Any:
        return self._all(statement, *parameters)[0][0]

    def _all(self, statement: str, *parameters: Any) -> list[Any]:
        with self._lock, self._naming_the_file():
            return self._connection.execute(statement, parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, self._naming_the_file():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite has ended it itself after some errors, as a full disk
                    self._connection.execute("ROLLBACK")
                raise

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        """Turn what SQLite says into a sentence that names the file and the way out."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"The store {self._path} cannot be used ({error}). If the disk is full, make room; if the file is "
                "damaged, restore it from a backup, or move it away to start with an empty store."
            ) from error


def _sale_of(body: Json) -> Sale:
    return Sale(**{**body, "lines": tuple(BillLine(**line) for line in body["lines"])})


def _version_of(body: Json) -> ModelVersion:
    return ModelVersion(**{**body, "origin": Origin(body["origin"])})


def _round_of(body: Json) -> RoundRecord:
    outcome = Outcome(body["outcome"]) if body["outcome"] else None
    verdicts = tuple(Verdict(**verdict) for verdict in body["verdicts"])
    return RoundRecord(**{**body, "verdicts": verdicts, "outcome": outcome})
