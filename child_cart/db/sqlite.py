"""The store without a server, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from cart_common.process.json_values import Json

from .records import (
    Item,
    ModelVersion,
    RoundRecord,
    Sale,
    SetAsideRow,
    SourcedRow,
    StoredRow,
    round_of,
    sale_of,
    version_of,
)
from .sqlite_file import TIMEOUT_S, SqliteFile
from .store import HOLD_OUT_EVERY, check_follows, is_held_out, steps_from

# Sales and rows are never deleted and their numbers never reused, so the largest number is also the count: every
# figure that a page asks for is one step in an index, however long the history.
_FIRST_SCHEMA: Final = f"""
CREATE TABLE items (code TEXT PRIMARY KEY, name TEXT NOT NULL, category INTEGER NOT NULL, price_cents INTEGER NOT NULL);
CREATE TABLE sales (number INTEGER PRIMARY KEY, sale_id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE batches (batch_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE cart_data (sequence INTEGER PRIMARY KEY AUTOINCREMENT, body TEXT NOT NULL);
CREATE INDEX held_out_rows ON cart_data (sequence) WHERE sequence % {HOLD_OUT_EVERY} = 0;
CREATE TABLE models (number INTEGER PRIMARY KEY, trained_to INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE rounds (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
_NOTES: Final = "CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_RETIRED: Final = "ALTER TABLE items ADD COLUMN retired INTEGER NOT NULL DEFAULT 0"
_SALE_OF_ROWS: Final = "ALTER TABLE cart_data ADD COLUMN sale INTEGER"
_SET_ASIDE: Final = "CREATE TABLE set_aside (sequence INTEGER PRIMARY KEY, body TEXT NOT NULL)"
# Nothing to change, since records without a metric can be read. An older program cannot read those with one: the new
# schema version keeps it away.
_METRICS: Final = ""
MIGRATIONS: Final = [_FIRST_SCHEMA, _NOTES, _RETIRED, _SALE_OF_ROWS, _SET_ASIDE, _METRICS]
"""Step n leads from schema version n to n + 1, in one transaction; steps are added at the end and never changed."""
TABLES: Final = ("items", "sales", "batches", "cart_data", "models", "rounds", "settings", "notes", "set_aside")
READ_AT_ONCE: Final = 10_000


class SqliteStore:
    """A ``Store`` in one SQLite file.

    Args:
        path: made if it does not exist.
        timeout_s: how long a call waits for the file.
    """

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._file = SqliteFile(path, timeout_s)
        self.refusals = self._file.refusals
        self._migrate()
        # One step into each tree: damage near its top or at its end is found now, not at the first sale.
        self.items(), self.sales(1), self.row_count(), self.versions(1), self.rounds(1)

    def _migrate(self) -> None:
        found = int(self._file.value("PRAGMA user_version"))
        for number, script in steps_from(found, MIGRATIONS, str(self._path), "--data-dir"):
            with self._file.transaction() as connection:
                for statement in filter(str.strip, script.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")

    # Selling.

    def items(self) -> list[Item]:
        """Return the catalogue, by category and name."""
        rows = self._file.rows("SELECT code, name, category, price_cents, retired FROM items ORDER BY category, name")
        return [Item(code, name, category, cents, bool(retired)) for code, name, category, cents, retired in rows]

    def put_items(self, items: Sequence[Item]) -> None:
        """Make these the catalogue: add and change items, and remove all others."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM items")
            self._write_items(items)

    def change_items(self, items: Sequence[Item]) -> None:
        """Add items, or change those whose code is there; all others stay as they are."""
        with self._file.transaction():
            self._write_items(items)

    def record_sale(self, sale: Sale, rows: Sequence[Json]) -> bool:
        """Store a sale and its rows, both or neither; False if this sale id is there already (nothing changes)."""
        with self._file.transaction() as connection:
            body = json.dumps(asdict(sale))
            added = connection.execute(
                "INSERT OR IGNORE INTO sales (sale_id, body) VALUES (?, ?)", (sale.sale_id, body)
            )
            return self._add_rows_if(added, rows, added.lastrowid)

    def sale(self, sale_id: str) -> Sale | None:
        """Return the sale of this id, or None."""
        rows = self._file.rows("SELECT body FROM sales WHERE sale_id = ?", sale_id)
        return sale_of(json.loads(rows[0][0])) if rows else None

    def sales(self, limit: int) -> list[Sale]:
        """Return the newest sales, newest first."""
        rows = self._file.rows("SELECT body FROM sales ORDER BY number DESC LIMIT ?", limit)
        return [sale_of(json.loads(body)) for (body,) in rows]

    def sale_count(self) -> int:
        """Return the number of sales."""
        return int(self._file.value("SELECT COALESCE(MAX(number), 0) FROM sales"))

    # Cart data.

    def record_rows(self, batch_id: str, rows: Sequence[Json]) -> bool:
        """Store rows that come from no sale; False if this batch id is there already (nothing changes)."""
        with self._file.transaction() as connection:
            added = connection.execute("INSERT OR IGNORE INTO batches VALUES (?)", (batch_id,))
            return self._add_rows_if(added, rows)

    def row_count(self) -> int:
        """Return the number of rows, spent or not."""
        return int(self._file.value("SELECT COALESCE(MAX(sequence), 0) FROM cart_data"))

    def waiting_count(self) -> int:
        """Return the number of rows above the current version's ``trained_to`` that are not set aside."""
        with self._file.lock:
            spent_to = self._trained_to()
            left_out = self._file.value("SELECT COUNT(*) FROM set_aside WHERE sequence > ?", spent_to)
            return self.row_count() - spent_to - int(left_out)

    def waiting_rows(self, limit: int) -> list[StoredRow]:
        """Return the oldest waiting rows, oldest first, each with the sale that made it; none is set aside."""
        with self._file.lock:
            return self._stored_rows("sequence > ?", "sequence", limit)

    def held_out_rows(self, limit: int) -> list[StoredRow]:
        """Return the newest held-out rows that are not waiting, newest first, each with the sale that made it.

        None is set aside.
        """
        held_out = f"sequence % {HOLD_OUT_EVERY} = 0"
        with self._file.lock:
            return self._stored_rows(f"{held_out} AND sequence <= ?", "sequence DESC", limit)

    def spent_rows(self, numbers: Sequence[int]) -> list[StoredRow]:
        """Return those of the rows with these numbers that are spent, oldest first, each with the sale that made it.

        None is set aside.
        """
        among = "sequence IN (SELECT value FROM json_each(?))"  # one parameter: SQLite takes few thousand
        with self._file.lock:
            return self._stored_rows(f"sequence <= ? AND {among}", "sequence", len(numbers), json.dumps(list(numbers)))

    def set_aside(self, rows: Sequence[SetAsideRow]) -> None:
        """Set rows aside for good, also after a reset; one that is set aside already keeps its first record."""
        bodies = [(row.sequence, json.dumps(asdict(row))) for row in rows]
        with self._file.transaction() as connection:
            connection.executemany("INSERT OR IGNORE INTO set_aside VALUES (?, ?)", bodies)

    def set_aside_count(self) -> int:
        """Return the number of rows that are set aside."""
        return int(self._file.value("SELECT COUNT(*) FROM set_aside"))

    def set_aside_rows(self, limit: int) -> list[SetAsideRow]:
        """Return the rows that are set aside, the newest rows first."""
        rows = self._file.rows("SELECT body FROM set_aside ORDER BY sequence DESC LIMIT ?", limit)
        return [SetAsideRow(**json.loads(body)) for (body,) in rows]

    # Models.

    def add_version(self, version: ModelVersion) -> None:
        """Store a version: the commit point. From here on its rows are spent.

        Raises:
            StoreError: if it does not follow the newest one (``check_follows``).
        """
        with self._file.transaction():
            check_follows(version, self.current_version(), self.row_count())
            self._insert_versions([version])

    def current_version(self) -> ModelVersion | None:
        """Return the newest version."""
        return next(iter(self.versions(1)), None)

    def versions(self, limit: int) -> list[ModelVersion]:
        """Return the newest versions, newest first."""
        rows = self._file.rows("SELECT body FROM models ORDER BY number DESC LIMIT ?", limit)
        return [version_of(json.loads(body)) for (body,) in rows]

    def forget_model(self) -> None:
        """Remove all versions and rounds; sales and rows stay, and all rows wait again but those that are set aside."""
        with self._file.transaction() as connection:
            connection.execute("DELETE FROM models")
            connection.execute("DELETE FROM rounds")

    def prune(self, versions: int, rounds: int) -> None:
        """Remove the records of all but the newest versions and rounds; at least one of each stays."""
        with self._file.transaction() as connection:
            for table, kept in (("models", versions), ("rounds", rounds)):
                connection.execute(
                    f"DELETE FROM {table} WHERE number <= (SELECT MAX(number) FROM {table}) - ?",  # noqa: S608
                    (max(kept, 1),),
                )

    # Rounds and settings.

    def save_round(self, record: RoundRecord) -> None:
        """Store a round, in place of its earlier record."""
        with self._file.transaction() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO rounds VALUES (?, ?)", (record.number, json.dumps(asdict(record)))
            )

    def rounds(self, limit: int) -> list[RoundRecord]:
        """Return the newest rounds, newest first."""
        rows = self._file.rows("SELECT body FROM rounds ORDER BY number DESC LIMIT ?", limit)
        return [round_of(json.loads(body)) for (body,) in rows]

    def settings(self) -> dict[str, str]:
        """Return the settings that were changed on this cart."""
        return dict(self._file.rows("SELECT name, value FROM settings"))

    def put_setting(self, name: str, value: str | None) -> None:
        """Store a changed setting; None removes the change."""
        self._put("settings", name, value)

    def note(self, name: str) -> str | None:
        """Return a note on the store itself, such as its owner."""
        found = self._file.rows("SELECT value FROM notes WHERE name = ?", name)
        return str(found[0][0]) if found else None

    def put_note(self, name: str, value: str | None) -> None:
        """Write a note on the store itself; None removes it."""
        self._put("notes", name, value)

    # Migration.

    def every_sale(self) -> Iterator[Sale]:
        """Yield all sales."""
        return (sale_of(json.loads(body)) for (body,) in self._every("sales", "number", "body"))

    def every_row(self) -> Iterator[SourcedRow]:
        """Yield all rows, spent or not, each with the sale that made it."""
        table = "(SELECT sequence, cart_data.body, sale_id FROM cart_data LEFT JOIN sales ON number = sale)"
        for body, sale_id in self._every(table, "sequence", "body, COALESCE(sale_id, '')"):
            yield SourcedRow(json.loads(body), sale_id)

    def batch_ids(self) -> Iterator[str]:
        """Yield the batch ids of rows that come from no sale."""
        return (batch_id for (batch_id,) in self._file.rows("SELECT batch_id FROM batches"))

    def load_sales(self, sales: Sequence[Sale]) -> None:
        """Add sales without their rows."""
        bodies = [(sale.sale_id, json.dumps(asdict(sale))) for sale in sales]
        with self._file.transaction() as connection:
            connection.executemany("INSERT INTO sales (sale_id, body) VALUES (?, ?)", bodies)

    def load_rows(self, rows: Sequence[SourcedRow]) -> None:
        """Add rows whose sales and batches are stored already."""
        bodies = [(_row_text(entry.row), entry.sale_id) for entry in rows]
        with self._file.transaction() as connection:
            connection.executemany(
                "INSERT INTO cart_data (body, sale) VALUES (?, (SELECT number FROM sales WHERE sale_id = ?))", bodies
            )

    def load_batch_ids(self, batch_ids: Sequence[str]) -> None:
        """Add ids of batches without their rows."""
        with self._file.transaction() as connection:
            connection.executemany("INSERT INTO batches VALUES (?)", [(batch_id,) for batch_id in batch_ids])

    def load_versions(self, versions: Sequence[ModelVersion]) -> None:
        """Add versions with the numbers that they have, to a store without versions."""
        with self._file.transaction():
            self._insert_versions(versions)

    def clear(self) -> None:
        """Remove everything: what an import or a move that failed has left. Interrupted, nothing is removed."""
        with self._file.transaction() as connection:
            for table in (*TABLES, "sqlite_sequence"):
                connection.execute(f"DELETE FROM {table}")  # noqa: S608

    def close(self) -> None:
        """Close the store. Safe to call again."""
        self._file.close()

    def _add_rows_if(self, added: sqlite3.Cursor, rows: Sequence[Json], sale: int | None = None) -> bool:
        """Add the rows if the insert has added their source, in the same transaction."""
        if added.rowcount == 0:
            return False
        self._insert_rows(rows, sale)
        return True

    def _put(self, table: str, name: str, value: str | None) -> None:
        with self._file.transaction() as connection:
            if value is None:
                connection.execute(f"DELETE FROM {table} WHERE name = ?", (name,))  # noqa: S608
            else:
                connection.execute(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", (name, value))  # noqa: S608

    def _write_items(self, items: Sequence[Item]) -> None:
        self._file.connection.executemany(
            "INSERT OR REPLACE INTO items (code, name, category, price_cents, retired) VALUES (?, ?, ?, ?, ?)",
            [(item.code, item.name, item.category, item.price_cents, item.retired) for item in items],
        )

    def _insert_rows(self, rows: Sequence[Json], sale: int | None = None) -> None:
        bodies = [(_row_text(row), sale) for row in rows]
        self._file.connection.executemany("INSERT INTO cart_data (body, sale) VALUES (?, ?)", bodies)

    def _insert_versions(self, versions: Sequence[ModelVersion]) -> None:
        bodies = [(version.number, version.trained_to, json.dumps(asdict(version))) for version in versions]
        self._file.connection.executemany("INSERT INTO models VALUES (?, ?, ?)", bodies)

    def _every(self, table: str, key: str, columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield columns of a table by its key, a few at a time, so that memory does not grow with history."""
        last = 0
        statement = f"SELECT {key}, {columns} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT ?"  # noqa: S608
        while found := self._file.rows(statement, last, READ_AT_ONCE):
            yield from (values for _, *values in found)
            last = found[-1][0]

    def _stored_rows(self, where: str, order: str, limit: int, *more: str) -> list[StoredRow]:
        """Return rows with their sales, by a condition on the last spent row and on what is more; the lock is held."""
        rows = self._file.rows(
            "SELECT sequence, cart_data.body, COALESCE(sale_id, ''), "  # noqa: S608 - the conditions stand above
            "COALESCE(json_extract(sales.body, '$.sold_at'), 0.0) "
            f"FROM cart_data LEFT JOIN sales ON number = sale WHERE {where} "
            f"AND sequence NOT IN (SELECT sequence FROM set_aside) ORDER BY {order} LIMIT ?",
            *(self._trained_to(), *more, limit),
        )
        return [
            StoredRow(sequence, json.loads(body), is_held_out(sequence), sale_id, sold_at)
            for sequence, body, sale_id, sold_at in rows
        ]

    def _trained_to(self) -> int:
        return int(self._file.value("SELECT COALESCE((SELECT trained_to FROM models ORDER BY number DESC LIMIT 1), 0)"))


def _row_text(row: Json) -> str:
    return json.dumps(row, separators=(",", ":"))
