"""The nodes that a node knows: bridges that have proved their identity, in the library's routing table.

The sender of a datagram can claim any id and any address. So a node that asks does not become a contact at once: it is
asked for its record, and for a signature over a fresh nonce by the key of that record.
"""

from __future__ import annotations

import asyncio
import heapq
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kademlia.node import Node
from kademlia.routing import RoutingTable

from cart_common.wire.identity import signature_is_valid
from cart_common.wire.records import BridgeRecord, Record, RecordError, Refusal, newest

from .datagrams import NONCE_BYTES, Address, DatagramError, Rpc, introduction_in
from .lookup import BUCKET_NODES
from .rpc_socket import RpcSocket
from .storage import dht_key

MOST_CONTACTS: Final = 2000
MOST_MEETINGS: Final = 64
_LABEL: Final = b"cart-introduction-v1\0"


def introduction_statement(nonce: bytes, asking_id: bytes) -> bytes:
    """Return the bytes that a bridge signs to prove its key to the node that asks, now."""
    return _LABEL + nonce + asking_id


@dataclass(frozen=True)
class Contact:
    """A bridge that has proved its key: its address and its last record."""

    address: Address
    record: BridgeRecord
    answered_at: float
    """When it last proved it, by the monotonic clock."""


class Contacts:
    """The nodes that this one knows.

    Args:
        own_id: this node's id.
        rpc_socket: sends requests.
        check: returns what a record says; raises ``RecordError``.
        kept: returns the record kept under a key; above all, one by which a bridge has withdrawn itself.
        counters: counts what was dropped and refused.
    """

    def __init__(
        self,
        own_id: bytes,
        rpc_socket: RpcSocket,
        check: Callable[[bytes], Record],
        kept: Callable[[bytes], bytes | None],
        counters: Counter[str],
    ) -> None:
        self.by_id: dict[bytes, Contact] = {}
        self.on_new: Callable[[Contact], None] = lambda _: None
        """Called with each new contact."""
        self._own_id = own_id
        self._rpc_socket = rpc_socket
        self._check = check
        self._kept = kept
        self._counters = counters
        self._table = RoutingTable(self, BUCKET_NODES, Node(own_id))
        self._meetings: dict[Address, asyncio.Task[bool]] = {}

    async def close(self) -> None:
        """End every task."""
        meetings = list(self._meetings.values())
        for meeting in meetings:
            meeting.cancel()
        await asyncio.gather(*meetings, return_exceptions=True)

    def nearest(self, key: bytes, count: int = BUCKET_NODES) -> list[Node]:
        """Return the contacts that are nearest to a key, the nearest first."""
        # Not the table's own search: it leaves out the node with this key, and stops at the first nodes that it finds.
        return heapq.nsmallest(count, self.nodes(), key=Node(key).distance_to)

    def nodes(self) -> list[Node]:
        """Return all contacts, as the library writes them."""
        return [node for bucket in self._table.buckets for node in bucket.get_nodes()]

    # Meeting others.

    def meet(self, node_id: bytes, address: Address) -> None:
        """Ask a new node for its proof, in a task of its own, if there is room for it."""
        if node_id != self._own_id and node_id not in self.by_id and self._has_room(node_id):
            self._introduce_soon(address, node_id, tries=1)

    def doubt(self, node_id: bytes, address: Address) -> None:
        """Ask a contact that has not answered again, in a task of its own: datagrams get lost."""
        contact = self.by_id.get(node_id)
        if contact is not None and contact.address == address:
            self._introduce_soon(address, node_id, tries=2)

    def _introduce_soon(self, address: Address, node_id: bytes, tries: int) -> None:
        if address in self._meetings or len(self._meetings) >= MOST_MEETINGS:
            return
        meeting = asyncio.ensure_future(self.introduce(address, node_id, tries))
        self._meetings[address] = meeting
        meeting.add_done_callback(lambda _: self._meetings.pop(address))

    async def introduce(self, address: Address, node_id: bytes | None = None, tries: int = 2) -> bool:
        """Ask the node at an address for its record and its proof; tell whether the proof is right.

        The node then becomes a contact, if there is room. A contact whose answer is wrong or missing is dropped.

        Args:
            address: where to ask.
            node_id: the node that is expected there, if that is known.
            tries: how often to ask.
        """
        nonce = os.urandom(NONCE_BYTES)
        body = await self._rpc_socket.ask(address, node_id, Rpc.INTRODUCE, self._own_id, nonce, tries=tries)
        record: BridgeRecord | None = None
        if body is not None:
            try:
                record = self._proved(body, nonce, node_id)
            except (DatagramError, RecordError) as error:
                self.refuse(error)
        if record is None:
            self.drop(node_id, address)
            return False
        if dht_key(record.name) != self._own_id:
            self._keep(record, address)
        return True

    def _proved(self, body: object, nonce: bytes, node_id: bytes | None) -> BridgeRecord:
        """Return the record of the bridge that made this introduction.

        Raises:
            DatagramError, RecordError: if it does not prove the bridge's key.
        """
        encoded, signature = introduction_in(body)
        record = self._check(encoded)
        if not isinstance(record, BridgeRecord) or node_id not in (None, dht_key(record.name)):
            raise RecordError(Refusal.WRONG_KEY, f"The record of {record.name} is not of the bridge that was asked.")
        kept = self._kept(dht_key(record.name))
        if record.gone or (kept is not None and newest(record, self._check(kept)) is not record):
            raise RecordError(Refusal.OLDER, f"The bridge of {record.name} has taken this record back.")
        statement = introduction_statement(nonce, self._own_id)
        if not signature_is_valid(bytes.fromhex(record.public_key), signature, statement):
            raise RecordError(Refusal.BAD_SIGNATURE, f"Who has sent the record of {record.name} does not hold its key.")
        return record

    def _keep(self, record: BridgeRecord, address: Address) -> None:
        node_id = dht_key(record.name)
        known = self.by_id.get(node_id)
        # A bridge that has moved gets its new address once it has not answered at the old one.
        if known is not None and known.address != address:
            return
        if newest(record, known.record if known else None) is not record or not self._has_room(node_id):
            return
        node = Node(node_id, address.host, address.port)
        self._table.add_contact(node)
        if self._table.is_new_node(node):
            self._table.remove_contact(node)  # its bucket is full; there is no waiting list
            return
        self.by_id[node_id] = contact = Contact(address, record, time.monotonic())
        if known is None:
            self.on_new(contact)

    def _has_room(self, node_id: bytes) -> bool:
        if node_id in self.by_id:
            return True
        bucket = self._table.buckets[self._table.get_bucket_for(Node(node_id))]
        return len(self.by_id) < MOST_CONTACTS and (
            len(bucket) < BUCKET_NODES
            # The table splits a bucket in which this holds.
            or bucket.has_in_range(self._table.node)
            or bucket.depth() % 5 != 0
        )

    async def call_ping(self, _: Node) -> None:
        """Do nothing; the library would ask the oldest contact of a full bucket, but ``poll`` asks all."""

    # Keeping in touch.

    async def poll(self, at_once: int = 16) -> None:
        """Ask each contact for its newest record, and drop those that do not answer."""
        turns = asyncio.Semaphore(at_once)

        async def ask(node_id: bytes, address: Address) -> None:
            async with turns:
                await self.introduce(address, node_id)

        await asyncio.gather(*(ask(node_id, contact.address) for node_id, contact in list(self.by_id.items())))

    def drop(self, node_id: bytes | None, address: Address) -> None:
        """Forget a contact at this address; one that is known at another address stays."""
        contact = self.by_id.get(node_id) if node_id is not None else None
        if node_id is not None and contact is not None and contact.address == address:
            del self.by_id[node_id]
            self._table.remove_contact(Node(node_id))
            self._counters["contacts_lost"] += 1

    def refuse(self, error: DatagramError | RecordError) -> None:
        """Count an answer or a record that was rejected."""
        name = f"records_{error.refusal}" if isinstance(error, RecordError) else f"datagrams_{error.fault}"
        self._counters[name.lower()] += 1
