"""Open the store that the settings name, and check that it is this cart's.

An empty store in place of a lost one would look like a cart that has never sold anything. So the store names its owner,
the data folder names its store, and a cart starts only where the two agree.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cart_common.process.atomic_files import write_whole
from cart_common.process.redaction import shown

from .store import Store, StoreError

EMBEDDED: Final = "embedded"
FILE_NAME: Final = "cart.db"
MARK: Final = "store"
OWNER: Final = "owner"
UNFINISHED: Final = "unfinished"


def is_store(text: str) -> bool:
    """Return whether this names a store: ``embedded``, or ``mongodb://HOST/DATABASE``."""
    return text == EMBEDDED or is_mongodb(text)


def is_mongodb(text: str) -> bool:
    """Return whether this is the address of a database on a MongoDB server."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    # Of the text, as the driver reads it; urlsplit accepts blanks and capitals.
    return text.startswith(("mongodb://", "mongodb+srv://")) and bool(parts.netloc) and bool(parts.path.strip("/"))


def open_store(name: str, folder: Path, timeout_s: float) -> Store:
    """Open a store, and migrate it to this program's schema.

    Args:
        name: ``embedded``, or ``mongodb://HOST/DATABASE``.
        folder: the data folder; an embedded store lies in it.
        timeout_s: limit for finding a server and for each of its answers, and for waiting for the file.

    Raises:
        StoreError: if it cannot be used.
    """
    if name == EMBEDDED:
        from .sqlite import SqliteStore  # noqa: PLC0415 - one of the two, not both

        return SqliteStore(folder / FILE_NAME, timeout_s)
    from .mongo import MongoStore  # noqa: PLC0415 - pymongo costs time and memory

    return MongoStore(name, shown(name), timeout_s)


def place(name: str, folder: Path) -> str:
    """Return the name of a store in messages: the file, or the address without secrets."""
    return str(folder / FILE_NAME) if name == EMBEDDED else shown(name)


def check_whose(store: Store, name: str, folder: Path, owner: str, may_be_unfinished: bool = False) -> None:
    """Check that a store is the one that this cart has used so far, or that both are new to each other.

    With ``may_be_unfinished`` it may be half filled, as the next filling removes that.

    Raises:
        StoreError: if it is another cart's, has been moved elsewhere, is half filled, or is empty though it was not.
    """
    here, mark = place(name, folder), folder / MARK
    unfinished = store.note(UNFINISHED)
    if unfinished is not None and not may_be_unfinished:
        raise StoreError(
            f"The store {here} holds only part of what should have been moved there from {unfinished}. "
            "Give the command import or migrate again: it removes that part first."
        )
    found, marked = store.note(OWNER), _read(mark)
    if found not in (None, owner):
        raise StoreError(
            f"The store {here} belongs to cart {found}, and this is cart {owner}. Give each cart a database of its own "
            "with --store (CART_STORE); to take over what is in it, export it and import that here."
        )
    if marked is not None and marked != shown(name):
        raise StoreError(
            f"This cart keeps its data in {marked}, not in {shown(name)}. Take it along with the command migrate, or "
            f"remove the file {mark} to go on with what is in {here}."
        )
    if marked is not None and found is None:
        raise StoreError(
            f"The store {here} is empty, but this cart has had one there: it was lost, or moved away. Restore it from "
            f"a backup, or remove the file {mark} to start with an empty store."
        )


def make_own(store: Store, name: str, folder: Path, owner: str) -> None:
    """Write the owner into the store, then the name of the store into the data folder."""
    if store.note(OWNER) != owner:
        store.put_note(OWNER, owner)
    mark_folder(name, folder)


def mark_folder(name: str, folder: Path) -> None:
    """Write the name of the store into the data folder."""
    mark = folder / MARK
    if _read(mark) != shown(name):
        write_whole(mark, f"{shown(name)}\n".encode())


def _read(mark: Path) -> str | None:
    try:
        return mark.read_text().strip()
    except FileNotFoundError:
        return None
