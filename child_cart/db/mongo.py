"""The store in MongoDB: one database per cart, and one document for everything that must happen together.

Sales and rows are entries of a log; ``mongo_entries.py`` says how it is written without transactions, and what a
``SIGKILL`` of the cart or the server leaves. Items are documents with fields. Versions and rounds are texts in JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, DeleteMany
from pymongo.errors import DuplicateKeyError

from cart_common.process.json_values import Json

from .mongo_client import MongoServer
from .mongo_documents import (
    Document,
    LoadedEntry,
    batch_key,
    item_change,
    item_of,
    parts_by_sale,
    sale_key,
    set_aside_change,
    version_document,
)
from .mongo_entries import EntryLog
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
from .store import HOLD_OUT_EVERY, StoreError, check_follows, steps_from

CLEARED_AT_ONCE: Final = 5000
ROWS_IN_AN_ENTRY: Final = 100
"""Of loaded rows. Many small entries, not one large one: reading the oldest hundred rows must not read thousands."""


def _first_indexes(database: Any) -> None:
    database.entries.create_index("entry_id", unique=True)
    database.entries.create_index([("is_sale", ASCENDING), ("_id", ASCENDING)])
    # Neither of these two holds sales without rows: a search for rows never reads them, however many there are.
    database.entries.create_index("rows_to", name="rows", partialFilterExpression={"has_rows": True})
    database.entries.create_index("rows_from", name="held_out", partialFilterExpression={"held_out": True})


def _retired(database: Any) -> None:
    # An older program would sell retired items again: the new schema version keeps it away.
    database.items.update_many({"retired": {"$exists": False}}, {"$set": {"retired": False}})


def _set_aside(database: Any) -> None:
    """Change nothing: an older program would train on rows that are set aside; the new schema version keeps it away."""


def _metrics(database: Any) -> None:
    """Change nothing: records without a metric can be read. An older program cannot read those with one."""


MIGRATIONS: Final[list[Callable[[Any], None]]] = [_first_indexes, _retired, _set_aside, _metrics]
"""Step n leads from schema version n to n + 1. It may be interrupted anywhere and is then repeated as a whole, so each
step must be idempotent. Steps are added at the end and never changed."""


class MongoStore:
    """A ``Store`` in one database of a MongoDB server.

    One lock, that of the server: the numbers of entries have one source, and a cart has few pages.

    Args:
        url: ``mongodb://…/database``.
        shown: the same without secrets, for messages.
        timeout_s: limit for finding the server, and for each answer.

    Raises:
        StoreError: if the server does not answer, refuses, or holds the store of a newer program.
    """

    def __init__(self, url: str, shown: str, timeout_s: float) -> None:
        self._shown = shown
        self._known_items: list[Item] | None = None
        self._server = MongoServer(url, shown, timeout_s)
        self._entries = EntryLog(self._server, shown)
        self._database = self._server.database
        self._lock = self._server.lock
        self._asked, self._wrote = self._server.ask, self._server.write
        self.refusals = self._server.refusals
        try:
            self._server.prepare(self._migrate)
        except BaseException:
            self._server.close()
            raise

    # Selling.

    def items(self) -> list[Item]:
        """Return the catalogue, by category and name."""
        with self._lock:
            if self._known_items is None:
                found = self._asked(lambda: list(self._database.items.find()))
                self._known_items = sorted(map(item_of, found), key=lambda item: (item.category, item.name))
            return list(self._known_items)

    def put_items(self, items: Sequence[Item]) -> None:
        """Make these the catalogue: add and change items, and remove all others."""
        # Removals come last: interrupted, the catalogue has an item too many, but misses none.
        gone = DeleteMany({"_id": {"$nin": [item.code for item in items]}})
        self._write_items([*map(item_change, items), gone])

    def change_items(self, items: Sequence[Item]) -> None:
        """Add items, or change those whose code is there; all others stay as they are.

        Interrupted, it has changed some of them; repeated, it changes all.
        """
        if items:  # the driver rejects an empty list
            self._write_items([item_change(item) for item in items])

    def record_sale(self, sale: Sale, rows: Sequence[Json]) -> bool:
        """Store a sale and its rows, both or neither; False if this sale id is there already (nothing changes)."""
        return self._entries.append(sale_key(sale.sale_id), rows, sale)

    def sale(self, sale_id: str) -> Sale | None:
        """Return the sale of this id, or None."""
        found = self._entries.find(sale_key(sale_id), {"sale": 1})
        return sale_of(found["sale"]) if found else None

    def sales(self, limit: int) -> list[Sale]:
        """Return the newest sales, newest first."""
        return [sale_of(entry["sale"]) for entry in self._entries.newest_sales(limit)]

    def sale_count(self) -> int:
        """Return the number of sales."""
        return self._entries.head().sales_to

    # Cart data.

    def record_rows(self, batch_id: str, rows: Sequence[Json]) -> bool:
        """Store rows that come from no sale; False if this batch id is there already (nothing changes)."""
        return self._entries.append(batch_key(batch_id), rows)

    def row_count(self) -> int:
        """Return the number of rows, spent or not."""
        return self._entries.head().rows_to

    def waiting_count(self) -> int:
        """Return the number of rows above the current version's ``trained_to`` that are not set aside."""
        with self._lock:
            head, spent_to = self._entries.head().rows_to, self._trained_to()
            left_out = self._asked(self._database.set_aside.count_documents, {"_id": {"$gt": spent_to, "$lte": head}})
            return head - spent_to - int(left_out)

    def waiting_rows(self, limit: int) -> list[StoredRow]:
        """Return the oldest waiting rows, oldest first, each with the sale that made it; none is set aside."""
        with self._lock:
            spent_to = self._trained_to()
            return self._entries.rows_after(spent_to, limit, self._left_out({"$gt": spent_to}))

    def held_out_rows(self, limit: int) -> list[StoredRow]:
        """Return the newest held-out rows that are not waiting, newest first, each with the sale that made it.

        None is set aside.
        """
        with self._lock:
            spent_to = self._trained_to()
            left_out = self._left_out({"$lte": spent_to, "$mod": [HOLD_OUT_EVERY, 0]})
            return self._entries.held_out_to(spent_to, limit, left_out)

    def spent_rows(self, numbers: Sequence[int]) -> list[StoredRow]:
        """Return those of the rows with these numbers that are spent, oldest first, each with the sale that made it.

        None is set aside.
        """
        with self._lock:
            spent_to = self._trained_to()
            left_out = self._left_out({"$in": list(numbers)})
            return self._entries.rows_of(
                {number for number in numbers if 0 < number <= spent_to and number not in left_out}
            )

    def set_aside(self, rows: Sequence[SetAsideRow]) -> None:
        """Set rows aside for good, also after a reset; one that is set aside already keeps its first record."""
        if rows:  # the driver rejects an empty list
            self._wrote(self._database.set_aside.bulk_write, [set_aside_change(row) for row in rows])

    def set_aside_count(self) -> int:
        """Return the number of rows that are set aside."""
        return int(self._asked(self._database.set_aside.count_documents, {}))

    def set_aside_rows(self, limit: int) -> list[SetAsideRow]:
        """Return the rows that are set aside, the newest rows first."""
        return [SetAsideRow(**json.loads(entry["body"])) for entry in self._newest("set_aside", limit)]

    # Models.

    def add_version(self, version: ModelVersion) -> None:
        """Store a version: the commit point. From here on its rows are spent.

        Raises:
            StoreError: if it does not follow the newest one (``check_follows``).
        """
        with self._lock:
            newest = self.current_version()
            if newest == version:  # an earlier try was stored, and its answer lost
                return
            check_follows(version, newest, self._entries.head().rows_to)
            document = version_document(version)
            try:
                self._wrote(self._database.models.insert_one, document)
            except DuplicateKeyError:
                if self.current_version() != version:
                    raise StoreError(f"The store {self._shown} has another version {version.number} by now.") from None

    def current_version(self) -> ModelVersion | None:
        """Return the newest version."""
        return next(iter(self.versions(1)), None)

    def versions(self, limit: int) -> list[ModelVersion]:
        """Return the newest versions, newest first."""
        return [version_of(json.loads(entry["body"])) for entry in self._newest("models", limit)]

    def forget_model(self) -> None:
        """Remove all versions and rounds; sales and rows stay, and all rows wait again but those that are set aside."""
        # Versions last, and the newest of them last of all: interrupted, the newest is still there and the model is as
        # it was. The caller asks again.
        with self._lock:
            newest = self.current_version()
            self._wrote(self._database.rounds.delete_many, {})
            if newest is not None:
                self._wrote(self._database.models.delete_many, {"_id": {"$lt": newest.number}})
                self._wrote(self._database.models.delete_many, {})

    def prune(self, versions: int, rounds: int) -> None:
        """Remove the records of all but the newest versions and rounds; at least one of each stays."""
        for name, kept in (("models", versions), ("rounds", rounds)):
            for newest in self._newest(name, 1):
                old = {"_id": {"$lte": newest["_id"] - max(kept, 1)}}
                self._wrote(self._database[name].delete_many, old)

    # Rounds, settings and notes.

    def save_round(self, record: RoundRecord) -> None:
        """Store a round, in place of its earlier record."""
        body = json.dumps(asdict(record))
        self._wrote(lambda: self._database.rounds.replace_one({"_id": record.number}, {"body": body}, upsert=True))

    def rounds(self, limit: int) -> list[RoundRecord]:
        """Return the newest rounds, newest first."""
        return [round_of(json.loads(entry["body"])) for entry in self._newest("rounds", limit)]

    def settings(self) -> dict[str, str]:
        """Return the settings that were changed on this cart."""
        found = self._asked(lambda: list(self._database.settings.find()))
        return {entry["_id"]: entry["value"] for entry in found}

    def put_setting(self, name: str, value: str | None) -> None:
        """Store a changed setting; None removes the change."""
        self._put("settings", name, value)

    def note(self, name: str) -> str | None:
        """Return a note on the store itself, such as its owner."""
        found = self._asked(self._database.notes.find_one, {"_id": name})
        return str(found["value"]) if found else None

    def put_note(self, name: str, value: str | None) -> None:
        """Write a note on the store itself; None removes it."""
        self._put("notes", name, value)

    # Migration.

    def every_sale(self) -> Iterator[Sale]:
        """Yield all sales."""
        return (sale_of(entry["sale"]) for entry in self._entries.every({"is_sale": True}, {"sale": 1}))

    def every_row(self) -> Iterator[SourcedRow]:
        """Yield all rows, spent or not, each with the sale that made it."""
        for entry in self._entries.every({}, {"rows": 1, "sale.sale_id": 1}):
            sale_id = entry.get("sale", {}).get("sale_id", "")
            yield from (SourcedRow(json.loads(row), sale_id) for row in entry["rows"])

    def batch_ids(self) -> Iterator[str]:
        """Yield the batch ids of rows that come from no sale."""
        entries = self._entries.every({"is_sale": False}, {"entry_id": 1})
        return (key.partition(":")[2] for entry in entries if (key := entry["entry_id"]).startswith("batch:"))

    def load_sales(self, sales: Sequence[Sale]) -> None:
        """Add sales without their rows."""
        self._entries.load([LoadedEntry(sale_key(sale.sale_id), sale=sale) for sale in sales])

    def load_rows(self, rows: Sequence[SourcedRow]) -> None:
        """Add rows whose sales and batches are stored already."""
        sources = self._entries.sources({entry.sale_id for entry in rows})
        self._entries.load(
            [
                LoadedEntry(f"moved:{os.urandom(12).hex()}", part, source=sources.get(sale_id))
                for sale_id, part in parts_by_sale(rows, ROWS_IN_AN_ENTRY)
            ]
        )

    def load_batch_ids(self, batch_ids: Sequence[str]) -> None:
        """Add ids of batches without their rows."""
        self._entries.load([LoadedEntry(batch_key(batch_id)) for batch_id in batch_ids])

    def load_versions(self, versions: Sequence[ModelVersion]) -> None:
        """Add versions with the numbers that they have, to a store without versions."""
        if versions:
            documents = [version_document(version) for version in versions]
            self._wrote(self._database.models.insert_many, documents)

    def clear(self) -> None:
        """Remove everything: what an import or a move that failed has left. Interrupted, it is asked for again."""
        with self._lock:
            self._known_items = None
            self._entries.forget_head()
            for name in ("entries", "items", "models", "rounds", "settings", "set_aside"):
                self._clear_collection(self._database[name])
            # Last: the notes say that the store is unfinished.
            self._wrote(self._database.notes.delete_many, {"_id": {"$ne": "schema"}})

    def close(self) -> None:
        """Close the store. Safe to call again."""
        self._server.close()

    def _clear_collection(self, collection: Any) -> None:
        """Remove all documents, few enough at a time that each answer comes in time."""
        while found := self._asked(lambda: list(collection.find({}, {"_id": 1}).limit(CLEARED_AT_ONCE))):
            self._wrote(collection.delete_many, {"_id": {"$in": [entry["_id"] for entry in found]}})

    def _write_items(self, changes: Sequence[Any]) -> None:
        with self._lock:
            self._known_items = None
            self._wrote(self._database.items.bulk_write, changes)

    def _trained_to(self) -> int:
        with self._lock:
            self._entries.head()  # first: a version that is not journaled yet may be lost again
            found = self._asked(
                lambda: self._database.models.find_one(sort=[("_id", DESCENDING)], projection={"trained_to": 1})
            )
            return int(found["trained_to"]) if found else 0

    def _left_out(self, numbers: Document) -> set[int]:
        """Return the numbers of the rows that are set aside, among these."""
        found = self._asked(lambda: list(self._database.set_aside.find({"_id": numbers}, {"_id": 1})))
        return {entry["_id"] for entry in found}

    def _newest(self, name: str, limit: int) -> list[Document]:
        with self._lock:
            self._entries.head()
            found: list[Document] = self._asked(
                lambda: list(self._database[name].find().sort("_id", DESCENDING).limit(limit))
            )
            return found

    def _put(self, collection: str, name: str, value: str | None) -> None:
        if value is None:
            self._wrote(self._database[collection].delete_one, {"_id": name})
        else:
            self._wrote(lambda: self._database[collection].replace_one({"_id": name}, {"value": value}, upsert=True))

    def _migrate(self) -> None:
        schema = self._database.notes.find_one({"_id": "schema"})
        found = int(schema["value"]) if schema else 0
        for number, step in steps_from(found, MIGRATIONS, self._shown, "--store"):
            step(self._database)
            self._database.notes.replace_one({"_id": "schema"}, {"value": str(number)}, upsert=True)
