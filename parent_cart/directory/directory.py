"""The directory as the rest of a bridge uses it, and that of a bridge that is alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from cart_common.wire.records import BridgeRecord, CartRecord, RecordError, Refusal, check_record, newest, record_name

from .storage import dht_key


@dataclass(frozen=True)
class BridgeLoad:
    """A bridge's present load."""

    carts: int
    max_carts: int
    shells: Mapping[str, int]
    """The number of carts that have a model to give, by model signature."""


@dataclass(frozen=True)
class DirectoryFigures:
    """The directory's figures for Prometheus."""

    neighbours: int
    records: int
    counters: Mapping[str, int]


class Directory(Protocol):
    """Where other bridges and their carts are."""

    def neighbours(self) -> list[BridgeRecord]:
        """Return the records of the other bridges that are live: checked, not expired, and answering lately."""

    def publish_cart(self, cart_id: str, encoded: bytes) -> None:
        """Publish the record of a cart that is attached here, until it expires.

        A record by which the cart withdraws its last one is published once.

        Raises:
            RecordError: if it is not a record that this cart has signed, or not a later one.
        """

    def withdraw_cart(self, cart_id: str) -> None:
        """Stop publishing a cart that has left; one that is not known changes nothing."""

    async def find_cart(self, cart_id: str) -> CartRecord | None:
        """Return the record of a cart, at this bridge or another one; None if it is not found."""

    def figures(self) -> DirectoryFigures:
        """Return the figures for the metrics."""

    async def start(self, url: str, load: Callable[[], BridgeLoad]) -> None:
        """Listen for other bridges.

        Args:
            url: where carts reach it.
            load: returns the bridge's present load; called regularly.
        """

    async def run(self) -> None:
        """Find other bridges and be found, until it is cancelled."""

    async def stop(self) -> None:
        """Withdraw what was published, tell the neighbours, and end every task; may be called again."""


class OwnCarts:
    """The records of the carts that are attached here.

    Args:
        token: the bridge token of the fleet; None accepts carts of every fleet.
        now: seconds since the epoch.
    """

    def __init__(self, token: bytes | None, now: Callable[[], float] = time.time) -> None:
        self._token = token
        self._now = now
        self._records: dict[bytes, CartRecord] = {}

    def __len__(self) -> int:
        return len(self._records)

    def take(self, cart_id: str, encoded: bytes) -> CartRecord:
        """Keep a cart's record in place of its earlier one, or forget a cart that withdraws it.

        Raises:
            RecordError: if it is not a record that this cart has signed, or not a later one.
        """
        record = check_record(encoded, self._token, self._now(), record_name(CartRecord.KIND, cart_id))
        assert isinstance(record, CartRecord)  # the name says so
        key = dht_key(record.name)
        if newest(record, self._records.get(key)) is not record:
            raise RecordError(Refusal.OLDER, f"A later record of {record.name} is known.")
        if record.gone:
            self.drop(cart_id)
        else:
            self._records[key] = record
        return record

    def drop(self, cart_id: str) -> None:
        """Forget a cart; one that is not known changes nothing."""
        self._records.pop(dht_key(record_name(CartRecord.KIND, cart_id)), None)

    def get(self, cart_id: str) -> CartRecord | None:
        """Return a cart's record, if it has not expired."""
        return self._holding(dht_key(record_name(CartRecord.KIND, cart_id)))

    def value(self, key: bytes) -> bytes | None:
        """Return the bytes of the cart's record under a key of the DHT, if it has not expired."""
        record = self._holding(key)
        return None if record is None else record.encoded

    def _holding(self, key: bytes) -> CartRecord | None:
        record = self._records.get(key)
        return record if record is not None and record.holds_at(self._now()) else None


class LoneDirectory:
    """The directory of a bridge that is alone: it finds only its own carts."""

    def __init__(self, token: bytes | None) -> None:
        self._carts = OwnCarts(token)

    def neighbours(self) -> list[BridgeRecord]:
        """Return none."""
        return []

    def publish_cart(self, cart_id: str, encoded: bytes) -> None:
        """Keep the record of a cart that is attached here; raises ``RecordError``."""
        self._carts.take(cart_id, encoded)

    def withdraw_cart(self, cart_id: str) -> None:
        """Forget a cart that has left."""
        self._carts.drop(cart_id)

    async def find_cart(self, cart_id: str) -> CartRecord | None:
        """Return a cart's record if it is attached here."""
        return self._carts.get(cart_id)

    def figures(self) -> DirectoryFigures:
        """Return nothing but zeros."""
        return DirectoryFigures(0, 0, {})

    async def start(self, url: str, load: Callable[[], BridgeLoad]) -> None:
        """Do nothing: there is no other bridge."""

    async def run(self) -> None:
        """Do nothing, until it is cancelled."""
        await asyncio.Event().wait()

    async def stop(self) -> None:
        """Do nothing."""
