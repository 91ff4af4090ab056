"""Find peers at the cart's own bridge first, then at other bridges, which the cart visits for a while.

Each model crosses exactly one bridge. A visit is a second link; on it the cart offers no model, and no peer is given
this cart. It ends with the collection.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from ..network.bridge_selection import BridgeSelection
from ..network.link import Link
from ..network.record_checks import checked_bridges, checked_cart
from .assembly import TransferError
from .bridge_requests import NotEnoughPeers
from .channel import BridgeChannel
from .exchange import Exchange
from .incoming import Received

log = logging.getLogger("cart.visits")
# A hostile bridge of the fleet can make a cart open this many connections at once, each for this long.
MOST_VISITS: Final = 4
VISIT_S: Final = 5.0
LEAVE_S: Final = 1.0
# A bridge that could not be visited is not tried again for this long.
REST_S: Final = 30.0


@dataclass(frozen=True)
class Peer:
    """A cart to fetch a model from, and the channel to it; None for that of the cart's own bridge."""

    cart_id: str
    cluster_id: str
    channel: BridgeChannel | None = None


@dataclass(frozen=True)
class FoundCluster:
    """The peers of a round; ``cluster_id`` is that of the cart's own bridge."""

    cluster_id: str
    peers: tuple[Peer, ...]


@dataclass(frozen=True)
class _Visit:
    link: Link
    channel: BridgeChannel
    task: asyncio.Task[str]


class Peers(Protocol):
    """What learning needs of the way to other carts."""

    async def find_cluster(self, size: int, minimum: int) -> FoundCluster:
        """Return up to ``size`` peers; raises ``NotEnoughPeers`` below ``minimum``, and ``TransferError``."""

    async def fetch(self, peer: Peer) -> Received:
        """Get the current model of a peer; raises ``TransferError`` with the reason why it did not come."""

    async def close(self) -> None:
        """Let go of what a round has opened."""


class PeerDiscovery:
    """Finds peers for one cart, and holds its links to the bridges that it visits.

    Args:
        exchange: runs the transfers.
        bridges: decides which addresses the cart may use.
        token: the bridge token, which records must bear.
        open_link: makes a link to the bridge with this address and this id, as ``Link.to_visit`` does.
    """

    def __init__(
        self, exchange: Exchange, bridges: BridgeSelection, token: bytes, open_link: Callable[[str, str], Link]
    ) -> None:
        self._exchange = exchange
        self._bridges = bridges
        self._token = token
        self._open_link = open_link
        self._visits: dict[str, _Visit] = {}
        self._opening = asyncio.Lock()
        self._resting: dict[str, float] = {}

    async def find_cluster(self, size: int, minimum: int) -> FoundCluster:
        """Ask the cart's own bridge for peers, and other bridges for those that are missing.

        Raises:
            NotEnoughPeers: if fewer than ``minimum`` are found.
            TransferError: if the cart's own link is gone or its bridge does not answer.
        """
        home = self._exchange.home
        here = await self._exchange.ask_cluster(size, minimum)
        peers = {cart_id: Peer(cart_id, here.cluster_id, home) for cart_id in here.peers}
        for record in checked_bridges(here.elsewhere, self._token, time.time()):
            if len(peers) >= size:
                break
            channel = await self._visit(record.bridge_id, record.url)
            if channel is not None:
                for peer in await self._pick(channel, size - len(peers)):
                    peers.setdefault(peer.cart_id, peer)
        if len(peers) < minimum:
            sentence = (
                f"{len(peers)} other carts of this model were found, here and elsewhere; at least {minimum} must be."
            )
            raise NotEnoughPeers(sentence, len(peers))
        return FoundCluster(here.cluster_id, tuple(peers.values()))

    async def fetch(self, peer: Peer) -> Received:
        """Get the current model of a peer, as ``Exchange.fetch`` does; follow it when it moves to another bridge.

        Raises:
            TransferError: why the model did not come.
        """
        return await self._exchange.fetch(peer.cart_id, peer.cluster_id, peer.channel, self._seek)

    async def close(self) -> None:
        """Leave all bridges that the cart visits."""
        visits, self._visits = list(self._visits.values()), {}
        try:
            await asyncio.gather(*(visit.link.leave(LEAVE_S) for visit in visits))
        finally:
            for visit in visits:
                visit.task.cancel()
            if visits:
                await asyncio.wait([visit.task for visit in visits])

    async def _pick(self, channel: BridgeChannel, size: int) -> list[Peer]:
        try:
            there = await channel.requests.ask(size, 1, min(VISIT_S, self._exchange.answer_timeout_s))
        except (NotEnoughPeers, TransferError) as error:
            log.info("no peers at bridge %s: %s", channel.bridge_id[:8], error)
            return []
        return [Peer(cart_id, there.cluster_id, channel) for cart_id in there.peers]

    async def _seek(self, cart_id: str) -> BridgeChannel | None:
        """Return the channel to the bridge that a cart is attached to now, or None while it is unknown."""
        home = self._exchange.home
        try:
            text = await home.requests.seek(cart_id, self._exchange.answer_timeout_s)
        except TransferError:
            return None
        record = checked_cart(text, cart_id, self._token, time.time()) if text else None
        if record is None:
            return None
        return home if record.bridge_id == home.bridge_id else await self._visit(record.bridge_id, record.bridge_url)

    async def _visit(self, bridge_id: str, url: str) -> BridgeChannel | None:
        """Return the channel to another bridge, or None if it cannot be visited now."""
        async with self._opening:  # many transfers may look for the same bridge
            self._forget_ended()
            visit = self._visits.get(bridge_id)
            if visit is not None:
                return visit.channel
            rests = self._resting.get(bridge_id, 0.0) > time.monotonic()
            is_home = bridge_id == self._exchange.home.bridge_id
            if is_home or rests or len(self._visits) >= MOST_VISITS or not self._bridges.may_use(url):
                return None
            visit = await self._opened(bridge_id, url)
            if visit is None:
                self._resting[bridge_id] = time.monotonic() + REST_S
                return None
            self._visits[bridge_id] = visit
            log.info("visiting bridge %s at %s", bridge_id[:8], url)
            return visit.channel

    async def _opened(self, bridge_id: str, url: str) -> _Visit | None:
        link = self._open_link(url, bridge_id)
        channel = self._exchange.channel_over(link)
        task = asyncio.create_task(link.visit(channel), name=f"visit {url}")
        attached = asyncio.create_task(link.wait_attached())
        try:
            await asyncio.wait((task, attached), timeout=VISIT_S, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            task.cancel()
            raise
        finally:
            attached.cancel()
        if channel.is_attached:
            return _Visit(link, channel, task)
        task.cancel()
        await asyncio.wait((task,))
        log.info("bridge %s at %s cannot be visited: %s", bridge_id[:8], url, link.status.reason)
        return None

    def _forget_ended(self) -> None:
        now = time.monotonic()
        self._visits = {name: visit for name, visit in self._visits.items() if not visit.task.done()}
        self._resting = {name: until for name, until in self._resting.items() if until > now}
