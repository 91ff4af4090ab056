"""Move everything that a store holds: read the contents of a store or an archive, and fill an empty store with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeVar

from .ownership import OWNER, UNFINISHED
from .records import Item, ModelVersion, RoundRecord, Sale, SetAsideRow, SourcedRow
from .store import Store, StoreError

T = TypeVar("T")
AT_ONCE: Final = 5000
EVERYTHING: Final = 1_000_000_000

ProgressCallback = Callable[[str, int], None]
"""Is called after each step with the kind of record that was moved, and the number."""


@dataclass(frozen=True)
class RecordCounts:
    """The number of records of each kind."""

    items: int
    sales: int
    rows: int
    batches: int
    versions: int
    rounds: int
    settings: int
    set_aside: int = 0


@dataclass(frozen=True)
class Contents:
    """Everything that a store holds, oldest first; the large parts can be iterated over once."""

    source: str
    items: Sequence[Item]
    sales: Iterable[Sale]
    rows: Iterable[SourcedRow]
    batch_ids: Iterable[str]
    versions: Sequence[ModelVersion]
    rounds: Sequence[RoundRecord]
    settings: dict[str, str]
    set_aside: Sequence[SetAsideRow] = ()


def contents_of(store: Store, source: str) -> Contents:
    """Return what a store holds. ``source`` is its name in messages."""
    return Contents(
        source,
        store.items(),
        store.every_sale(),
        store.every_row(),
        store.batch_ids(),
        store.versions(EVERYTHING)[::-1],
        store.rounds(EVERYTHING)[::-1],
        store.settings(),
        store.set_aside_rows(EVERYTHING)[::-1],
    )


def counts_of(store: Store) -> RecordCounts:
    """Count the records in a store by reading them all."""
    return counts_in(contents_of(store, ""))


def counts_in(contents: Contents) -> RecordCounts:
    """Count the records of contents by iterating over them."""
    return RecordCounts(
        items=len(contents.items),
        sales=sum(1 for _ in contents.sales),
        rows=sum(1 for _ in contents.rows),
        batches=sum(1 for _ in contents.batch_ids),
        versions=len(contents.versions),
        rounds=len(contents.rounds),
        settings=len(contents.settings),
        set_aside=len(contents.set_aside),
    )


@contextmanager
def filling(store: Store, source: str) -> Iterator[None]:
    """Fill an empty store in the block; whenever that fails, the store is empty again.

    It is marked as unfinished until ``finish``, so no cart starts on it. What a killed filling has left is removed by
    the next one, or here.
    """
    if store.note(UNFINISHED) is not None:
        store.clear()
    store.put_note(UNFINISHED, source)
    try:
        yield
    except BaseException:
        with suppress(StoreError):  # the store may be away, or have no room: the next filling removes it
            store.clear()
        raise


def check_empty(store: Store, place: str) -> None:
    """Check that a store is empty, or holds only what a failed filling has left, so that nothing gets mixed up.

    Raises:
        StoreError: if it is not.
    """
    if store.note(UNFINISHED) is not None:
        return  # no cart has ever used what is in it
    if store.sale_count() or store.row_count() or store.current_version() or next(iter(store.batch_ids()), None):
        raise StoreError(f"The store {place} is not empty. Only an empty one can be filled; nothing was changed.")


def fill(store: Store, contents: Contents, progress: ProgressCallback) -> RecordCounts:
    """Put contents into an empty store, in a block of ``filling``; return the number of records of each kind."""
    store.put_items(contents.items)
    progress("items", len(contents.items))
    sales = _in_parts("sales", contents.sales, store.load_sales, progress)
    batches = _in_parts("batches", contents.batch_ids, store.load_batch_ids, progress)
    rows = _in_parts("rows", contents.rows, store.load_rows, progress)
    store.load_versions(contents.versions)
    progress("versions", len(contents.versions))
    for record in contents.rounds:
        store.save_round(record)
        progress("rounds", 1)
    for name, value in contents.settings.items():
        store.put_setting(name, value)
        progress("settings", 1)
    store.set_aside(contents.set_aside)
    progress("set_aside", len(contents.set_aside))
    return RecordCounts(
        len(contents.items),
        sales,
        rows,
        batches,
        len(contents.versions),
        len(contents.rounds),
        len(contents.settings),
        len(contents.set_aside),
    )


def finish(store: Store, moved: RecordCounts, place: str, owner: str) -> None:
    """Compare what was moved with what the store returns, and let its owner use it.

    Raises:
        StoreError: if they differ.
    """
    found = counts_of(store)
    if found != moved:
        raise StoreError(
            f"The store {place} holds {found}, and {moved} should have been moved there. The source is untouched."
        )
    store.put_note(OWNER, owner)  # first: a full store is never without one
    store.put_note(UNFINISHED, None)


def parts_of(things: Iterable[T], size: int = AT_ONCE) -> Iterator[list[T]]:
    """Yield things in lists of at most this size."""
    iterator = iter(things)
    while part := list(islice(iterator, size)):
        yield part


def _in_parts(name: str, things: Iterable[T], load: Callable[[Sequence[T]], None], progress: ProgressCallback) -> int:
    count = 0
    for part in parts_of(things):
        load(part)
        count += len(part)
        progress(name, len(part))
    return count
