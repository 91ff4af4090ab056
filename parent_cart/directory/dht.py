"""The directory of a bridge among others: it joins the DHT, publishes records, and knows which bridges are live.

It decides when to ask; the node decides whom to ask and what to accept.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from cart_common.process.backoff import Backoff, jittered
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError
from cart_common.process.tasks import in_thread
from cart_common.wire.fleet_key import OPEN, bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.records import (
    BRIDGE_LIFE_S,
    BridgeRecord,
    CartRecord,
    make_bridge_record,
    make_withdrawal,
    record_name,
)

from .contacts import Contact
from .datagrams import NODE_ID_BYTES, Address, address_of
from .directory import BridgeLoad, DirectoryFigures, OwnCarts
from .known_addresses import KnownAddresses, read_known_addresses, write_known_addresses
from .lookup import BUCKET_NODES
from .node import DhtNode
from .rpc_socket import DEFAULT_RATES, RequestRates
from .schedule import Schedule
from .storage import RecordStorage

log = logging.getLogger("bridge.directory")
PUBLISHED_AT_ONCE: Final = 8
MOST_FAREWELLS: Final = 10_000
ADDRESSES_OF_A_NAME: Final = 8


@dataclass(frozen=True)
class Pace:
    """Periods and timeouts, in seconds."""

    wait_s: float = 1.0
    """For an answer, before asking again."""
    poll_s: float = 15.0
    """Between two polls of the contacts."""
    join_first_s: float = 1.0
    join_cap_s: float = 60.0
    """Between two tries to find other bridges; growing while there are none."""
    republish_s: float = 1800.0
    batch_s: float = 0.08
    """For one batch of records at least, so that a bridge that gets thousands of carts at once floods no other."""
    own_record_s: float = 5.0
    """For which the own record is used before it is made anew."""
    save_s: float = 60.0
    life_s: int = BRIDGE_LIFE_S


class DhtDirectory:
    """The directory of bridges that find each other through a DHT.

    Args:
        identity: this bridge's own.
        token: the bridge token of the fleet; None for the open one.
        listen: host and UDP port for datagrams.
        bootstrap: host names or addresses, with ports, of bridges to join through.
        addresses_file: keeps the addresses of other bridges; None to keep none.
        pace: periods and timeouts.
        rates: how many requests are answered at most.
        takes_old: whether datagrams of version 0.1 are taken and sent, too.
    """

    def __init__(
        self,
        identity: Identity,
        token: bytes | None,
        listen: tuple[str, int],
        bootstrap: Sequence[tuple[str, int]],
        addresses_file: Path | None = None,
        pace: Pace = Pace(),
        rates: RequestRates = DEFAULT_RATES,
        takes_old: bool = False,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._record_token = token if token is not None else bridge_token(OPEN)
        self._listen = listen
        self._bootstrap = bootstrap
        self._addresses_file = addresses_file
        self._known_addresses = KnownAddresses([])
        self._saved: list[Address] = []
        self._pace = pace
        self._carts = OwnCarts(token)
        self._due = Schedule()
        self._farewells: deque[CartRecord] = deque(maxlen=MOST_FAREWELLS)
        self._storage = RecordStorage(token, time.time)
        self.node = DhtNode(
            *(identity, token, self._own_record, self._carts.value, self._storage, self.counters, time.time),
            *(pace.wait_s, rates, takes_old),
        )
        self.node.contacts.on_new = self._on_new_contact
        self._met = asyncio.Event()
        self._url = ""
        self._load: Callable[[], BridgeLoad] = lambda: BridgeLoad(0, 0, {})
        self._record: BridgeRecord | None = None
        self._record_made_at = 0.0

    # What the rest of the bridge asks.

    def neighbours(self) -> list[BridgeRecord]:
        """Return the records of the other bridges that are live: checked, not expired, and answering lately."""
        # Each is asked about every poll_s, and dropped if it does not answer; a busy bridge may be late with both.
        now_s, since = time.time(), time.monotonic() - 4 * (self._pace.poll_s + self._pace.wait_s)
        contacts = self.node.contacts.by_id.values()
        return [each.record for each in contacts if each.answered_at > since and each.record.holds_at(now_s)]

    def publish_cart(self, cart_id: str, encoded: bytes) -> None:
        """Publish the record of a cart that is attached here; raises ``RecordError``."""
        before = self._carts.get(cart_id)
        record = self._carts.take(cart_id, encoded)
        if record.gone:
            self._due.drop(cart_id)
            self._farewells.append(record)
        elif before is None or before.bridge_id != record.bridge_id or cart_id not in self._due:
            self._due.put(cart_id, 0.0)
        # Otherwise only its role or model has changed: that waits for the next publication, not twice a round.

    def withdraw_cart(self, cart_id: str) -> None:
        """Stop publishing a cart that has left."""
        self._carts.drop(cart_id)
        self._due.drop(cart_id)

    async def find_cart(self, cart_id: str) -> CartRecord | None:
        """Return the record of a cart, at this bridge or another one; None if it is not found."""
        here = self._carts.get(cart_id)
        if here is not None:
            return here
        record = (await self.node.lookup(record_name(CartRecord.KIND, cart_id))).record
        return record if isinstance(record, CartRecord) and not record.gone else None

    def figures(self) -> DirectoryFigures:
        """Return the figures for the metrics."""
        return DirectoryFigures(len(self.neighbours()), len(self._storage), self.counters)

    # It starts, works, and stops.

    async def start(self, url: str, load: Callable[[], BridgeLoad]) -> None:
        """Listen for other bridges.

        Raises:
            SettingError: if the address cannot be listened on.
            RecordError: if the URL does not fit into a record.
        """
        self._url, self._load = url, load
        self._own_record()
        host, port = self._listen
        try:
            await self.node.rpc_socket.listen(host, port)
        except OSError as error:
            raise SettingError(
                f"The bridge cannot take datagrams on {host} port {port}: {error_words(error)}. Stop what uses "
                "it, or choose another with --dht-host and --dht-port (BRIDGE_DHT_HOST, BRIDGE_DHT_PORT)."
            ) from None
        if self._addresses_file is not None:
            self._known_addresses = await in_thread(read_known_addresses, self._addresses_file)
        log.info("other bridges find this one at UDP port %d, as %s", self.node.rpc_socket.port, url)

    async def run(self) -> None:
        """Join, publish and watch, until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for work in (self._join_for_ever, self._poll_for_ever, self._publish_for_ever, self._save_for_ever):
                group.create_task(work())

    async def stop(self) -> None:
        """Withdraw the own record, tell the neighbours, and end every task; may be called again."""
        if self._record is not None and not self._record.gone:
            # Nodes that ask from now on get this one, too.
            self._record = make_withdrawal(self._own_record(), self._identity, self._record_token, time.time())
            await self.node.spread(self._record)
            await self._save()
        await self.node.close()

    # This bridge's own record.

    def _own_record(self) -> BridgeRecord:
        now = time.monotonic()
        if self._record is not None and self._record.gone:
            return self._record
        if self._record is None or now - self._record_made_at >= self._pace.own_record_s:
            now_s, load = time.time(), self._load()
            # If the clock was set back, the bridge's records must not look old.
            last = self._record.sequence if self._record is not None else 0
            self._record = make_bridge_record(
                self._identity,
                self._record_token,
                url=self._url,
                carts=load.carts,
                max_carts=load.max_carts,
                shells=load.shells,
                sequence=max(last + 1, int(now_s * 1000)),
                now_s=now_s,
                life_s=self._pace.life_s,
            )
            self._record_made_at = now
        return self._record

    # Meeting others.

    def _on_new_contact(self, contact: Contact) -> None:
        log.info("met the bridge %s at %s port %d", contact.record.url, *contact.address)
        self._known_addresses.note(contact.address)
        # A contact that is near, or one of few, may know nodes that this one should know.
        nearest = self.node.contacts.nearest(self.node.id)
        if len(nearest) < BUCKET_NODES or any(Address(node.ip, node.port) == contact.address for node in nearest):
            self._met.set()

    async def _join_for_ever(self) -> NoReturn:
        backoff = Backoff(self._pace.join_first_s, self._pace.join_cap_s)
        while True:
            await self.node.join(await self._addresses())
            if self.node.contacts.by_id:
                backoff.reset()
                await self.node.find_self()
                await self.node.walk_to(os.urandom(NODE_ID_BYTES))  # keeps the far buckets filled
                delay_s = jittered(self._pace.join_cap_s)
            else:
                delay_s = backoff.next_delay_s()
            self._met.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(delay_s):
                    await self._met.wait()
            await asyncio.sleep(jittered(self._pace.join_first_s))

    async def _addresses(self) -> list[Address]:
        """Return addresses to ask for bridges: those of the bootstrap peers, and some at which bridges were once.

        Addresses that do not answer are asked again even while other bridges are known: so two halves of a DHT meet.
        """
        resolved = await asyncio.gather(*(self._resolve(host, port) for host, port in self._bootstrap))
        known = {contact.address for contact in self.node.contacts.by_id.values()}
        remembered = [address for address in self._known_addresses.addresses() if address not in known]
        some = random.sample(remembered, min(len(remembered), 4 if known else 16))
        wanted = [address for addresses in resolved for address in addresses] + some
        return list(dict.fromkeys(address for address in wanted if address not in known))

    async def _resolve(self, host: str, port: int) -> list[Address]:
        # Resolved each time: a name may have another address tomorrow.
        try:
            entries = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        except (OSError, UnicodeError) as error:  # the latter for a part of a name that is empty or too long
            log.debug("the bootstrap peer %s has no address now: %s", host, error)
            self.counters["names_not_resolved"] += 1
            return []
        found = [address_of(str(entry[4][0]), int(entry[4][1])) for entry in entries]
        return [address for address in found if address is not None][:ADDRESSES_OF_A_NAME]

    async def _poll_for_ever(self) -> NoReturn:
        while True:
            await asyncio.sleep(jittered(self._pace.poll_s))
            await self.node.contacts.poll()

    # Publishing carts.

    async def _publish_for_ever(self) -> NoReturn:
        while True:
            most = PUBLISHED_AT_ONCE if self.node.contacts.by_id else 0
            due = self._due.take(time.monotonic(), most)
            # Interleaved with new ones: a shop that closes must not delay the carts of another one.
            gone = [self._farewells.popleft() for _ in range(min(most, len(self._farewells)))]
            await asyncio.gather(*map(self._publish, due), *map(self.node.put, gone))
            await asyncio.sleep(self._pace.batch_s if due or gone else 5 * self._pace.batch_s)

    async def _publish(self, cart_id: str) -> None:
        record = self._carts.get(cart_id)
        if record is None:
            return
        copies = await self.node.put(record)
        later_s = self._pace.republish_s if copies else self._pace.poll_s
        if self._carts.get(cart_id) is record:  # neither replaced nor gone meanwhile
            self._due.put(cart_id, time.monotonic() + jittered(later_s))

    # Remembering others.

    async def _save_for_ever(self) -> NoReturn:
        while True:
            await asyncio.sleep(self._pace.save_s)
            await self._save()

    async def _save(self) -> None:
        for contact in self.node.contacts.by_id.values():
            self._known_addresses.note(contact.address)
        if self._addresses_file is None or self._known_addresses.addresses() == self._saved:
            return
        try:
            await in_thread(write_known_addresses, self._addresses_file, self._known_addresses)
            self._saved = self._known_addresses.addresses()
        except OSError as error:
            log.warning("the neighbours cannot be kept in %s: %s", self._addresses_file, error_words(error))
