"""Figures of the store for the pages: the present ones, or the last known while the store does not answer."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, replace

from ..db.records import RoundRecord
from ..db.store import Store, StoreError

RECENT_ROUNDS = 10
TRY_EVERY_S = 5.0
TRIAL = "trial"
TRIAL_CHARS = 64 * 1024


@dataclass(frozen=True)
class StoreFigures:
    """Counts and the newest rounds at ``seen_at``; ``trouble`` says why the figures are old, empty if they are not."""

    waiting: int
    set_aside: int
    rows: int
    sales: int
    rounds: tuple[RoundRecord, ...]
    seen_at: float
    """Seconds since the epoch."""
    trouble: str = ""
    refused: str = ""
    """Why the store does not write, though it may answer; empty if it does."""
    refusals: int = 0
    """Writes that it has refused since the start."""

    @property
    def answers(self) -> bool:
        """Whether the store answers."""
        return not self.trouble

    @property
    def is_usable(self) -> bool:
        """Whether the store answers and writes."""
        return not self.trouble and not self.refused


class StoreWatch:
    """Reads the store for the status, which is needed most while the store is in trouble."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: StoreFigures | None = None
        self._tried_at = -TRY_EVERY_S

    def look(self) -> StoreFigures:
        """Return the figures.

        Raises:
            StoreError: if the store has not answered yet.
        """
        store = self._store
        try:
            self._try_again()
            self._last = StoreFigures(
                waiting=store.waiting_count(),
                set_aside=store.set_aside_count(),
                rows=store.row_count(),
                sales=store.sale_count(),
                rounds=tuple(store.rounds(RECENT_ROUNDS)),
                seen_at=time.time(),
                refused=store.refusals.sentence,
                refusals=store.refusals.count,
            )
        except StoreError as error:
            if self._last is None:
                raise
            return replace(self._last, trouble=str(error))
        return self._last

    def _try_again(self) -> None:
        """Write something as large as a sale now and then, as long as the store has refused the newest write.

        Otherwise the alarm would last until somebody buys something.
        """
        if self._store.refusals.sentence and time.monotonic() - self._tried_at > TRY_EVERY_S:
            self._tried_at = time.monotonic()
            with suppress(StoreError):
                self._store.put_note(TRIAL, " " * TRIAL_CHARS)
