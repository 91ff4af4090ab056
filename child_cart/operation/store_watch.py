"""Figures of the store for the pages: the present ones, or the last known while the store does not answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ..db.records import RoundRecord
from ..db.store import Store, StoreError

RECENT_ROUNDS = 10


@dataclass(frozen=True)
class StoreFigures:
    """Counts and the newest rounds at ``seen_at``; ``trouble`` says why the figures are old, empty if they are not."""

    waiting: int
    rows: int
    sales: int
    rounds: tuple[RoundRecord, ...]
    seen_at: float
    """Seconds since the epoch."""
    trouble: str = ""

    @property
    def answers(self) -> bool:
        """Whether the store answers."""
        return not self.trouble


class StoreWatch:
    """Reads the store for the status, which is needed most while the store is in trouble."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: StoreFigures | None = None

    def look(self) -> StoreFigures:
        """Return the figures.

        Raises:
            StoreError: if the store has not answered yet.
        """
        store = self._store
        try:
            self._last = StoreFigures(
                waiting=store.waiting_count(),
                rows=store.row_count(),
                sales=store.sale_count(),
                rounds=tuple(store.rounds(RECENT_ROUNDS)),
                seen_at=time.time(),
            )
        except StoreError as error:
            if self._last is None:
                raise
            return replace(self._last, trouble=str(error))
        return self._last
