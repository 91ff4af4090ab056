"""A cart's network side as a cart wires it: a real link, an exchange, a spool; its model is a few bytes."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from blake3 import blake3
from support.bridges.in_process import until

from cart_common.wire.fleet_key import OPEN, bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Message, Role
from child_cart.network.bridge_selection import BridgeSelection
from child_cart.network.forward_proxy import DIRECT, ForwardProxies
from child_cart.network.handshake import Standing
from child_cart.network.link import Link
from child_cart.network.link_state import LinkState
from child_cart.transfers.bridge_requests import PickedCluster
from child_cart.transfers.exchange import Exchange
from child_cart.transfers.limits import ExchangeLimits
from child_cart.transfers.outgoing import Offerable
from child_cart.transfers.peer_discovery import PeerDiscovery
from child_cart.transfers.sealing import AES
from child_cart.transfers.spool import Spool

SIGNATURE = "ab" * 16


def model_of(payload: bytes, **other: Any) -> Offerable:
    return replace(Offerable(payload, blake3(payload).hexdigest(), "raw", SIGNATURE, 1, 100, 0.75), **other)


@dataclass
class Wire:
    """The link as the exchange sees it; a test may bend, or lose, what goes out."""

    link: Link | None = None
    bend: Callable[[bytes], bytes | None] = lambda frame: frame
    pass_message: Callable[[Message], bool] = lambda message: True
    sent: list[Message] = field(default_factory=list)
    frames: list[bytes] = field(default_factory=list)

    def send(self, message: Message) -> None:
        assert self.link is not None
        self.sent.append(message)
        if self.pass_message(message):
            self.link.send(message)

    async def send_chunk(self, frame: bytearray) -> None:
        assert self.link is not None
        self.frames.append(bytes(frame))  # the link masks the frame itself
        bent = self.bend(self.frames[-1])
        if bent is not None:
            await self.link.send_chunk(bytearray(bent))


class Named(Protocol):
    """A cart with an id, of this project or not."""

    id: str


class Node:
    """One cart, and the source of what its exchange gives and takes."""

    def __init__(
        self,
        url: str,
        folder: Path,
        model: Offerable | None = None,
        fleet_key: bytes = OPEN,
        tls: ssl.SSLContext | None = None,
        heartbeat_s: float = 20.0,
        bridges: BridgeSelection | None = None,
        proxies: ForwardProxies = DIRECT,
        **limits: Any,
    ) -> None:
        self.identity = Identity.generate()
        self.id = self.identity.cart_id.hex()
        self.wanted = (SIGNATURE, ("raw",))
        self.model = model
        # Tests fetch the same version again and again; those of that limit set it.
        plain = ExchangeLimits(50_000_000, 512 * 1024, 5.0, 5.0, 20.0, 1e6, give_again_s=0.0)
        self.limits = replace(plain, **limits)
        self.folder = folder / self.id
        self.wire = Wire()
        self.bridges = bridges or BridgeSelection([url], 0.01, 0.05, time.monotonic, time.time)
        self.link = self.wire.link = Link(
            self.bridges, self.identity, fleet_key, tls, heartbeat_s, 5.0, proxies=proxies
        )
        self.standing = Standing(Role.SHELL, SIGNATURE, 1)
        self.exchange = Exchange(self.identity, fleet_key, AES, self.wire, Spool(self.folder), self)
        self.peer_discovery = PeerDiscovery(self.exchange, self.bridges, bridge_token(fleet_key), self.link.to_visit)

    async def offer(self) -> Offerable | None:
        return self.model

    @property
    def standing(self) -> Standing:
        return self.link.standing

    @standing.setter
    def standing(self, standing: Standing) -> None:
        self.link.announce(standing)

    def become(self, role: Role) -> None:
        self.standing = replace(self.standing, role=role)

    async def cluster(self, size: int = 8, minimum: int = 1) -> PickedCluster:
        self.become(Role.KERNEL)
        return await self.exchange.ask_cluster(size, minimum)

    async def fetch_from(self, peer: Named) -> bytes:
        """Fetch a peer's model and take its file out of the spool."""
        cluster = await self.cluster()
        assert peer.id in cluster.peers
        received = await self.exchange.fetch(peer.id, cluster.cluster_id)
        payload = await asyncio.to_thread(received.path.read_bytes)
        received.path.unlink()
        return payload

    @property
    def spooled(self) -> list[str]:
        return os.listdir(self.folder)


@asynccontextmanager
async def running(*nodes: Node) -> AsyncIterator[None]:
    """Run the links until the block ends; every task has ended after it."""
    tasks = [asyncio.create_task(node.link.run(node.exchange.home)) for node in nodes]
    try:
        for node in nodes:
            await until(lambda node=node: node.link.status.state is LinkState.ATTACHED)  # type: ignore[misc]
        yield
    finally:
        for node in nodes:
            await node.exchange.close()
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ended), ended
