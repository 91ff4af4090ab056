"""What every backend of a cart's store must do. One test-suite holds for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from .records import Item, Json, ModelVersion, RoundRecord, Sale, StoredRow

HOLD_OUT_EVERY: Final = 10
"""Every tenth row is held out: it measures models and is never trained on."""


class StoreError(Exception):
    """The store cannot do what is asked; the message says what and which file or server."""


class Store(Protocol):
    """A cart's memory. Every method may be called from any thread; what it has written is durable when it returns."""

    # Selling.

    def items(self) -> list[Item]:
        """Return the catalogue, by category and name."""

    def put_items(self, items: Sequence[Item]) -> None:
        """Add items, or change those whose code is there."""

    def record_sale(self, sale: Sale, rows: Sequence[Json]) -> bool:
        """Keep a sale and its rows, both or neither; False if this sale id is there already (nothing changes)."""

    def sale(self, sale_id: str) -> Sale | None:
        """Return the sale of this id, or None."""

    def sales(self, limit: int) -> list[Sale]:
        """Return the newest sales, newest first."""

    def sale_count(self) -> int:
        """Return how many sales there are."""

    # Cart data.

    def record_rows(self, batch_id: str, rows: Sequence[Json]) -> bool:
        """Keep rows that come from no sale; False if this batch id is there already (nothing changes)."""

    def row_count(self) -> int:
        """Return how many rows there are, spent or not."""

    def waiting_count(self) -> int:
        """Return how many rows are above the current version's ``trained_to``."""

    def waiting_rows(self, limit: int) -> list[StoredRow]:
        """Return the oldest waiting rows, oldest first."""

    def held_out_rows(self, limit: int) -> list[Json]:
        """Return the newest held-out rows that are not waiting."""

    # Models.

    def add_version(self, version: ModelVersion) -> None:
        """Keep a version: the commit point. From here on its rows are spent.

        Raises:
            StoreError: if it is not the next version, or would take rows back.
        """

    def current_version(self) -> ModelVersion | None:
        """Return the newest version."""

    def versions(self, limit: int) -> list[ModelVersion]:
        """Return the newest versions, newest first."""

    def forget_model(self) -> None:
        """Remove all versions and rounds; sales and rows stay, and all rows wait again."""

    # Rounds and settings.

    def save_round(self, record: RoundRecord) -> None:
        """Keep a round, in place of what was kept of it before."""

    def rounds(self, limit: int) -> list[RoundRecord]:
        """Return the newest rounds, newest first."""

    def settings(self) -> dict[str, str]:
        """Return the settings that were changed on this cart."""

    def put_setting(self, name: str, value: str | None) -> None:
        """Keep a changed setting; None forgets the change."""

    def close(self) -> None:
        """Let the store go. Safe to call again."""
