"""Real DHT nodes on the loopback, in the test's own event loop, with short intervals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from cart_common.process.tasks import background
from cart_common.wire.fleet_key import OPEN, bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Role
from cart_common.wire.records import BridgeRecord, CartRecord, make_bridge_record, make_cart_record
from parent_cart.directory.datagrams import Address, DatagramError, Envelope, Fault, Form
from parent_cart.directory.dht import DhtDirectory, Pace
from parent_cart.directory.directory import BridgeLoad
from parent_cart.directory.rpc_socket import RequestRates

SIGNATURE = "ab" * 16
SOON = Pace(wait_s=0.5, poll_s=0.3, join_first_s=0.05, join_cap_s=0.4, batch_s=0.01, own_record_s=0.2, save_s=0.1)
GENEROUS = RequestRates(1e6, 1e6)


class Peer(DhtDirectory):
    """A directory with shortcuts for tests."""

    def __init__(
        self,
        bootstrap: list[Address] | None = None,
        *,
        token: bytes | None = None,
        identity: Identity | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        addresses_file: Path | None = None,
        pace: Pace = SOON,
        rates: RequestRates = GENEROUS,
        takes_old: bool = False,
    ) -> None:
        self.identity = identity or Identity.generate()
        super().__init__(self.identity, token, (host, port), bootstrap or [], addresses_file, pace, rates, takes_old)
        self.load = BridgeLoad(3, 10, {SIGNATURE: 2})

    @property
    def id(self) -> str:
        return self.identity.cart_id.hex()

    @property
    def address(self) -> Address:
        return Address("127.0.0.1", self.node.rpc_socket.port)

    @property
    def url(self) -> str:
        return f"ws://bridge-{self.id[:8]}:9000"

    def knows(self, *others: Peer) -> bool:
        return {other.id for other in others} <= {record.bridge_id for record in self.neighbours()}

    async def begin(self) -> None:
        await self.start(self.url, lambda: self.load)


class OldEnvelope(Envelope):
    """The envelope of version 0.1: it knows no other form."""

    def close(self, datagram: bytes, recipient: bytes | None, old: bool = False) -> bytes:
        return super().close(datagram, recipient, old=True)

    def open(self, received: bytes) -> tuple[Form, bytes]:
        form, datagram = super().open(received)
        if form is not Form.OLD:
            raise DatagramError(Fault.FOREIGN)
        return form, datagram


class OldPeer(Peer):
    """A bridge that speaks the datagrams of version 0.1 alone."""

    def __init__(self, bootstrap: list[Address] | None = None, *, token: bytes, **other: Any) -> None:
        super().__init__(bootstrap, token=token, **other)
        self.node.rpc_socket._envelope = OldEnvelope(token, self.node.id, takes_old=True)


@asynccontextmanager
async def working(*peers: Peer) -> AsyncIterator[None]:
    """Run directories until the block ends; those that have not been stopped say goodbye then."""
    for peer in peers:
        await peer.begin()

    async def run_all() -> None:
        async with asyncio.TaskGroup() as group:
            for peer in peers:
                group.create_task(peer.run())

    try:
        async with background(run_all()):
            yield
    finally:
        for peer in peers:
            await peer.stop()


async def kill(peer: Peer) -> None:
    """End a peer as SIGKILL does: it says nothing."""
    await peer.node.close()


def cart_record(cart: Identity, *, token: bytes | None = None, **changed: Any) -> CartRecord:
    values: dict[str, Any] = {
        "bridge_id": "cd" * 16,
        "bridge_url": "ws://bridge:9000",
        "role": Role.SHELL,
        "model_signature": SIGNATURE,
        "sequence": 1,
        "now_s": time.time(),
    }
    return make_cart_record(cart, token or bridge_token(OPEN), **values | changed)


def bridge_record(bridge: Identity, *, token: bytes | None = None, **changed: Any) -> BridgeRecord:
    values: dict[str, Any] = {
        "url": "ws://bridge:9000",
        "carts": 0,
        "max_carts": 10,
        "shells": {},
        "sequence": 1,
        "now_s": time.time(),
    }
    return make_bridge_record(bridge, token or bridge_token(OPEN), **values | changed)
