"""The store in MongoDB: one database per cart, and one document for everything that must happen together.

A standalone server has no transactions over several documents, so nothing here needs one:

- **A sale and its rows are one document** of ``entries``, as are the rows of a batch. It holds its own number, the
  numbers of all sales and rows up to and with it (``sales_to``, ``rows_to``) and its rows. A row's sequence number is
  given by where it stands: the last of an entry's rows is number ``rows_to``. Nothing is counted anywhere else, so
  there is nothing to repair: before the insert there is no sale, no row and no number, after it there is all of it.
- **A training and the rows that it spends are one document**, the version.
- All writes are acknowledged by a majority and journaled before a method returns.

What a ``SIGKILL`` leaves, at any instant:

- *Of the cart*, between sending an insert and hearing of it: the entry is there or not. Whoever asked was told nothing
  and asks again with the same id; the unique index on ``entry_id`` finds the first one.
- *Of the server*, likewise; the driver reports a broken connection. This store asks again itself, once: the document
  carries a random ``token``, by which it tells its own first try from somebody else's entry. If there is no answer
  either, it raises ``StoreAway``.
- A try that was given up may still be on its way, and land late. It then takes a number that the next entry wanted (or
  finds it taken, and lands nowhere): the unique ``_id`` refuses one of the two, and ``_append`` reads the newest number
  and tries the next. The late entry is a whole sale, whose shopper has been asked to repeat it, and finds it.
- The server shows writes before they are in its journal, and may lose those if it is killed. A version that spends
  rows which then vanish would spend the rows after them too. So after every broken connection, and when it is opened,
  the store reads the newest number and has a write of its own journaled: the journal is one sequence, so what was read
  stays. Rows above that number (``_head``) are not given out, and no version may spend them.

Sales and items are documents with fields. Rows, versions and rounds are texts in JSON: they hold numbers and names that
are the task's, and BSON does not take all of those.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, DeleteMany, ReplaceOne
from pymongo.errors import DuplicateKeyError

from .mongo_client import MongoServer
from .records import Item, Json, ModelVersion, RoundRecord, Sale, StoredRow, round_of, sale_of, version_of
from .store import HOLD_OUT_EVERY, StoreError, check_follows, is_held_out, steps_from

Document = dict[str, Any]

LOAD_AT_ONCE: Final = 1000
TRIES: Final = 8


def _first_indexes(database: Any) -> None:
    database.entries.create_index("entry_id", unique=True)
    database.entries.create_index([("is_sale", ASCENDING), ("_id", ASCENDING)])
    # Sales without rows are in neither of these two: however many there are, nobody looks through them for rows.
    database.entries.create_index("rows_to", name="rows", partialFilterExpression={"has_rows": True})
    database.entries.create_index("rows_from", name="held_out", partialFilterExpression={"held_out": True})


def _retired(database: Any) -> None:
    # A program that knows of no retired items would sell them again: this version keeps it away.
    database.items.update_many({"retired": {"$exists": False}}, {"$set": {"retired": False}})


MIGRATIONS: Final[list[Callable[[Any], None]]] = [_first_indexes, _retired]
"""Step n leads from schema version n to n + 1. It may be cut short anywhere and is then done again as a whole, so doing
it twice must be as good as doing it once. Steps are added at the end and never changed."""


@dataclass(frozen=True)
class _Head:
    """The newest entry: its number, and how many sales and rows there are up to it."""

    number: int = 0
    sales_to: int = 0
    rows_to: int = 0


class MongoStore:
    """A ``Store`` in one database of a MongoDB server.

    One lock: the numbers of entries have one source, and a cart's pages are not many.

    Args:
        url: ``mongodb://…/database``.
        shown: the same without what is secret, for messages.
        timeout_s: for finding the server, and for each answer.

    Raises:
        StoreError: if the server does not answer, refuses, or holds the store of a later program.
    """

    def __init__(self, url: str, shown: str, timeout_s: float) -> None:
        self._shown = shown
        self._known_head: _Head | None = None
        self._known_items: list[Item] | None = None
        self._server = MongoServer(url, shown, timeout_s, self._forget_head)
        self._database = self._server.database
        self._lock = self._server.lock
        self._asked = self._server.ask
        try:
            self._asked(self._migrate)
        except BaseException:
            self._server.close()
            raise

    # Selling.

    def items(self) -> list[Item]:
        """Return the catalogue, by category and name."""
        with self._lock:
            if self._known_items is None:
                found = self._asked(lambda: list(self._database.items.find()))
                self._known_items = sorted(map(_item_of, found), key=lambda item: (item.category, item.name))
            return list(self._known_items)

    def put_items(self, items: Sequence[Item]) -> None:
        """Make these the catalogue: add, change, and remove what is not among them."""
        # What is gone goes last: cut short, an item is still sold that should not be, and none is missing.
        gone = DeleteMany({"_id": {"$nin": [item.code for item in items]}})
        self._write_items([*map(_replaced, items), gone])

    def change_items(self, items: Sequence[Item]) -> None:
        """Add items, or change those whose code is there; all others stay as they are.

        Cut short, those before the interruption are changed; asked again, all are.
        """
        if items:  # the driver takes no empty list
            self._write_items([_replaced(item) for item in items])

    def record_sale(self, sale: Sale, rows: Sequence[Json]) -> bool:
        """Keep a sale and its rows, both or neither; False if this sale id is there already (nothing changes)."""
        return self._append(_sale_key(sale.sale_id), rows, sale)

    def sale(self, sale_id: str) -> Sale | None:
        """Return the sale of this id, or None."""
        found = self._asked(self._database.entries.find_one, {"entry_id": _sale_key(sale_id)}, {"sale": 1})
        return sale_of(found["sale"]) if found else None

    def sales(self, limit: int) -> list[Sale]:
        """Return the newest sales, newest first."""
        found = self._asked(
            lambda: list(
                self._database.entries.find({"is_sale": True}, {"sale": 1}).sort("_id", DESCENDING).limit(limit)
            )
        )
        return [sale_of(entry["sale"]) for entry in found]

    def sale_count(self) -> int:
        """Return how many sales there are."""
        return self._head().sales_to

    # Cart data.

    def record_rows(self, batch_id: str, rows: Sequence[Json]) -> bool:
        """Keep rows that come from no sale; False if this batch id is there already (nothing changes)."""
        return self._append(_batch_key(batch_id), rows)

    def row_count(self) -> int:
        """Return how many rows there are, spent or not."""
        return self._head().rows_to

    def waiting_count(self) -> int:
        """Return how many rows are above the current version's ``trained_to``."""
        with self._lock:
            return self._head().rows_to - self._trained_to()

    def waiting_rows(self, limit: int) -> list[StoredRow]:
        """Return the oldest waiting rows, oldest first."""
        with self._lock:
            after, last = self._trained_to(), self._head().rows_to
            query = {"has_rows": True, "rows_to": {"$gt": after, "$lte": last}}
            order = ("rows_to", ASCENDING)
            return self._asked(lambda: self._rows_of(query, order, limit, lambda number: number > after))

    def held_out_rows(self, limit: int) -> list[Json]:
        """Return the newest held-out rows that are not waiting."""
        with self._lock:
            last = self._trained_to()
            query, order = {"held_out": True, "rows_from": {"$lte": last}}, ("rows_from", DESCENDING)

            def wanted(number: int) -> bool:
                return number <= last and is_held_out(number)

            return [stored.row for stored in self._asked(lambda: self._rows_of(query, order, limit, wanted))]

    # Models.

    def add_version(self, version: ModelVersion) -> None:
        """Keep a version: the commit point. From here on its rows are spent.

        Raises:
            StoreError: if it does not follow the newest one (``check_follows``).
        """
        with self._lock:
            newest = self.current_version()
            if newest == version:  # an earlier try was kept, and its answer lost
                return
            check_follows(version, newest, self._head().rows_to)
            document = _version_document(version)
            try:
                self._asked(self._database.models.insert_one, document)
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
        """Remove all versions and rounds; sales and rows stay, and all rows wait again."""
        # Versions last, and the newest of them last of all. Cut short, the newest is still there and the model is as it
        # was; the caller asks again.
        with self._lock:
            newest = self.current_version()
            self._asked(self._database.rounds.delete_many, {})
            if newest is not None:
                self._asked(self._database.models.delete_many, {"_id": {"$lt": newest.number}})
                self._asked(self._database.models.delete_many, {})

    def prune(self, versions: int, rounds: int) -> None:
        """Remove the records of all but the newest versions and rounds, at least one of each stays."""
        for name, kept in (("models", versions), ("rounds", rounds)):
            for newest in self._newest(name, 1):
                old = {"_id": {"$lte": newest["_id"] - max(kept, 1)}}
                self._asked(self._database[name].delete_many, old)

    # Rounds, settings and notes.

    def save_round(self, record: RoundRecord) -> None:
        """Keep a round, in place of what was kept of it before."""
        body = json.dumps(asdict(record))
        self._asked(lambda: self._database.rounds.replace_one({"_id": record.number}, {"body": body}, upsert=True))

    def rounds(self, limit: int) -> list[RoundRecord]:
        """Return the newest rounds, newest first."""
        return [round_of(json.loads(entry["body"])) for entry in self._newest("rounds", limit)]

    def settings(self) -> dict[str, str]:
        """Return the settings that were changed on this cart."""
        found = self._asked(lambda: list(self._database.settings.find()))
        return {entry["_id"]: entry["value"] for entry in found}

    def put_setting(self, name: str, value: str | None) -> None:
        """Keep a changed setting; None forgets the change."""
        self._put("settings", name, value)

    def note(self, name: str) -> str | None:
        """Return what is written on the store itself, as whose it is."""
        found = self._asked(self._database.notes.find_one, {"_id": name})
        return str(found["value"]) if found else None

    def put_note(self, name: str, value: str | None) -> None:
        """Write on the store itself; None wipes it out."""
        self._put("notes", name, value)

    # Migration and backup.

    def every_sale(self) -> Iterator[Sale]:
        """Give all sales."""
        return (sale_of(entry["sale"]) for entry in self._every({"is_sale": True}, {"sale": 1}))

    def every_row(self) -> Iterator[Json]:
        """Give all rows, spent or not."""
        return (json.loads(row) for entry in self._every({}, {"rows": 1}) for row in entry["rows"])

    def batch_ids(self) -> Iterator[str]:
        """Give the ids under which rows were kept that come from no sale."""
        entries = self._every({"is_sale": False}, {"entry_id": 1})
        return (key.partition(":")[2] for entry in entries if (key := entry["entry_id"]).startswith("batch:"))

    def load_sales(self, sales: Sequence[Sale]) -> None:
        """Add sales without their rows."""
        self._load([(_sale_key(sale.sale_id), [], sale) for sale in sales])

    def load_rows(self, rows: Sequence[Json]) -> None:
        """Add rows whose sales and batches are known already."""
        # Many small entries, not one large one: whoever wants the oldest hundred rows should not read thousands.
        parts = [rows[start : start + 100] for start in range(0, len(rows), 100)]
        self._load([(f"moved:{os.urandom(12).hex()}", part, None) for part in parts])

    def load_batch_ids(self, batch_ids: Sequence[str]) -> None:
        """Add ids of batches without their rows."""
        self._load([(_batch_key(batch_id), [], None) for batch_id in batch_ids])

    def load_versions(self, versions: Sequence[ModelVersion]) -> None:
        """Add versions as they are, whatever their numbers, to a store that has none."""
        if versions:
            documents = [_version_document(version) for version in versions]
            self._asked(self._database.models.insert_many, documents)

    def close(self) -> None:
        """Let the store go. Safe to call again."""
        self._server.close()

    def _write_items(self, changes: Sequence[Any]) -> None:
        with self._lock:
            self._known_items = None
            self._asked(self._database.items.bulk_write, changes)

    # Entries.

    def _append(self, entry_id: str, rows: Sequence[Json], sale: Sale | None = None) -> bool:
        """Insert the next entry; False if there is one with this id."""
        texts = [_text(row) for row in rows]
        token = os.urandom(8)
        with self._lock:
            for _ in range(TRIES):
                head = self._head()
                document = _entry(head, entry_id, texts, sale, token)
                try:
                    self._asked(self._database.entries.insert_one, document)
                except DuplicateKeyError:
                    self._known_head = None
                    kept = self._asked(self._database.entries.find_one, {"entry_id": entry_id}, {"token": 1})
                    if kept is not None:
                        return bool(kept["token"] == token)
                    continue  # an entry that nobody waited for any more has taken the number
                if self._known_head is head:
                    self._known_head = _Head(document["_id"], document["sales_to"], document["rows_to"])
                return True
        raise StoreError(f"The store {self._shown} is written by somebody else: every number was taken.")

    def _load(self, entries: list[tuple[str, Sequence[Json], Sale | None]]) -> None:
        with self._lock:
            head, documents = self._head(), []
            for entry_id, rows, sale in entries:
                document = _entry(head, entry_id, [_text(row) for row in rows], sale, b"")
                documents.append(document)
                head = _Head(document["_id"], document["sales_to"], document["rows_to"])
            self._known_head = None
            for start in range(0, len(documents), LOAD_AT_ONCE):
                self._asked(self._database.entries.insert_many, documents[start : start + LOAD_AT_ONCE])

    def _head(self) -> _Head:
        with self._lock:
            if self._known_head is None:
                self._asked(self._read_head)
            assert self._known_head is not None
            return self._known_head

    def _forget_head(self) -> None:
        self._known_head = None

    def _read_head(self) -> None:
        """Read the newest number, and have all up to it in the journal.

        The journal is one sequence: when a write is in it, so is what was read before. Unless the server was killed in
        between and lost that; then the second reading tells, and it is done again.
        """
        read = self._newest_head()
        while True:
            self._database.notes.update_one({"_id": "read"}, {"$inc": {"value": 1}}, upsert=True)
            again = self._newest_head()
            if again == read:
                self._known_head = read
                return
            read = again

    def _newest_head(self) -> _Head:
        fields = {"sales_to": 1, "rows_to": 1}
        newest = self._database.entries.find_one(sort=[("_id", DESCENDING)], projection=fields)
        return _Head(newest["_id"], newest["sales_to"], newest["rows_to"]) if newest else _Head()

    def _rows_of(
        self, query: Document, order: tuple[str, int], limit: int, wanted: Callable[[int], bool]
    ) -> list[StoredRow]:
        """Return the first wanted rows of the entries that a query finds, in this order."""
        rows: list[StoredRow] = []
        fields, size = {"rows": 1, "rows_from": 1}, max(2, min(limit, 100))  # an entry may hold a single row
        with self._database.entries.find(query, fields, batch_size=size).sort([order]) as entries:
            for entry in entries:
                numbered = list(enumerate(entry["rows"], entry["rows_from"]))[:: order[1]]
                chosen = [(number, text) for number, text in numbered if wanted(number)][: limit - len(rows)]
                rows += [StoredRow(number, json.loads(text), is_held_out(number)) for number, text in chosen]
                if len(rows) >= limit:
                    break
        return rows

    def _trained_to(self) -> int:
        with self._lock:
            self._head()  # first: a version that is not in the journal yet may be gone again tomorrow
            found = self._asked(
                lambda: self._database.models.find_one(sort=[("_id", DESCENDING)], projection={"trained_to": 1})
            )
            return int(found["trained_to"]) if found else 0

    # Documents.

    def _newest(self, name: str, limit: int) -> list[Document]:
        with self._lock:
            self._head()
            found: list[Document] = self._asked(
                lambda: list(self._database[name].find().sort("_id", DESCENDING).limit(limit))
            )
            return found

    def _every(self, query: Document, fields: Document) -> Iterator[Document]:
        with self._server.explained(), self._database.entries.find(query, fields).sort("_id", ASCENDING) as found:
            yield from found

    def _put(self, collection: str, name: str, value: str | None) -> None:
        if value is None:
            self._asked(self._database[collection].delete_one, {"_id": name})
        else:
            self._asked(lambda: self._database[collection].replace_one({"_id": name}, {"value": value}, upsert=True))

    def _migrate(self) -> None:
        schema = self._database.notes.find_one({"_id": "schema"})
        found = int(schema["value"]) if schema else 0
        for number, step in steps_from(found, MIGRATIONS, self._shown, "--store"):
            step(self._database)
            self._database.notes.replace_one({"_id": "schema"}, {"value": str(number)}, upsert=True)


