"""The log of sales and rows in MongoDB: entries with consecutive numbers, one document each.

A standalone server has no transactions over several documents, so nothing here needs one:

- **A sale and its rows are one document** of ``entries``, as are the rows of a batch. It holds its own number, the
  numbers of all sales and rows up to and with it (``sales_to``, ``rows_to``) and its rows. A row's sequence number
  follows from its position: the last of an entry's rows is number ``rows_to``. Nothing is counted anywhere else, so
  nothing has to be repaired: before the insert there is no sale, no row and no number, after it there is all of it.
- **A training and the rows that it spends are one document**, the version.
- All writes are acknowledged by a majority and journaled before a method returns.

What a ``SIGKILL`` leaves, at any instant:

- *Of the cart*, between sending an insert and hearing of it: the entry is there or not. The caller got no answer and
  asks again with the same id; the unique index on ``entry_id`` finds the first one.
- *Of the server*, likewise; the driver reports a broken connection. This store asks again itself, once: the document
  carries a random ``token``, by which it tells its own first try from another writer's entry. If there is no answer
  either, it raises ``StoreAway``.
- A try that was given up may still be on its way, and land late. It then takes a number that the next entry wanted (or
  finds it taken, and is lost): the unique ``_id`` rejects one of the two, and ``append`` reads the newest number and
  tries the next. The late entry is a whole sale, whose shopper has been asked to repeat it, and finds it.
- The server shows writes before they are in its journal, and may lose those if it is killed. A version that spends
  rows which then vanish would spend the rows after them too. So after every broken connection, and when it is opened,
  the store reads the newest number and has a write of its own journaled: the journal is one sequence, so what was read
  stays. Rows above that number (``head``) are not given out, and no version may spend them.

Rows that were moved here stand in entries after those of all sales, and name the sale that made them: its id and time.

Sales are documents with fields. Rows are texts in JSON: they hold numbers and names that are the task's, and BSON does
not take all of those.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence, Set
from typing import Final

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from cart_common.process.json_values import Json

from .mongo_client import MongoServer
from .mongo_documents import Document, LoadedEntry, LogHead, entry_document, head_of, row_text, sale_key
from .records import Sale, StoredRow
from .store import StoreError, is_held_out

LOAD_AT_ONCE: Final = 1000
TRIES: Final = 8
ROW_FIELDS: Final = {"rows": 1, "rows_from": 1, "rows_to": 1, "sale.sale_id": 1, "sale.sold_at": 1}


class EntryLog:
    """The entries of one database.

    Args:
        server: the database and its lock.
        shown: name of the store in messages.
    """

    def __init__(self, server: MongoServer, shown: str) -> None:
        self._server = server
        self._shown = shown
        self._database = server.database
        self._known_head: LogHead | None = None
        server.on_break = self.forget_head

    def head(self) -> LogHead:
        """Return the newest entry's numbers; everything up to it is in the server's journal."""
        with self._server.lock:
            if self._known_head is None:
                self._server.ask(self._read_head)
            assert self._known_head is not None
            return self._known_head

    def forget_head(self) -> None:
        """Read the head anew when it is needed next."""
        self._known_head = None

    def append(self, entry_id: str, rows: Sequence[Json], sale: Sale | None = None) -> bool:
        """Insert the next entry; False if there is one with this id."""
        texts = [row_text(row) for row in rows]
        token = os.urandom(8)
        with self._server.lock:
            for _ in range(TRIES):
                head = self.head()
                document = entry_document(head, entry_id, texts, sale, token)
                try:
                    self._server.write(self._database.entries.insert_one, document)
                except DuplicateKeyError:
                    self._known_head = None
                    kept = self._server.ask(self._database.entries.find_one, {"entry_id": entry_id}, {"token": 1})
                    if kept is not None:
                        return bool(kept["token"] == token)
                    continue  # a late entry, which was given up, has taken the number
                if self._known_head is head:
                    self._known_head = head_of(document)
                return True
        raise StoreError(f"The store {self._shown} is written by another program: every number was taken.")

    def load(self, entries: Sequence[LoadedEntry]) -> None:
        """Add many entries while nothing else writes."""
        with self._server.lock:
            head, documents = self.head(), []
            for entry in entries:
                document = entry_document(head, entry.entry_id, list(map(row_text, entry.rows)), entry.sale, b"")
                if entry.source is not None:
                    document["sale"] = entry.source
                documents.append(document)
                head = head_of(document)
            self._known_head = None
            for start in range(0, len(documents), LOAD_AT_ONCE):
                self._server.write(self._database.entries.insert_many, documents[start : start + LOAD_AT_ONCE])

    def sources(self, sale_ids: Set[str]) -> dict[str, Document]:
        """Return id and time of sales, by their id, as entries of moved rows hold them."""
        query = {"entry_id": {"$in": [sale_key(sale_id) for sale_id in sale_ids if sale_id]}}
        fields = {"sale.sale_id": 1, "sale.sold_at": 1}
        found = self._server.ask(lambda: list(self._database.entries.find(query, fields)))
        return {entry["sale"]["sale_id"]: entry["sale"] for entry in found}

    def rows_after(self, number: int, limit: int, left_out: Set[int]) -> list[StoredRow]:
        """Return the oldest rows above this number, oldest first, without those of the numbers ``left_out``."""

        def is_wanted(found: int) -> bool:
            return found > number and found not in left_out

        with self._server.lock:
            query = {"has_rows": True, "rows_to": {"$gt": number, "$lte": self.head().rows_to}}
            order = ("rows_to", ASCENDING)
            return self._server.ask(lambda: self._rows_of(query, order, limit, is_wanted))

    def held_out_to(self, number: int, limit: int, left_out: Set[int]) -> list[StoredRow]:
        """Return the newest held-out rows up to and with this number, newest first, without those ``left_out``."""

        def is_wanted(found: int) -> bool:
            return found <= number and is_held_out(found) and found not in left_out

        query, order = {"held_out": True, "rows_from": {"$lte": number}}, ("rows_from", DESCENDING)
        return self._server.ask(lambda: self._rows_of(query, order, limit, is_wanted))

    def rows_of(self, numbers: Set[int]) -> list[StoredRow]:
        """Return the rows with these numbers, all of which are stored; oldest first."""
        return self._server.ask(self._read_rows, sorted(numbers))

    def find(self, entry_id: str, fields: Document) -> Document | None:
        """Return these fields of the entry with this id. It is in the journals of a majority: it may be confirmed."""
        with self._server.lock:
            self.head()  # after a write that was not confirmed, what is found may still be lost
            found: Document | None = self._server.ask(self._database.entries.find_one, {"entry_id": entry_id}, fields)
            return found

    def newest_sales(self, limit: int) -> list[Document]:
        """Return the newest entries that are sales, newest first."""
        entries = self._database.entries
        return self._server.ask(
            lambda: list(entries.find({"is_sale": True}, {"sale": 1}).sort("_id", DESCENDING).limit(limit))
        )

    def every(self, query: Document, fields: Document) -> Iterator[Document]:
        """Yield these fields of all entries that a query finds, oldest first."""
        with self._server.explained(), self._database.entries.find(query, fields).sort("_id", ASCENDING) as found:
            yield from found

    def _read_head(self) -> None:
        """Read the newest number, and have all up to it in the journal.

        The journal is one sequence: when a write is in it, so is what was read before. Unless the server was killed in
        between and lost that; then the second reading differs, and both are repeated.
        """
        read = self._newest_head()
        while True:
            self._database.notes.update_one({"_id": "read"}, {"$inc": {"value": 1}}, upsert=True)
            again = self._newest_head()
            if again == read:
                self._known_head = read
                return
            read = again

    def _newest_head(self) -> LogHead:
        fields = {"sales_to": 1, "rows_to": 1}
        newest = self._database.entries.find_one(sort=[("_id", DESCENDING)], projection=fields)
        return head_of(newest) if newest else LogHead()

    def _rows_of(
        self, query: Document, order: tuple[str, int], limit: int, is_wanted: Callable[[int], bool]
    ) -> list[StoredRow]:
        """Return the first wanted rows of the entries that a query finds, in this order."""
        rows: list[StoredRow] = []
        size = max(2, min(limit, 100))  # an entry may hold a single row
        with self._database.entries.find(query, ROW_FIELDS, batch_size=size).sort([order]) as entries:
            for entry in entries:
                numbers = range(entry["rows_from"], entry["rows_from"] + len(entry["rows"]))[:: order[1]]
                chosen = list(filter(is_wanted, numbers))[: limit - len(rows)]
                rows += [_row_of(entry, number) for number in chosen]
                if len(rows) >= limit:
                    break
        return rows

    def _read_rows(self, numbers: Sequence[int]) -> list[StoredRow]:
        """Return the rows with these numbers, which ascend. An entry that has several of them is read once."""
        rows: list[StoredRow] = []
        entry: Document = {"rows_to": 0}
        for number in numbers:
            if number > entry["rows_to"]:
                query = {"has_rows": True, "rows_to": {"$gte": number}}
                entry = self._database.entries.find_one(query, ROW_FIELDS, sort=[("rows_to", ASCENDING)])
            rows.append(_row_of(entry, number))
        return rows


def _row_of(entry: Document, number: int) -> StoredRow:
    sale = entry.get("sale", {})
    row = json.loads(entry["rows"][number - entry["rows_from"]])
    return StoredRow(number, row, is_held_out(number), sale.get("sale_id", ""), sale.get("sold_at", 0.0))
