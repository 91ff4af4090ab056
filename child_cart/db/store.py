"""What every backend of a cart's store must do. One test suite runs on all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol, TypeVar

from cart_common.process.errors import UserError
from cart_common.process.json_values import Json

from .records import Item, ModelVersion, RoundRecord, Sale, SetAsideRow, SourcedRow, StoredRow
from .refusals import Refusals

T = TypeVar("T")

HOLD_OUT_EVERY: Final = 10
"""Every tenth row is held out: it measures models and is never trained on."""


def is_held_out(sequence: int) -> bool:
    """Tell whether the row of this number is held out."""
    return sequence % HOLD_OUT_EVERY == 0


class StoreError(UserError):
    """The store cannot do this; the message says why, and names the file or server."""


class StoreAway(StoreError):
    """The store does not answer for now. The request may have been carried out; repeating it has no second effect."""


def check_follows(version: ModelVersion, newest: ModelVersion | None, row_count: int) -> None:
    """Check that a version may follow the newest one.

    Raises:
        StoreError: if its number is not the next one, it takes rows back without being a copy of an earlier version, or
            it spends rows that are not stored.
    """
    number, trained_to = (newest.number, newest.trained_to) if newest else (-1, 0)
    takes_back = version.trained_to < trained_to and version.copy_of is None
    if version.number != number + 1 or takes_back or version.trained_to > row_count:
        raise StoreError(
            f"Version {version.number} (trained to row {version.trained_to}) does not follow version {number} "
            f"(trained to row {trained_to} of {row_count})."
        )


class LearningStore(Protocol):
    """What learning needs of a cart's memory. Every method may be called from any thread."""

    # Cart data.

    def waiting_count(self) -> int:
        """Return the number of rows above the current version's ``trained_to`` that are not set aside."""

    def waiting_rows(self, limit: int) -> list[StoredRow]:
        """Return the oldest waiting rows, oldest first, each with the sale that made it; none is set aside."""

    def held_out_rows(self, limit: int) -> list[StoredRow]:
        """Return the newest held-out rows that are not waiting, newest first, each with the sale that made it.

        None is set aside.
        """

    def spent_rows(self, numbers: Sequence[int]) -> list[StoredRow]:
        """Return those of the rows with these numbers that are spent, oldest first, each with the sale that made it.

        None is set aside.
        """

    def set_aside(self, rows: Sequence[SetAsideRow]) -> None:
        """Set rows aside for good, also after a reset; one that is set aside already keeps its first record."""

    # Models.

    def add_version(self, version: ModelVersion) -> None:
        """Store a version: the commit point. From here on its rows are spent.

        Raises:
            StoreError: if it does not follow the newest one (``check_follows``).
        """

    def current_version(self) -> ModelVersion | None:
        """Return the newest version."""

    def versions(self, limit: int) -> list[ModelVersion]:
        """Return the newest versions, newest first."""

    def forget_model(self) -> None:
        """Remove all versions and rounds; sales and rows stay, and all rows wait again but those that are set aside."""

    def prune(self, versions: int, rounds: int) -> None:
        """Remove the records of all but the newest versions and rounds; at least one of each stays."""

    # Rounds and settings.

    def save_round(self, record: RoundRecord) -> None:
        """Store a round, in place of its earlier record."""

    def rounds(self, limit: int) -> list[RoundRecord]:
        """Return the newest rounds, newest first."""

    def settings(self) -> dict[str, str]:
        """Return the settings that were changed on this cart."""

    def put_setting(self, name: str, value: str | None) -> None:
        """Store a changed setting; None removes the change."""


class Store(LearningStore, Protocol):
    """A cart's memory. Every method may be called from any thread; what it writes is durable when it returns."""

    refusals: Refusals
    """What it has refused to write since the start."""

    # Selling.

    def items(self) -> list[Item]:
        """Return the catalogue, by category and name."""

    def put_items(self, items: Sequence[Item]) -> None:
        """Make these the catalogue: add and change items, and remove all others."""

    def change_items(self, items: Sequence[Item]) -> None:
        """Add items, or change those whose code is there; all others stay as they are."""

    def record_sale(self, sale: Sale, rows: Sequence[Json]) -> bool:
        """Store a sale and its rows, both or neither; False if this sale id is there already (nothing changes)."""

    def sale(self, sale_id: str) -> Sale | None:
        """Return the sale of this id, or None."""

    def sales(self, limit: int) -> list[Sale]:
        """Return the newest sales, newest first."""

    def sale_count(self) -> int:
        """Return the number of sales."""

    # Cart data.

    def record_rows(self, batch_id: str, rows: Sequence[Json]) -> bool:
        """Store rows that come from no sale; False if this batch id is there already (nothing changes)."""

    def row_count(self) -> int:
        """Return the number of rows, spent or not."""

    def set_aside_count(self) -> int:
        """Return the number of rows that are set aside."""

    def set_aside_rows(self, limit: int) -> list[SetAsideRow]:
        """Return the rows that are set aside, the newest rows first."""

    def note(self, name: str) -> str | None:
        """Return a note on the store itself, such as its owner."""

    def put_note(self, name: str, value: str | None) -> None:
        """Write a note on the store itself; None removes it."""

    # Migration: everything, oldest first, and many at a time. Nothing else writes meanwhile.

    def every_sale(self) -> Iterator[Sale]:
        """Yield all sales."""

    def every_row(self) -> Iterator[SourcedRow]:
        """Yield all rows, spent or not, each with the sale that made it."""

    def batch_ids(self) -> Iterator[str]:
        """Yield the batch ids of rows that come from no sale."""

    def load_sales(self, sales: Sequence[Sale]) -> None:
        """Add sales without their rows."""

    def load_rows(self, rows: Sequence[SourcedRow]) -> None:
        """Add rows whose sales and batches are stored already."""

    def load_batch_ids(self, batch_ids: Sequence[str]) -> None:
        """Add ids of batches without their rows."""

    def load_versions(self, versions: Sequence[ModelVersion]) -> None:
        """Add versions with the numbers that they have, to a store without versions."""

    def clear(self) -> None:
        """Remove everything: what an import or a move that failed has left. Interrupted, it is asked for again."""

    def close(self) -> None:
        """Close the store. Safe to call again."""


def steps_from(found: int, migrations: Sequence[T], store: str, elsewhere: str) -> list[tuple[int, T]]:
    """Return the steps from a store's schema version to this program's, each with the version that it leads to.

    Args:
        found: the store's schema version.
        migrations: step n leads from version n to n + 1.
        store: its name in sentences.
        elsewhere: the flag that names another store.

    Raises:
        StoreError: if a newer program has written the store.
    """
    if found > len(migrations):
        raise StoreError(
            f"The store {store} has schema version {found}; this program reads up to {len(migrations)}. "
            f"Use the version of the program that wrote it, or give another {elsewhere}."
        )
    return list(enumerate(migrations[found:], found + 1))