def _item_of(entry: Document) -> Item:
    return Item(entry["_id"], entry["name"], entry["category"], entry["price_cents"], entry.get("retired", False))


def _replaced(item: Item) -> Any:
    fields = asdict(item)
    return ReplaceOne({"_id": fields.pop("code")}, fields, upsert=True)


def _entry(head: _Head, entry_id: str, texts: list[str], sale: Sale | None, token: bytes) -> Document:
    first, last = head.rows_to + 1, head.rows_to + len(texts)
    document: Document = {
        "_id": head.number + 1,
        "entry_id": entry_id,
        "is_sale": sale is not None,
        "sales_to": head.sales_to + (sale is not None),
        "rows_from": first,
        "rows_to": last,
        "has_rows": bool(texts),
        "held_out": last // HOLD_OUT_EVERY > head.rows_to // HOLD_OUT_EVERY,
        "rows": texts,
        "token": token,
    }
    if sale is not None:
        document["sale"] = asdict(sale) | {"lines": [asdict(line) for line in sale.lines]}
    return document


def _version_document(version: ModelVersion) -> Document:
    return {"_id": version.number, "trained_to": version.trained_to, "body": json.dumps(asdict(version))}


def _text(row: Json) -> str:
    return json.dumps(row, separators=(",", ":"))


def _sale_key(sale_id: str) -> str:
    return f"sale:{sale_id}"


def _batch_key(batch_id: str) -> str:
    return f"batch:{batch_id}"
