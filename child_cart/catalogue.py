"""A catalogue that many carts share, in a database of its own; a cart sells from its own copy, with or without it."""

from __future__ import annotations

import logging
from typing import Any, Final

from .activity import Activity
from .db.opening import shown
from .db.records import Item
from .db.store import Store, StoreError
from .network.tasks import in_thread

log = logging.getLogger("cart.catalogue")

MOST_ITEMS: Final = 100_000
MOST_CHARS: Final = 200
MOST_CENTS: Final = 100_000_000


class SharedCatalogue:
    """The collection ``items`` of a MongoDB database: ``_id`` (the code), ``name``, ``category``, ``price_cents``.

    Args:
        url: ``mongodb://…/database``.
        store: takes the copy.
        timeout_s: for finding the server, and for its answer.
    """

    def __init__(self, url: str, store: Store, activity: Activity, timeout_s: float) -> None:
        self._url = url
        self._store = store
        self._activity = activity
        self._timeout_s = timeout_s
        self._sentence = ""

    async def refresh(self) -> None:
        """Take over what has changed; where that is not possible say so, once, and keep what is there."""
        try:
            changed = await in_thread(self._take_over)
            sentence = ""
        except StoreError as error:
            changed, sentence = 0, f"{error} Selling goes on with the items that this cart knows."
        if changed:
            self._activity.note(f"The shared catalogue has changed: {changed} items.")
        if sentence and sentence != self._sentence:
            self._activity.note(sentence)
        self._sentence = sentence

    def _take_over(self) -> int:
        items = [item for item in map(_item_of, self._read()) if item is not None]
        if not items:
            raise StoreError(f"The shared catalogue {shown(self._url)} has no items.")
        items.sort(key=lambda item: (item.category, item.name))
        if items == sorted(self._store.items(), key=lambda item: (item.category, item.name)):
            return 0
        self._store.put_items(items)
        return len(items)

    def _read(self) -> list[dict[str, Any]]:
        from pymongo import MongoClient  # noqa: PLC0415 - costs time and memory where nobody shares a catalogue
        from pymongo.errors import PyMongoError  # noqa: PLC0415

        milliseconds = max(int(self._timeout_s * 1000), 1)
        try:
            # A connection for each look: there is one a minute, and an idle cart should hold nothing open.
            with MongoClient[dict[str, Any]](
                self._url,
                serverSelectionTimeoutMS=milliseconds,
                connectTimeoutMS=milliseconds,
                socketTimeoutMS=milliseconds,
            ) as client:
                return list(client.get_default_database()["items"].find().limit(MOST_ITEMS))
        except (PyMongoError, ValueError) as error:
            why = str(error).partition(", Timeout:")[0][:200]
            raise StoreError(f"The shared catalogue {shown(self._url)} cannot be read ({why}).") from None


def _item_of(document: dict[str, Any]) -> Item | None:
    """Return a document as an item; None, and a line in the log, where it is none."""
    code, name = document.get("_id"), document.get("name")
    category, price_cents = document.get("category"), document.get("price_cents")
    texts = all(isinstance(text, str) and 0 < len(text) <= MOST_CHARS and text.isprintable() for text in (code, name))
    numbers = all(isinstance(number, int) and not isinstance(number, bool) for number in (category, price_cents))
    if not texts or not numbers or not 0 <= price_cents <= MOST_CENTS or not 0 <= category < 1000:  # type: ignore[operator]
        log.warning("an entry of the shared catalogue is no item: %.200r", document)
        return None
    return Item(str(code), str(name), int(category), int(price_cents))  # type: ignore[arg-type]
