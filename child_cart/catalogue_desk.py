"""What the pages may ask of the catalogue and change in it. Every method may be called from any thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from . import catalogue_csv, labels
from .catalogue import CatalogueError, code_of, item_of, with_room_for
from .db.records import Item, Json
from .db.store import Store
from .shop import index


class CatalogueDesk:
    """The catalogue as its page sees it; items that were retired are in it.

    Args:
        store: where it is kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._changing = threading.Lock()

    def items(self) -> list[Item]:
        """Return all items, by category and name."""
        return self._store.items()

    def add(self, fields: Json) -> Item:
        """Add an item.

        Raises:
            CatalogueError: if it is none, or its code is taken.
        """
        item = item_of(fields)
        with self._changing:
            there = index(self._store.items())
            if item.code in there:
                gone = " It is retired: take it back instead." if there[item.code].retired else ""
                raise CatalogueError(f"The code {item.code} belongs to {there[item.code].name}.{gone}")
            with_room_for(there, {item.code: item})
            self._store.put_items([item])
        return item

    def change(self, code: str, fields: Json) -> Item | None:
        """Change the named fields of an item: name, category, price_cents, retired. None if there is no such item.

        Raises:
            CatalogueError: if what comes out is no item.
        """
        with self._changing:
            item = self._find(code)
            if item is None:
                return None
            kept = {"name": item.name, "category": item.category, "price_cents": item.price_cents}
            changed = item_of({**kept, "retired": item.retired, **fields, "code": item.code})
            self._store.put_items([replace(changed, code=item.code)])
        return changed

    def take_csv(self, data: bytes) -> Json:
        """Take over the items of a CSV file, all or none; returns how many are ``added``, ``changed`` and ``same``.

        Raises:
            CsvRefused, CatalogueError: if the file is wrong; nothing is changed then.
        """
        items = catalogue_csv.read(data)
        with self._changing:
            there = index(self._store.items())
            with_room_for(there, index(items))
            changed = [item for item in items if there.get(item.code) != item]
            self._store.put_items(changed)
        added = sum(item.code not in there for item in changed)
        return {"added": added, "changed": len(changed) - added, "same": len(items) - len(changed)}

    def csv(self) -> str:
        """Return the whole catalogue as CSV."""
        return catalogue_csv.written(self._store.items())

    def label(self, code: str, kind: str) -> bytes | None:
        """Return the shelf label of an item as ``svg`` or ``png``; None if there is no such item."""
        item = self._find(code)
        if item is None:
            return None
        return labels.png(item) if kind == "png" else labels.svg(item).encode()

    def chosen(self, codes: Sequence[str], category: int | None) -> list[Item]:
        """Return the items that labels are wanted for: those named, or else all that are sold (of one category)."""
        sold = [item for item in self._store.items() if not item.retired]
        if codes:
            by_code = index(sold)
            return [by_code[code] for code in dict.fromkeys(codes) if code in by_code]
        return [item for item in sold if category is None or item.category == category]

    def _find(self, code: str) -> Item | None:
        there = index(self._store.items())
        try:
            return there.get(code) or there.get(code_of(code))
        except CatalogueError:
            return None
