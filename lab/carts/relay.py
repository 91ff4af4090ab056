"""An in-memory relay: which carts are there, who meets whom, and what is lost or late on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from cart_common.wire.messages import Code, ModelParameters
from child_cart.network.handshake import Standing
from child_cart.transfers.assembly import TransferError, check_offer, chunk_count
from child_cart.transfers.bridge_requests import NotEnoughPeers
from child_cart.transfers.incoming import Received
from child_cart.transfers.limits import ExchangeLimits
from child_cart.transfers.outgoing import Offerable
from child_cart.transfers.peer_discovery import FoundCluster, Peer
from parent_cart.bridge.peer_picker import PeerPicker

from ..conditions.topology import Topology
from .memory import MemoryFiles

PICKING: Final = 701
FETCHING: Final = 702
CHUNK_BYTES: Final = 256 * 1024

Give = Callable[[], Awaitable[Offerable | None]]


class Wants(Protocol):
    """What a cart takes from others."""

    @property
    def wanted(self) -> tuple[str, str]:
        """The model signature and the codec that a model must have."""

    @property
    def limits(self) -> ExchangeLimits:
        """The limits of transfers."""


class MemoryRelay:
    """Passes models between the carts of one run.

    Args:
        topology: says who meets whom, or leaves it to the relay.
        files: where payloads lie.
        seed: of this run.
        loss: fraction of the models that are asked for and never come.
        delay_s: mean time of a message on the way, exponentially distributed.
    """

    def __init__(self, topology: Topology, files: MemoryFiles, seed: int, loss: float, delay_s: float) -> None:
        self._topology = topology
        self._files = files
        self._seed = seed
        self._loss = loss
        self._delay_s = delay_s
        self._gives: dict[str, Give] = {}
        self._ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._present: Collection[int] = ()
        self._picker = PeerPicker(lambda low, high: low)
        self._offers: dict[tuple[str, int], ModelParameters] = {}
        self.round_number = 0

    def attach(self, cart_id: str, give: Give) -> None:
        """Add a cart, and how it gives its model."""
        self._numbers[cart_id] = len(self._ids)
        self._ids.append(cart_id)
        self._gives[cart_id] = give

    def begin_round(self, round_number: int, present: Collection[int]) -> None:
        """Let these carts be there for a round; forget the payloads of the one before."""
        self.round_number, self._present = round_number, frozenset(present)
        self._files.remove_payloads()
        self._offers.clear()
        random = np.random.default_rng([self._seed, PICKING, round_number])
        self._picker = PeerPicker(lambda low, high: int(random.integers(low, high)))
        for number in sorted(self._present):
            self._picker.add(self._ids[number])

    def peers_of(self, cart_id: str, size: int) -> list[str]:
        """Return the carts that a cart meets now."""
        meets = self._topology.peers(self._numbers[cart_id], self.round_number)
        if meets is None:
            return self._picker.pick(size, cart_id)
        return [self._ids[number] for number in meets if number in self._present]

    async def fetch(self, receiver: str, giver: str, wants: Wants) -> Received:
        """Bring the model of one cart to another; raises ``TransferError`` if it does not come."""
        random = np.random.default_rng(
            [self._seed, FETCHING, self.round_number, self._numbers[receiver], self._numbers[giver]]
        )
        await asyncio.sleep(random.exponential(self._delay_s) if self._delay_s else 0)
        given = await self._gives[giver]()
        if given is None:
            raise TransferError(Code.NO_MODEL, "The peer has no trained model yet.")
        await asyncio.sleep(random.exponential(self._delay_s) if self._delay_s else 0)
        if random.random() < self._loss:
            raise TransferError(Code.TIMED_OUT, "The model was lost on the way.")
        offer = self._offer(giver, given)
        check_offer(offer, *wants.wanted, wants.limits.max_model_bytes, CHUNK_BYTES)
        path = Path("payloads") / str(self.round_number) / f"{giver}-{receiver}"
        self._files.put_payload(path, given.payload, given.digest)
        return Received(path, offer)

    def _offer(self, giver: str, given: Offerable) -> ModelParameters:
        key = (giver, given.model_version)
        if key not in self._offers:
            size = len(given.payload)
            self._offers[key] = ModelParameters(
                transfer="",
                source=giver,
                destination="",
                total_bytes=size,
                chunk_bytes=CHUNK_BYTES,
                chunks=chunk_count(size, CHUNK_BYTES),
                digest=given.digest,
                codec=given.codec,
                model_signature=given.model_signature,
                model_version=given.model_version,
                samples=given.samples,
                accuracy=given.accuracy,
                cipher="",
                key="",
                public_key="",
                signature="",
            )
        return self._offers[key]


class RelayPeers:
    """The ``Peers`` of one cart.

    Args:
        relay: passes the models.
        cart_id: this cart's.
        wants: says what it takes.
    """

    def __init__(self, relay: MemoryRelay, cart_id: str, wants: Wants) -> None:
        self._relay = relay
        self._cart_id = cart_id
        self._wants = wants

    async def find_cluster(self, size: int, minimum: int) -> FoundCluster:
        """Return the carts to meet in this round."""
        found = self._relay.peers_of(self._cart_id, size)
        if len(found) < minimum:
            sentence = f"{len(found)} other carts of this model were found; at least {minimum} must be."
            raise NotEnoughPeers(sentence, len(found))
        cluster_id = str(self._relay.round_number)
        return FoundCluster(cluster_id, tuple(Peer(cart_id, cluster_id) for cart_id in found))

    async def fetch(self, peer: Peer) -> Received:
        """Get the model of a peer."""
        return await self._relay.fetch(self._cart_id, peer.cart_id, self._wants)

    async def close(self) -> None:
        """Do nothing: nothing was opened."""


class NoAnnouncements:
    """Takes what a cart tells its bridge, and drops it: the relay knows who is there."""

    def announce(self, standing: Standing) -> None:
        """Do nothing."""
