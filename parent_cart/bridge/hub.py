"""Who is attached, who is in which cluster, and who may send what to whom.

Decides everything and does no I/O: no socket, no clock, no task. Each call returns the control messages to deliver, or
raises a ``Violation`` that says why the cart must go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from child_cart.network.chunk import HEADER_BYTES, SEAL_BYTES, ChunkHeader
from child_cart.network.messages import (
    Cancel,
    Cluster,
    Code,
    Credit,
    Done,
    ErrorMessage,
    Message,
    ModelParameters,
    ModelRequest,
    PeerList,
    PeerType,
    Role,
)

from .deck import Deck

MIN_CHUNK_BYTES: Final = 1024


class Violation(Exception):
    """A cart has broken the protocol and is to be detached."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True)
class Limits:
    """What one cart, and all of them together, may take of the bridge."""

    max_carts: int = 10_000
    max_transfers_per_cart: int = 64
    max_chunk_bytes: int = 64 * 1024
    max_window_bytes: int = 1024 * 1024
    transfer_idle_s: float = 60.0
    requests_per_s: float = 20.0
    requests_at_once: int = 128


@dataclass(frozen=True)
class Delivery:
    """A control message and the cart that it is for."""

    cart_id: str
    message: Message


@dataclass(slots=True)
class Cart:
    """An attached cart."""

    cart_id: str
    role: Role
    model_signature: str
    model_version: int
    attached_at: float
    cluster: str = ""
    cluster_peers: frozenset[str] = frozenset()
    transfers: set[str] = field(default_factory=set)
    requests_left: float = 0.0
    requests_left_at: float = 0.0
    received_bytes: int = 0
    """Payload that the bridge took from this cart."""
    delivered_bytes: int = 0
    """Payload that the bridge passed on to this cart."""


class TransferState(StrEnum):
    """The life of a transfer as the bridge sees it; it is forgotten when it ends."""

    REQUESTED = "REQUESTED"
    OFFERED = "OFFERED"
    OPEN = "OPEN"


TRANSITIONS: Final = {
    TransferState.REQUESTED: {TransferState.OFFERED},
    TransferState.OFFERED: {TransferState.OPEN},
    TransferState.OPEN: {TransferState.OPEN},
}


@dataclass(slots=True)
class Transfer:
    """A model on its way from ``sender`` to ``receiver``."""

    transfer_id: str
    sender: str
    receiver: str
    touched_at: float
    state: TransferState = TransferState.REQUESTED
    granted_bytes: int = 0
    passed_bytes: int = 0
    total_bytes: int = 0
    chunk_bytes: int = 0

    def move_to(self, state: TransferState, by: str) -> None:
        """Change the state.

        Raises:
            Violation: if the message that asks for it does not fit the present one.
        """
        if state not in TRANSITIONS[self.state]:
            raise Violation(
                Code.UNEXPECTED_MESSAGE, f"{by} came for transfer {self.transfer_id} while it is {self.state}."
            )
        self.state = state


