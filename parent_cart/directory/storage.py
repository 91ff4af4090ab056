"""The records that a node keeps for others: checked when they come, bounded by count and bytes, until they expire.

Pure; its clock is an argument.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from kademlia.utils import digest

from cart_common.wire.records import Record, RecordError, Refusal, check_record

MOST_RECORDS: Final = 65_536
MOST_BYTES: Final = 48 * 1024 * 1024
# One sender may fill a quarter, so that it cannot use up the room of all others.
SHARE: Final = 4


def dht_key(name: str) -> bytes:
    """Return the 160-bit key of the record of this name."""
    key: bytes = digest(name)
    return key


class StoredRecord(NamedTuple):
    """A record that is kept. Of two, the larger tuple is the later one."""

    sequence: int
    issued_at_s: int
    encoded: bytes
    expires_at_s: int
    sender: str


class RecordStorage:
    """Records by key; the newest valid one of each owner.

    Args:
        token: the bridge token of the fleet; None accepts records of every fleet.
        now: seconds since the epoch.
        most_records: how many to keep at most.
        most_bytes: of how many bytes in all.
    """

    def __init__(
        self,
        token: bytes | None,
        now: Callable[[], float],
        most_records: int = MOST_RECORDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._token = token
        self._now = now
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._kept: dict[bytes, StoredRecord] = {}
        self._expiries: list[tuple[int, bytes]] = []
        self._by_sender: Counter[str] = Counter()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, key: bytes, encoded: bytes, sender: str) -> Record | None:
        """Keep a record of a sender, in place of an older one.

        Returns:
            The record, or None if the same bytes are kept already.

        Raises:
            RecordError: if it is rejected, or there is no room.
        """
        self._drop_expired()
        old = self._kept.get(key)
        if old is not None and old.encoded == encoded:
            return None
        record = check_record(encoded, self._token, self._now())
        if dht_key(record.name) != key:
            raise RecordError(Refusal.WRONG_KEY, f"The record of {record.name} is filed under another key.")
        new = StoredRecord(record.sequence, record.issued_at_s, record.encoded, record.expires_at_s, sender)
        if old is not None and new[:3] < old[:3]:
            raise RecordError(Refusal.OLDER, f"A later record of {record.name} is kept.")
        if old is None and not self._has_room(len(encoded), sender):
            raise RecordError(Refusal.FULL, f"There is no room for a record of {sender}.")
        self._replace(key, old, new)
        return record

    def get(self, key: bytes) -> bytes | None:
        """Return the record under a key, if it has not expired."""
        kept = self._kept.get(key)
        return kept.encoded if kept is not None and self._now() < kept.expires_at_s else None

    def _has_room(self, size_bytes: int, sender: str) -> bool:
        return (
            len(self._kept) < self._most_records
            and self.size_bytes + size_bytes <= self._most_bytes
            and self._by_sender[sender] < max(1, self._most_records // SHARE)
        )

    def _replace(self, key: bytes, old: StoredRecord | None, new: StoredRecord | None) -> None:
        if old is not None:
            del self._kept[key]
            self.size_bytes -= len(old.encoded)
            self._by_sender[old.sender] -= 1
            if not self._by_sender[old.sender]:
                del self._by_sender[old.sender]
        if new is not None:
            self._kept[key] = new
            self.size_bytes += len(new.encoded)
            self._by_sender[new.sender] += 1
            heapq.heappush(self._expiries, (new.expires_at_s, key))
            if len(self._expiries) > 2 * len(self._kept) + 100:  # what was replaced has left its expiry behind
                self._expiries = [(kept.expires_at_s, key) for key, kept in self._kept.items()]
                heapq.heapify(self._expiries)

    def _drop_expired(self) -> None:
        now_s = self._now()
        while self._expiries and self._expiries[0][0] <= now_s:
            _, key = heapq.heappop(self._expiries)
            kept = self._kept.get(key)
            if kept is not None and kept.expires_at_s <= now_s:
                self._replace(key, kept, None)
