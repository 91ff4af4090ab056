"""An in-memory relay: which carts are there, who meets whom, and what is lost or late on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from cart_common.wire.messages import Code, ModelParameters
from child_cart.network.handshake import Standing
from child_cart.transfers.active import due_within
from child_cart.transfers.assembly import TransferError, check_offer, chunk_count
from child_cart.transfers.bridge_requests import NotEnoughPeers
from child_cart.transfers.incoming import OFFER, Received
from child_cart.transfers.limits import ExchangeLimits
from child_cart.transfers.outgoing import Offerable
from child_cart.transfers.peer_discovery import FoundCluster, Peer
from parent_cart.bridge.peer_choice import PeerChoice

from ..conditions.topology import Topology
from .memory import MemoryFiles

PICKING: Final = 701
FETCHING: Final = 702
CHUNK_BYTES: Final = 256 * 1024

Give = Callable[[Collection[str]], Awaitable[Offerable | None]]
"""Gives a cart's model to one that reads these codecs."""


class Wants(Protocol):
    """What a cart takes from others."""

    @property
    def wanted(self) -> tuple[str, Collection[str]]:
        """The model signature that a model must have, and the codecs that it may have."""

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
        self._standings: dict[str, Standing] = {}
        self._present: Collection[str] = ()
        self._choice = PeerChoice(lambda low, high: low)
        self._offers: dict[tuple[str, int], ModelParameters] = {}
        self.round_number = 0

    def attach(self, cart_id: str, give: Give) -> None:
        """Add a cart, and how it gives its model."""
        self._numbers[cart_id] = len(self._ids)
        self._ids.append(cart_id)
        self._gives[cart_id] = give

    def begin_round(self, round_number: int, present: Collection[int]) -> None:
        """Let these carts be there for a round."""
        present_ids = [self._ids[number] for number in sorted(present)]
        self.round_number, self._present = round_number, frozenset(present_ids)
        random = np.random.default_rng([self._seed, PICKING, round_number])
        self._choice = PeerChoice(lambda low, high: int(random.integers(low, high)))
        for cart_id in present_ids:
            self._put(cart_id)

    def end_round(self) -> None:
        """Forget what was given in a round."""
        self._files.remove_payloads()
        self._offers.clear()

    def announce(self, cart_id: str, standing: Standing) -> None:
        """Take note of what a cart is now."""
        self._standings[cart_id] = standing
        if cart_id in self._present:
            self._put(cart_id)

    def peers_of(self, cart_id: str, size: int, minimum: int) -> list[str]:
        """Return the carts that a cart meets now; raises ``NotEnoughPeers`` below ``minimum``."""
        meets = self._topology.peers(self._numbers[cart_id], self.round_number)
        signature = self._standings[cart_id].model_signature
        # Drawn as a bridge does, by the same code, and in the order in which carts ask.
        found = [self._ids[number] for number in meets or () if self._ids[number] in self._present]
        available = self._choice.available(signature, cart_id) if meets is None else len(found)
        if available < minimum:
            sentence = f"{available} other carts of this model are here; at least {minimum} must be."
            raise NotEnoughPeers(sentence, available)
        return self._choice.pick(signature, size, cart_id) if meets is None else found

    async def fetch(self, receiver: str, giver: str, wants: Wants) -> Received:
        """Bring the model of one cart to another; raises ``TransferError`` if it does not come."""
        limits, (signature, codecs) = wants.limits, wants.wanted
        async with due_within(limits.answer_timeout_s, OFFER):
            given = await self._answer(receiver, giver, codecs)
        if given is None:
            raise TransferError(Code.NO_MODEL, "The peer has no trained model yet.")
        offer = self._offer(giver, given)
        check_offer(offer, signature, codecs, limits.max_model_bytes, CHUNK_BYTES)
        path = Path("payloads") / str(self.round_number) / f"{giver}-{receiver}"
        self._files.put_payload(path, given.payload, given.digest)
        return Received(path, offer)

    async def _answer(self, receiver: str, giver: str, codecs: Collection[str]) -> Offerable | None:
        """Return what a cart gives when another one's request has come to it and its answer has come back, if ever."""
        random = np.random.default_rng(
            [self._seed, FETCHING, self.round_number, self._numbers[receiver], self._numbers[giver]]
        )
        await asyncio.sleep(random.exponential(self._delay_s) if self._delay_s else 0)
        given = await self._gives[giver](codecs)
        await asyncio.sleep(random.exponential(self._delay_s) if self._delay_s else 0)
        if random.random() < self._loss:
            await asyncio.get_running_loop().create_future()  # nothing ever comes
        return given

    def _put(self, cart_id: str) -> None:
        standing = self._standings[cart_id]
        self._choice.put(cart_id, standing.model_signature, standing.role, standing.model_version)

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
        found = self._relay.peers_of(self._cart_id, size, minimum)
        cluster_id = str(self._relay.round_number)
        return FoundCluster(cluster_id, tuple(Peer(cart_id, cluster_id) for cart_id in found))

    async def fetch(self, peer: Peer) -> Received:
        """Get the model of a peer."""
        return await self._relay.fetch(self._cart_id, peer.cart_id, self._wants)

    async def close(self) -> None:
        """Do nothing: nothing was opened."""


class RelayLink:
    """The link of one cart, on which it tells what it is.

    Args:
        relay: is told.
        cart_id: this cart's.
    """

    def __init__(self, relay: MemoryRelay, cart_id: str) -> None:
        self._relay = relay
        self._cart_id = cart_id

    def announce(self, standing: Standing) -> None:
        """Tell the relay."""
        self._relay.announce(self._cart_id, standing)
