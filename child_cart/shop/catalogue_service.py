"""Read and change the catalogue. Every method may be called from any thread."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from cart_common.process.json_values import Json

from ..db.records import Item
from ..db.store import Store
from . import catalogue_csv, labels
from .billing import index
from .catalogue import CatalogueError, ReadOnlyCatalogue, code_of, item_of, item_under, with_room_for
from .item_codes import CodeIndex

SHARED: Final = "This cart takes its items from a catalogue that carts share (--catalogue), so change them there."


class CatalogueService:
    """The catalogue, with retired items.

    Args:
        store: holds the catalogue.
        shared: it is a copy of a catalogue that carts share; it is read-only, since the next copy overwrites changes.
        currency: follows each price; may be empty.
    """

    def __init__(self, store: Store, shared: bool = False, currency: str = "") -> None:
        self._store = store
        self.currency = currency
        self.read_only = SHARED if shared else ""
        self._changing = threading.Lock()

    def items(self) -> list[Item]:
        """Return all items, by category and name."""
        return self._store.items()

    def add(self, fields: Json) -> Item:
        """Add an item.

        Raises:
            ReadOnlyCatalogue: if the catalogue is shared.
            FieldsRefused: if the fields make no item, or the code is taken.
            CatalogueError: if there is no room for it.
        """
        self._check_changeable()
        with self._changing:
            there = index(self._store.items())
            item = item_of(fields, taken=there)
            with_room_for(there, {item.code: item})
            self._store.change_items([item])
        return item

    def change(self, code: str, fields: Json) -> Item | None:
        """Change the named fields of an item: name, category, price_cents, retired. None if there is no such item.

        Raises:
            ReadOnlyCatalogue: if the catalogue is shared.
            CatalogueError: if the changed fields make no item.
        """
        self._check_changeable()
        with self._changing:
            item = self._find(code)
            if item is None:
                return None
            kept = {"name": item.name, "category": item.category, "price_cents": item.price_cents}
            changed = item_under(item.code, {**kept, "retired": item.retired, **fields})
            self._store.change_items([changed])
        return changed

    def take_csv(self, data: bytes) -> Json:
        """Import the items of a CSV file, all or none; return how many are ``added``, ``changed`` and ``same``.

        Raises:
            ReadOnlyCatalogue: if the catalogue is shared.
            CsvRefused, CatalogueError: if the file is wrong; nothing is changed then.
        """
        self._check_changeable()
        items = catalogue_csv.read(data, CodeIndex(index(self._store.items())))
        with self._changing:
            there = index(self._store.items())
            with_room_for(there, index(items))
            changed = [item for item in items if there.get(item.code) != item]
            self._store.change_items(changed)
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
        return labels.png(item, self.currency) if kind == "png" else labels.svg(item, self.currency).encode()

    def chosen(self, codes: Sequence[str], category: int | None) -> list[Item]:
        """Return the items to print labels for: the named ones, or else all that are sold (of one category)."""
        sold = [item for item in self._store.items() if not item.retired]
        if codes:
            by_code = index(sold)
            return [by_code[code] for code in dict.fromkeys(codes) if code in by_code]
        return [item for item in sold if category is None or item.category == category]

    def _check_changeable(self) -> None:
        if self.read_only:
            raise ReadOnlyCatalogue(self.read_only)

    def _find(self, code: str) -> Item | None:
        there = index(self._store.items())
        try:
            return there.get(code) or there.get(code_of(code, CodeIndex(there)))
        except CatalogueError:
            return None