class Hub:
    """The bridge's memory of its carts.

    Args:
        limits: what a cart may take.
        clock: seconds that only grow.
        new_id: gives a new 16-byte id in hexadecimal.
        randrange: ``random.Random.randrange``, for picking peers.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float],
        new_id: Callable[[], str],
        randrange: Callable[[int, int], int],
    ) -> None:
        self.limits = limits
        self.carts: dict[str, Cart] = {}
        self.transfers: dict[str, Transfer] = {}
        self.counters: Counter[str] = Counter()
        self.relayed_bytes = 0
        self._clock = clock
        self._new_id = new_id
        self._randrange = randrange
        self._decks: dict[tuple[str, Role], Deck] = {}

    # A cart comes, changes and goes.

    def attach(self, cart_id: str, role: Role, model_signature: str, model_version: int) -> None:
        """Register a cart whose key has been proved, and which is not attached now.

        Raises:
            Violation: if the bridge is full.
        """
        if len(self.carts) >= self.limits.max_carts:
            raise Violation(Code.BRIDGE_FULL, f"This bridge has its {self.limits.max_carts} carts; try another one.")
        now = self._clock()
        cart = Cart(cart_id, role, model_signature, model_version, now)
        cart.requests_left, cart.requests_left_at = float(self.limits.requests_at_once), now
        self.carts[cart_id] = cart
        self._lay_in_deck(cart)
        self.counters["attached"] += 1

    def leave(self, cart_id: str) -> list[Delivery]:
        """Deregister a cart and end its transfers; a cart that is not attached changes nothing."""
        cart = self.carts.pop(cart_id, None)
        if cart is None:
            return []
        self._take_from_deck(cart)
        told: list[Delivery] = []
        for transfer_id in sorted(cart.transfers):
            transfer = self.transfers[transfer_id]
            other = transfer.receiver if transfer.sender == cart_id else transfer.sender
            told += self._end(transfer, Code.PEER_LEFT, "The other cart has left the bridge.", (other,))
        return told

    def expire(self) -> list[Delivery]:
        """End the transfers in which nothing has happened for too long."""
        oldest = self._clock() - self.limits.transfer_idle_s
        told: list[Delivery] = []
        for transfer in [entry for entry in self.transfers.values() if entry.touched_at < oldest]:
            sentence = f"Nothing came for {self.limits.transfer_idle_s:g} s."
            told += self._end(transfer, Code.TIMED_OUT, sentence, (transfer.sender, transfer.receiver))
        return told

    # What an attached cart sends.

    def receive(self, cart_id: str, message: Message) -> list[Delivery]:
        """Take one control message of an attached cart and return what is to be delivered.

        Raises:
            Violation: if the message is not allowed; the cart is to be detached.
        """
        cart = self.carts[cart_id]
        match message:
            case PeerType():
                return self._change(cart, message)
            case Cluster():
                return self._pick_cluster(cart, message)
            case ModelRequest():
                return self._request(cart, message)
            case ModelParameters():
                return self._offer(cart, message)
            case Credit():
                return self._credit(cart, message)
            case Cancel() | Done():
                return self._finish(cart, message)
        raise Violation(Code.UNEXPECTED_MESSAGE, f"A cart does not send {message.KIND} here.")

    def route(self, cart_id: str, header: ChunkHeader, frame_bytes: int) -> str | None:
        """Return the cart that a chunk is for, or None if its transfer is over and the chunk is to be dropped.

        Raises:
            Violation: for a foreign source, a chunk of another size than offered, or one beyond the receiver's credit.
        """
        if header.source.hex() != cart_id:
            raise Violation(Code.WRONG_SOURCE, f"A chunk names {header.source.hex()} as its source.")
        transfer = self.transfers.get(header.transfer.hex())
        if transfer is None:
            # Normal after a cancel: chunks were still under way.
            self.counters["chunks_dropped"] += 1
            return None
        if transfer.sender != cart_id or transfer.receiver != header.destination.hex():
            raise Violation(Code.WRONG_SOURCE, f"Transfer {transfer.transfer_id} is not between these two carts.")
        payload_bytes = frame_bytes - HEADER_BYTES - SEAL_BYTES
        due_bytes = min(transfer.chunk_bytes, transfer.total_bytes - transfer.passed_bytes)
        if payload_bytes != due_bytes:
            # Also keeps a sender from filling a window with millions of tiny frames.
            raise Violation(Code.BAD_CHUNK, f"A chunk has {payload_bytes} bytes; its offer says {due_bytes}.")
        if transfer.passed_bytes + payload_bytes > transfer.granted_bytes:
            raise Violation(
                Code.OVERRUN,
                f"A chunk ends at byte {transfer.passed_bytes + payload_bytes} of transfer {transfer.transfer_id}; "
                f"credit reaches {transfer.granted_bytes}.",
            )
        transfer.passed_bytes += payload_bytes
        transfer.touched_at = self._clock()
        self.relayed_bytes += payload_bytes
        self.carts[cart_id].received_bytes += payload_bytes
        self.carts[transfer.receiver].delivered_bytes += payload_bytes
        return transfer.receiver

    # Roles and clusters.

    def _change(self, cart: Cart, message: PeerType) -> list[Delivery]:
        # Laid anew only where it must be: a new version is no reason for a new turn in the dealing.
        moves = cart.role is not message.role or (cart.model_version > 0) != (message.model_version > 0)
        if moves:
            self._take_from_deck(cart)
        cart.role, cart.model_version = message.role, message.model_version
        if moves:
            self._lay_in_deck(cart)
        if message.role is Role.SHELL:
            cart.cluster, cart.cluster_peers = "", frozenset()
        return []

    def _pick_cluster(self, cart: Cart, message: Cluster) -> list[Delivery]:
        if cart.role is not Role.KERNEL:
            raise Violation(Code.UNEXPECTED_MESSAGE, "Only a KERNEL asks for a cluster; send PEERTYPE first.")
        cart.cluster, cart.cluster_peers = "", frozenset()
        if message.minimum > message.size:
            raise Violation(Code.BAD_MESSAGE, f"CLUSTER asks for {message.size} peers, at least {message.minimum}.")
        shells = self._deck(cart.model_signature, Role.SHELL)
        kernels = self._deck(cart.model_signature, Role.KERNEL)
        available = sum(len(deck) - (cart.cart_id in deck) for deck in (shells, kernels))
        if available < message.minimum:
            self.counters["not_enough_peers"] += 1
            sentence = f"{available} other carts of this model are here; {message.minimum} are needed."
            refusal = ErrorMessage(Code.NOT_ENOUGH_PEERS, sentence, message.request, available)
            return [Delivery(cart.cart_id, refusal)]
        # Other KERNELs fill up what SHELLs are too few for: they answer requests too, and if all carts of a small
        # fleet collect at the same moment, none of them must wait for another to stop.
        peers = shells.deal(message.size, without=cart.cart_id)
        peers += kernels.deal(message.size - len(peers), without=cart.cart_id)
        cart.cluster, cart.cluster_peers = self._new_id(), frozenset(peers)
        self.counters["clusters"] += 1
        return [Delivery(cart.cart_id, PeerList(message.request, cart.cluster, tuple(peers)))]

    def _deck(self, model_signature: str, role: Role) -> Deck:
        return self._decks.get((model_signature, role)) or Deck(self._randrange)

    def _lay_in_deck(self, cart: Cart) -> None:
        if cart.model_version > 0:  # a cart without a trained model has nothing to give
            key = (cart.model_signature, cart.role)
            self._decks.setdefault(key, Deck(self._randrange)).add(cart.cart_id)

    def _take_from_deck(self, cart: Cart) -> None:
        key = (cart.model_signature, cart.role)
        deck = self._decks.get(key)
        if deck is not None:
            deck.discard(cart.cart_id)
            if not len(deck):
                # Model signatures come from outside: an empty deck kept would be memory that never returns.
                del self._decks[key]

    # Transfers.

    def _request(self, cart: Cart, message: ModelRequest) -> list[Delivery]:
        if message.source != cart.cart_id:
            raise Violation(Code.WRONG_SOURCE, f"A MODELREQUEST names {message.source} as its source.")
        if message.cluster != cart.cluster or message.destination not in cart.cluster_peers:
            raise Violation(Code.NOT_IN_CLUSTER, f"{message.destination} is not in this cart's cluster.")
        if message.transfer in self.transfers:
            raise Violation(Code.UNEXPECTED_MESSAGE, f"Transfer id {message.transfer} is taken.")
        if not self._may_request(cart):
            return self._refuse(cart, message, Code.TOO_MANY_TRANSFERS, "This cart asks for models too often.")
        peer = self.carts.get(message.destination)
        most = self.limits.max_transfers_per_cart
        if peer is None:
            return self._refuse(cart, message, Code.PEER_LEFT, "The other cart has left the bridge.")
        if len(cart.transfers) >= most or len(peer.transfers) >= most:
            return self._refuse(cart, message, Code.TOO_MANY_TRANSFERS, f"One of the carts has {most} open transfers.")
        transfer = Transfer(message.transfer, peer.cart_id, cart.cart_id, self._clock())
        self.transfers[transfer.transfer_id] = transfer
        cart.transfers.add(transfer.transfer_id)
        peer.transfers.add(transfer.transfer_id)
        return [Delivery(peer.cart_id, message)]

    def _may_request(self, cart: Cart) -> bool:
        """Take one of the requests that a cart has left (a token bucket): a flood must not reach the peers."""
        now, limits = self._clock(), self.limits
        refilled = cart.requests_left + (now - cart.requests_left_at) * limits.requests_per_s
        cart.requests_left, cart.requests_left_at = min(refilled, float(limits.requests_at_once)), now
        if cart.requests_left < 1:
            return False
        cart.requests_left -= 1
        return True

    def _refuse(self, cart: Cart, message: ModelRequest, code: Code, sentence: str) -> list[Delivery]:
        self.counters["requests_refused"] += 1
        return [Delivery(cart.cart_id, Cancel(message.transfer, code, sentence))]

    def _offer(self, cart: Cart, message: ModelParameters) -> list[Delivery]:
        transfer = self._open_transfer(cart, message.transfer)
        if transfer is None:
            return []
        if (message.source, message.destination) != (transfer.sender, transfer.receiver) or (
            message.source != cart.cart_id
        ):
            raise Violation(Code.WRONG_SOURCE, f"Transfer {transfer.transfer_id} is not between these two carts.")
        if not MIN_CHUNK_BYTES <= message.chunk_bytes <= self.limits.max_chunk_bytes:
            raise Violation(
                Code.BAD_OFFER,
                f"An offer has chunks of {message.chunk_bytes} bytes; "
                f"this bridge takes {MIN_CHUNK_BYTES} to {self.limits.max_chunk_bytes}.",
            )
        transfer.move_to(TransferState.OFFERED, message.KIND)
        transfer.total_bytes, transfer.chunk_bytes = message.total_bytes, message.chunk_bytes
        return [Delivery(transfer.receiver, message)]

    def _credit(self, cart: Cart, message: Credit) -> list[Delivery]:
        transfer = self._open_transfer(cart, message.transfer)
        if transfer is None:
            return []
        if cart.cart_id != transfer.receiver:
            raise Violation(Code.WRONG_SOURCE, f"Only the receiver of transfer {transfer.transfer_id} grants credit.")
        transfer.move_to(TransferState.OPEN, message.KIND)
        ahead = message.up_to_bytes - transfer.passed_bytes
        if ahead > self.limits.max_window_bytes:
            raise Violation(
                Code.OVERRUN,
                f"Credit for {ahead} bytes ahead was granted; this bridge allows {self.limits.max_window_bytes}.",
            )
        # What lets no further chunk pass is not passed on: a receiver must not flood a sender with crumbs.
        next_end = min(
            transfer.granted_bytes // transfer.chunk_bytes * transfer.chunk_bytes + transfer.chunk_bytes,
            transfer.total_bytes,
        )
        if message.up_to_bytes < next_end or message.up_to_bytes <= transfer.granted_bytes:
            return []
        transfer.granted_bytes = message.up_to_bytes
        return [Delivery(transfer.sender, message)]

    def _finish(self, cart: Cart, message: Cancel | Done) -> list[Delivery]:
        transfer = self._open_transfer(cart, message.transfer)
        if transfer is None:
            return []
        if isinstance(message, Done) and cart.cart_id != transfer.receiver:
            raise Violation(Code.WRONG_SOURCE, f"Only the receiver of transfer {transfer.transfer_id} says DONE.")
        other = transfer.sender if cart.cart_id == transfer.receiver else transfer.receiver
        self.counters["transfers_done" if isinstance(message, Done) else "transfers_cancelled"] += 1
        self._forget(transfer)
        return [Delivery(other, message)]

    def _open_transfer(self, cart: Cart, transfer_id: str) -> Transfer | None:
        """Return the transfer that a message is about, or None if it is over (the message crossed its end)."""
        transfer = self.transfers.get(transfer_id)
        if transfer is None:
            self.counters["messages_too_late"] += 1
            return None
        if cart.cart_id not in (transfer.sender, transfer.receiver):
            raise Violation(Code.WRONG_SOURCE, f"Transfer {transfer_id} is between other carts.")
        transfer.touched_at = self._clock()
        return transfer

    def _end(self, transfer: Transfer, code: Code, sentence: str, to: tuple[str, ...]) -> list[Delivery]:
        self.counters["transfers_cancelled"] += 1
        self._forget(transfer)
        cancel = Cancel(transfer.transfer_id, code, sentence)
        return [Delivery(cart_id, cancel) for cart_id in to if cart_id in self.carts]

    def _forget(self, transfer: Transfer) -> None:
        del self.transfers[transfer.transfer_id]
        for cart_id in (transfer.sender, transfer.receiver):
            cart = self.carts.get(cart_id)
            if cart is not None:
                cart.transfers.discard(transfer.transfer_id)
