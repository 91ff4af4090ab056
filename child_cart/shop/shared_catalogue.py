"""A catalogue that carts share in a database of its own. A cart sells from a local copy, so it can sell without it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from cart_common.process.redaction import shown
from cart_common.process.tasks import in_thread

from ..db.records import Item
from ..db.store import Store, StoreError
from .billing import index
from .catalogue import MAX_ITEMS, CatalogueError, item_of

log = logging.getLogger("cart.catalogue")


class SharedCatalogue:
    """The collection ``items`` of a MongoDB database.

    Its documents hold ``_id`` (the code), ``name``, ``category``, ``price_cents``, and perhaps ``retired``, by the same
    rules as the catalogue page.

    Args:
        url: ``mongodb://…/database``.
        store: takes the copy.
        note: is told, in a sentence, what has changed or does not work.
        timeout_s: for connecting to the server, and for its answer.
    """

    def __init__(self, url: str, store: Store, note: Callable[[str], None], timeout_s: float) -> None:
        self._url = url
        self._store = store
        self._note = note
        self._timeout_s = timeout_s
        self._sentence = ""
        self._refused: list[str] = []

    async def keep_fresh(self, every_s: Callable[[], float]) -> None:
        """Take the catalogue over again and again, with this many seconds between, until cancelled."""
        while True:
            await self.refresh()
            await asyncio.sleep(every_s())

    async def refresh(self) -> None:
        """Copy what has changed; if that fails, note it once and keep the present copy."""
        try:
            changed = await in_thread(self._take_over)
            sentence = ""
        except StoreError as error:
            changed, sentence = 0, f"{error} Selling goes on with the items that this cart knows."
        if changed:
            self._note(f"The shared catalogue has changed: {changed} items.")
        if sentence and sentence != self._sentence:
            self._note(sentence)
        self._sentence = sentence

    def _take_over(self) -> int:
        items, refused = items_of(self._read())
        if refused != self._refused:
            for sentence in refused:
                log.warning("an entry of the shared catalogue is no item: %s", sentence)
            self._refused = refused
        if not items:
            raise StoreError(f"The shared catalogue {shown(self._url)} has no items.")
        if index(items) == index(self._store.items()):
            return 0
        self._store.put_items(items)
        return len(items)

    def _read(self) -> list[dict[str, Any]]:
        from pymongo.errors import PyMongoError  # noqa: PLC0415 - costs time and memory where no catalogue is shared

        from ..db.mongo_client import client_of, first_words  # noqa: PLC0415

        try:
            # A new connection each time: a cart reads once a minute, and holds nothing open between.
            with client_of(self._url, self._timeout_s) as client:
                documents = list(client.get_default_database()["items"].find().sort("_id").limit(MAX_ITEMS + 1))
        except (PyMongoError, ValueError) as error:
            raise StoreError(
                f"The shared catalogue {shown(self._url)} cannot be read ({first_words(error)})."
            ) from None
        if len(documents) > MAX_ITEMS:
            raise StoreError(
                f"The shared catalogue {shown(self._url)} has more than {MAX_ITEMS} entries, "
                "the most that a cart takes."
            )
        return documents


def items_of(documents: Sequence[dict[str, Any]]) -> tuple[list[Item], list[str]]:
    """Return the items of documents, and an error for each invalid document and each repeated code."""
    items: dict[str, Item] = {}
    refused: list[str] = []
    for document in documents:
        try:
            item = item_of({**document, "code": document.get("_id")})
            if item.code in items:
                raise CatalogueError(f"The code {item.code} is there already.")
            items[item.code] = item
        except CatalogueError as error:
            refused.append(f"{str(document.get('_id'))[:40]!r}: {error}")
    return list(items.values()), refused
