"""What a bridge tells its carts of other bridges, and other bridges of its carts. Does no I/O of its own."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from cart_common.wire.messages import MOST_ELSEWHERE, MOST_NEIGHBOURS, NbrList
from cart_common.wire.records import BridgeRecord, CartRecord, RecordError, Refusal
from parent_cart.directory.directory import Directory

# A list that changes often is not sent at each change: for ten thousand carts it is megabytes.
TELL_EVERY_S: Final = 15.0
# If a list cannot hold all bridges anyway, a new or missing one can wait.
TELL_MANY_EVERY_S: Final = 600.0
# Records are some seconds old, and not every cart in them still answers.
SPARE: Final = 2


class Neighbourhood:
    """Answers what carts ask of the directory.

    Args:
        directory: where other bridges and their carts are.
        clock: seconds that only grow.
        chance: picks among bridges.
    """

    def __init__(self, directory: Directory, clock: Callable[[], float], chance: random.Random) -> None:
        self._directory = directory
        self._clock = clock
        self._chance = chance
        self._told: set[tuple[str, str]] = set()
        self._told_at = -TELL_EVERY_S
        self._last: list[BridgeRecord] | None = None

    def neighbours(self) -> list[BridgeRecord]:
        """Return the live bridges."""
        return self._directory.neighbours() if self._last is None else self._last

    def keep_last(self) -> None:
        """Keep the present list for the carts that will be sent away: the directory is about to stop."""
        self._last = self.neighbours()

    def list_for_cart(self) -> NbrList:
        """Return other bridges for one cart: if there are many, a random choice."""
        records = self.neighbours()
        chosen = self._chance.sample(records, min(len(records), MOST_NEIGHBOURS))
        return NbrList(tuple(map(_text, chosen)))

    def has_changed(self) -> bool:
        """Tell whether bridges have come or gone since this was last true; true at most every ``TELL_EVERY_S``."""
        now, present = self._clock(), {(record.bridge_id, record.url) for record in self.neighbours()}
        every_s = TELL_EVERY_S if len(present) < MOST_NEIGHBOURS else TELL_MANY_EVERY_S
        if present == self._told or now < self._told_at + every_s:
            return False
        self._told, self._told_at = present, now
        return True

    def elsewhere(self, model_signature: str, wanted: int) -> tuple[str, ...]:
        """Return records of bridges that have carts of a model, chosen at random by how many they have."""
        counts = {record: record.shells.get(model_signature, 0) for record in self.neighbours()}
        counts = {record: count for record, count in counts.items() if count > 0}
        chosen: list[BridgeRecord] = []
        while counts and len(chosen) < MOST_ELSEWHERE and wanted > 0:
            (record,) = self._chance.choices(list(counts), list(counts.values()))
            wanted -= max(counts.pop(record) // SPARE, 1)
            chosen.append(record)
        return tuple(map(_text, chosen))

    def take_record(self, cart_id: str, record: str) -> Refusal | None:
        """Publish where a cart is, or return why not. A cart with a wrong clock stays attached, but is not found."""
        try:
            self._directory.publish_cart(cart_id, record.encode())
        except RecordError as error:
            return error.refusal
        return None

    def forget(self, cart_id: str) -> None:
        """Stop publishing a cart that has left."""
        self._directory.withdraw_cart(cart_id)

    async def find(self, cart_id: str) -> str | None:
        """Return the record of a cart, or None if it is not found, or the directory has stopped."""
        if self._last is not None:
            return None
        record = await self._directory.find_cart(cart_id)
        return None if record is None or record.gone else _text(record)


def _text(record: BridgeRecord | CartRecord) -> str:
    return record.encoded.decode("ascii")
