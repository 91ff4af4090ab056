"""A Kademlia node: it answers others, keeps some of their records, and looks records up.

A bridge's node id is the key of its own record, so any node that has it as a contact can ask the bridge itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from kademlia.node import Node

from cart_common.process.account import account_of
from cart_common.wire.identity import Identity
from cart_common.wire.records import BridgeRecord, Record, RecordError, check_record, newest, record_name

from .contacts import Contacts, introduction_statement
from .datagrams import Address, DatagramError, Envelope, Request, Rpc, nodes_in, value_in
from .lookup import BUCKET_NODES, Lookup, LookupAnswer
from .rpc_socket import RequestRates, RpcSocket
from .storage import RecordStorage, dht_key

COPIES: Final = 4
"""How many nodes keep a record."""
LOOKUP_S: Final = 15.0


@dataclass(frozen=True)
class LookupResult:
    """What a lookup has found, and what it took."""

    record: Record | None
    hops: int
    asked: int


class DhtNode:
    """A node of the DHT.

    Args:
        identity: the bridge's own.
        token: the bridge token of its fleet; None for the open one.
        own_record: returns the bridge's present record.
        own_value: returns the record of a cart that is attached here, by its key.
        storage: the records kept for others.
        counters: counts what was dropped and refused.
        now: seconds since the epoch.
        wait_s: seconds to wait for an answer before asking once more.
        rates: how many requests are answered at most.
        takes_old: whether datagrams of version 0.1 are taken and sent, too.
    """

    def __init__(
        self,
        identity: Identity,
        token: bytes | None,
        own_record: Callable[[], BridgeRecord],
        own_value: Callable[[bytes], bytes | None],
        storage: RecordStorage,
        counters: Counter[str],
        now: Callable[[], float],
        wait_s: float,
        rates: RequestRates,
        takes_old: bool = False,
    ) -> None:
        self.id = dht_key(record_name(BridgeRecord.KIND, identity.cart_id.hex()))
        self.rpc_socket = RpcSocket(Envelope(token, self.id, takes_old), self._answer, counters, now, wait_s, rates)
        self.contacts = Contacts(self.id, self.rpc_socket, self._check, storage.get, counters)
        self._identity = identity
        self._token = token
        self._own_record = own_record
        self._own_value = own_value
        self._storage = storage
        self._counters = counters
        self._now = now

    async def close(self) -> None:
        """Close the socket and end every task; may be called again."""
        await self.rpc_socket.close()
        await self.contacts.close()

    # Being asked.

    def _answer(self, address: Address, request: Request) -> object:
        self.contacts.meet(request.sender_id, address)
        match request.rpc:
            case Rpc.PING:
                return self.id
            case Rpc.INTRODUCE:
                statement = introduction_statement(request.key, request.sender_id)
                return [self._own_record().encoded, self._identity.sign(statement)]
            case Rpc.STORE:
                return self._take(request.key, request.value, address.host)
            case Rpc.FIND_VALUE:
                value = self._value(request.key)
                if value is not None:
                    return {"value": value}
        nearest = self.contacts.nearest(request.key)
        return [[node.id, node.ip, node.port] for node in nearest if node.id != request.sender_id]

    def _value(self, key: bytes) -> bytes | None:
        if key == self.id:
            return self._own_record().encoded
        return self._own_value(key) or self._storage.get(key)

    def _take(self, key: bytes, encoded: bytes, sender: str) -> bool:
        try:
            record = self._storage.put(key, encoded, account_of(address=sender))
        except RecordError as error:
            self.contacts.refuse(error)
            return False
        if record is not None and record.gone and (contact := self.contacts.by_id.get(key)):
            self.contacts.drop(key, contact.address)
        return True

    # Asking others.

    async def lookup(self, name: str) -> LookupResult:
        """Return the newest record of this name that is found; it may be a withdrawal."""
        key = dht_key(name)
        lookup = await self._walk(key, Rpc.FIND_VALUE, lambda value: self._check(value, name))
        own = self._value(key)
        record = lookup.record if own is None else newest(lookup.record, self._check(own, name))
        return LookupResult(record, lookup.hops, lookup.asked)

    async def put(self, record: Record) -> int:
        """Store a record at the nodes nearest to its key; return how many keep it."""
        key = dht_key(record.name)
        lookup = await self._walk(key, Rpc.FIND_NODE, None, 2 * COPIES)
        return await self._store(key, record.encoded, lookup.reached()[:COPIES])

    async def spread(self, record: Record) -> int:
        """Store a record at all contacts; return how many keep it."""
        return await self._store(dht_key(record.name), record.encoded, self.contacts.nodes(), tries=1)

    async def find_self(self) -> None:
        """Look up the own id, so that the nodes on the way and this one become contacts."""
        await self.walk_to(self.id)

    async def walk_to(self, key: bytes) -> None:
        """Look up a key to meet the nodes on the way."""
        await self._walk(key, Rpc.FIND_NODE, None)

    async def join(self, addresses: Iterable[Address]) -> int:
        """Ask the nodes at these addresses for their proof; return how many are right."""
        return sum(await asyncio.gather(*(self.contacts.introduce(address) for address in addresses)))

    async def _store(self, key: bytes, encoded: bytes, nodes: list[Node], tries: int = 2) -> int:
        asked = (
            self.rpc_socket.ask(Address(node.ip, node.port), node.id, Rpc.STORE, self.id, key, encoded, tries=tries)
            for node in nodes
        )
        return sum([answer is True for answer in await asyncio.gather(*asked)])

    async def _walk(
        self, key: bytes, rpc: Rpc, read: Callable[[bytes], Record] | None, breadth: int = BUCKET_NODES
    ) -> Lookup:
        lookup = Lookup(key, self.contacts.nearest(key), lambda node: self._find(node, rpc, key, read), breadth)
        try:
            async with asyncio.timeout(LOOKUP_S):
                await lookup.run()
        except TimeoutError:
            self._counters["lookups_cut_short"] += 1
        return lookup

    async def _find(
        self, node: Node, rpc: Rpc, key: bytes, read: Callable[[bytes], Record] | None
    ) -> LookupAnswer | None:
        address = Address(node.ip, node.port)
        # Asked once: a lookup has other nodes to ask.
        body = await self.rpc_socket.ask(address, node.id, rpc, self.id, key, tries=1)
        if body is None:
            self.contacts.doubt(node.id, address)
            return None
        try:
            value = value_in(body) if read is not None else None
            if read is not None and value is not None:
                found = LookupAnswer(read(value))
            else:
                named = [entry for entry in nodes_in(body, address.host) if entry.node_id != self.id]
                found = LookupAnswer(None, [Node(entry.node_id, *entry.address) for entry in named])
        except (DatagramError, RecordError) as error:
            self.contacts.refuse(error)
            return None
        self.contacts.meet(node.id, address)
        return found

    def _check(self, encoded: bytes, name: str | None = None) -> Record:
        return check_record(encoded, self._token, self._now(), name)
