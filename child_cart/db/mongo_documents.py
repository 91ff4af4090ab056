"""The documents of the store in MongoDB, made from records and turned back into them. Pure values."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from pymongo import ReplaceOne, UpdateOne

from cart_common.process.json_values import Json

from .records import Item, ModelVersion, Sale, SetAsideRow, SourcedRow
from .store import HOLD_OUT_EVERY

Document = dict[str, Any]


@dataclass(frozen=True)
class LogHead:
    """The newest entry: its number, and the numbers of sales and of rows up to and with it."""

    number: int = 0
    sales_to: int = 0
    rows_to: int = 0


@dataclass(frozen=True)
class LoadedEntry:
    """An entry of a move: a sale, or rows, and then the id and time of the sale that made them as ``source``."""

    entry_id: str
    rows: Sequence[Json] = ()
    sale: Sale | None = None
    source: Document | None = None


def head_of(entry: Document) -> LogHead:
    """Return the head of a log whose newest entry is this one."""
    return LogHead(entry["_id"], entry["sales_to"], entry["rows_to"])


def entry_document(head: LogHead, entry_id: str, rows: list[str], sale: Sale | None, token: bytes) -> Document:
    """Return the entry that follows the head.

    Args:
        head: of the log without it.
        entry_id: unique among all entries.
        rows: as texts.
        sale: whose rows they are, or None.
        token: random bytes, by which a writer tells its own entry from another's.
    """
    first, last = head.rows_to + 1, head.rows_to + len(rows)
    document: Document = {
        "_id": head.number + 1,
        "entry_id": entry_id,
        "is_sale": sale is not None,
        "sales_to": head.sales_to + (sale is not None),
        "rows_from": first,
        "rows_to": last,
        "has_rows": bool(rows),
        "held_out": last // HOLD_OUT_EVERY > head.rows_to // HOLD_OUT_EVERY,
        "rows": rows,
        "token": token,
    }
    if sale is not None:
        document["sale"] = asdict(sale) | {"lines": [asdict(line) for line in sale.lines]}
    return document


def row_text(row: Json) -> str:
    """Return a row as it is stored."""
    return json.dumps(row, separators=(",", ":"))


def parts_by_sale(rows: Sequence[SourcedRow], size: int) -> Iterator[tuple[str, list[Json]]]:
    """Yield rows that follow each other and come from one sale, at most so many at once, with the id of the sale."""
    for sale_id, group in groupby(rows, lambda entry: entry.sale_id):
        same = [entry.row for entry in group]
        for start in range(0, len(same), size):
            yield sale_id, same[start : start + size]


def sale_key(sale_id: str) -> str:
    """Return the entry id of a sale."""
    return f"sale:{sale_id}"


def batch_key(batch_id: str) -> str:
    """Return the entry id of rows that come from no sale."""
    return f"batch:{batch_id}"


def item_of(entry: Document) -> Item:
    """Return the item of a document."""
    return Item(entry["_id"], entry["name"], entry["category"], entry["price_cents"], entry.get("retired", False))


def item_change(item: Item) -> Any:
    """Return the write that adds an item or replaces it."""
    fields = asdict(item)
    return ReplaceOne({"_id": fields.pop("code")}, fields, upsert=True)


def set_aside_change(row: SetAsideRow) -> Any:
    """Return the write that sets a row aside, unless it is."""
    return UpdateOne({"_id": row.sequence}, {"$setOnInsert": {"body": json.dumps(asdict(row))}}, upsert=True)


def version_document(version: ModelVersion) -> Document:
    """Return the document of a version."""
    return {"_id": version.number, "trained_to": version.trained_to, "body": json.dumps(asdict(version))}
