"""Which carts are attached, which cluster each is in, and what it may send to whom.

Decides everything and does no I/O: no socket, no clock, no task. Each call returns the control messages to deliver, or
raises a ``Violation`` that says why the cart must be detached.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cart_common.process.token_bucket import TokenBucket
from cart_common.wire.chunk import HEADER_BYTES, SEAL_BYTES, ChunkHeader
from cart_common.wire.messages import (
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
    Resume,
    Role,
    SealedOffer,
)

from .accounts import AccountBuckets, Accounts
from .cart_clocks import CartClocks
from .model_shapes import ModelShapes
from .peer_choice import PeerChoice
from .rules import Delivery, Limits, Violation
from .transfers import Transfers

MESSAGES_FOR_A_CHUNK: Final = 4  # that each of its two carts earns
MESSAGES_SPARED: Final = 16  # that an account has at once, however many all accounts together have taken
PEERS_FOR_A_REQUEST: Final = 16  # peers in an answer that cost as much as one request: a larger cluster costs several


@dataclass(slots=True)
class AttachedCart:
    """An attached cart."""

    cart_id: str
    role: Role
    model_signature: str
    model_version: int
    attached_at: float
    task: str = ""
    """A digest of the name of what it learns; empty if it does not say."""
    cluster: str = ""
    cluster_peers: frozenset[str] = frozenset()
    received_bytes: int = 0
    """Payload bytes that came from this cart."""
    delivered_bytes: int = 0
    """Payload bytes that were passed on to this cart."""


class Hub:
    """The attached carts, their clusters and transfers.

    Args:
        limits: of one cart, and of all together.
        clock: seconds that only grow.
        wall_clock: seconds since the epoch, to compare with the carts' clocks.
        new_id: gives a new 16-byte id in hexadecimal.
        randrange: ``random.Random.randrange``, for picking peers.
        elsewhere: takes a model signature and how many carts are missing; returns records of bridges that have some.
    """

    def __init__(
        self,
        limits: Limits,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        new_id: Callable[[], str],
        randrange: Callable[[int, int], int],
        elsewhere: Callable[[str, int], tuple[str, ...]] = lambda signature, wanted: (),
    ) -> None:
        self.limits = limits
        self.is_closing = False
        """Whether the bridge is about to stop: no new cluster begins."""
        self.carts: dict[str, AttachedCart] = {}
        self.counters: Counter[str] = Counter()
        self.clocks = CartClocks(clock, wall_clock)
        self.accounts = Accounts()
        self.transfers = Transfers(limits, clock, self.accounts, self.counters)
        self.relayed_bytes = 0
        self._clock = clock
        self._new_id = new_id
        self._peer_choice = PeerChoice(randrange)
        self._elsewhere = elsewhere
        self._shapes = ModelShapes()
        # A flood of requests must not reach the peers.
        self._requests: AccountBuckets[TokenBucket] = AccountBuckets(
            lambda now: TokenBucket(limits.requests_per_s, limits.requests_at_once, now), 2 * limits.max_carts
        )
        self._messages: AccountBuckets[TokenBucket] = AccountBuckets(
            lambda now: TokenBucket(limits.messages_per_s, limits.messages_at_once, now), 2 * limits.max_carts
        )
        of_all_per_s = limits.messages_of_all_per_s
        self._messages_of_all = TokenBucket(of_all_per_s, of_all_per_s, clock())

    # A cart comes, changes and goes.

    def attach(
        self, cart_id: str, role: Role, model_signature: str, model_version: int, task: str = ""
    ) -> list[Delivery]:
        """Register a cart whose key has been proved, and which is not attached now.

        Return the first messages for it: the transfers that wait for it.

        Raises:
            Violation: if the bridge is full.
        """
        if len(self.carts) >= self.limits.max_carts:
            raise Violation(Code.BRIDGE_FULL, f"This bridge has its {self.limits.max_carts} carts; try another one.")
        self.accounts.enter(cart_id)
        cart = AttachedCart(cart_id, role, model_signature, model_version, self._clock(), task)
        self.carts[cart_id] = cart
        self._shapes.add(task, model_signature)
        self._peer_choice.put(cart_id, model_signature, role, model_version)
        self.counters["attached"] += 1
        return self.transfers.remind(cart_id)

    def leave(self, cart_id: str) -> list[Delivery]:
        """Deregister a cart that leaves for good, and end its transfers; one that is not attached changes nothing."""
        if not self._deregister(cart_id):
            return []
        return self.transfers.leave(cart_id) + self.transfers.note_gone(cart_id)

    def lose(self, cart_id: str) -> list[Delivery]:
        """Deregister a cart whose link is lost; its transfers wait for it to come back."""
        if not self._deregister(cart_id):
            return []
        return self.transfers.pause(cart_id) + self.transfers.note_gone(cart_id)

    def _deregister(self, cart_id: str) -> bool:
        cart = self.carts.pop(cart_id, None)
        if cart is not None:
            self._peer_choice.discard(cart_id)
            self._shapes.remove(cart.task, cart.model_signature)
            self.accounts.leave(cart_id)
        return cart is not None

    def may_ask(self, cart_id: str) -> bool:
        """Take one of the requests that a cart has left; tell whether there was one."""
        return self._may_request(self.carts[cart_id])

    def take_messages(self, cart_id: str, count: int) -> float:
        """Take messages that have come out of those that a cart's account has left; return seconds to read no more.

        What is passed on to a cart earns it messages, so those that serve a transfer cost nothing in the end. Messages
        that serve none, however many carts send them without pause, are read at a rate that leaves the bridge its time:
        while all accounts together send more than the bridge reads, each has only a few at once.
        """
        now = self._clock()
        left, left_of_all = self._messages_of(cart_id).take(count, now), self._messages_of_all.take(count, now)
        few_left = left - (self.limits.messages_at_once - MESSAGES_SPARED)
        wait_for_all_s = min(-left_of_all / self.limits.messages_of_all_per_s, -few_left / self.limits.messages_per_s)
        return max(0.0, -left / self.limits.messages_per_s, wait_for_all_s)

    def _messages_of(self, cart_id: str) -> TokenBucket:
        return self._messages.of(self.accounts[cart_id], self._clock())

    def expire(self) -> list[Delivery]:
        """End the transfers that were idle for too long, and give their room to others."""
        return self.transfers.expire()

    # What an attached cart sends.

    def receive(self, cart_id: str, message: Message) -> list[Delivery]:
        """Take one control message of an attached cart and return the messages to deliver.

        Raises:
            Violation: if the message is not allowed; the caller detaches the cart.
        """
        told = self._receive(self.carts[cart_id], message)
        for delivery in told:
            if delivery.cart_id != cart_id:
                self._messages_of(delivery.cart_id).give_back(1)
        return told

    def _receive(self, cart: AttachedCart, message: Message) -> list[Delivery]:
        cart_id = cart.cart_id
        match message:
            case PeerType():
                return self._change(cart, message)
            case Cluster():
                return self._pick_cluster(cart, message)
            case ModelRequest():
                return self._request(cart, message)
            case SealedOffer() | ModelParameters():
                return self.transfers.offer(cart_id, message)
            case Credit():
                return self.transfers.credit(cart_id, message)
            case Resume():
                return self.transfers.resume(cart_id, message, lambda: self._may_request(cart))
            case Cancel() | Done():
                return self.transfers.finish(cart_id, message)
        raise Violation(Code.UNEXPECTED_MESSAGE, f"A cart does not send {message.KIND} here.")

    def route(self, cart_id: str, header: ChunkHeader, frame_bytes: int) -> str | None:
        """Return the cart that a chunk is for, or None to drop the chunk.

        Raises:
            Violation: as ``Transfers.route`` says.
        """
        payload_bytes = frame_bytes - HEADER_BYTES - SEAL_BYTES
        transfer = self.transfers.route(cart_id, header, payload_bytes)
        if transfer is None:
            return None
        self.relayed_bytes += payload_bytes
        for end in (cart_id, transfer.receiver):
            self._messages_of(end).give_back(MESSAGES_FOR_A_CHUNK)
        self.carts[cart_id].received_bytes += payload_bytes
        self.carts[transfer.receiver].delivered_bytes += payload_bytes
        return transfer.receiver

    def note_waiting(self, cart_id: str, waiting_bytes: int) -> list[Delivery]:
        """Take note of how many bytes of chunks wait for a cart now."""
        return self.transfers.note_waiting(cart_id, waiting_bytes)

    # Roles and clusters.

    def _change(self, cart: AttachedCart, message: PeerType) -> list[Delivery]:
        cart.role, cart.model_version = message.role, message.model_version
        self._peer_choice.put(cart.cart_id, cart.model_signature, cart.role, cart.model_version)
        if message.role is Role.SHELL:
            cart.cluster, cart.cluster_peers = "", frozenset()
        return []

    def _pick_cluster(self, cart: AttachedCart, message: Cluster) -> list[Delivery]:
        if cart.role is not Role.KERNEL:
            raise Violation(Code.UNEXPECTED_MESSAGE, "Only a KERNEL asks for a cluster; send PEERTYPE first.")
        cart.cluster, cart.cluster_peers = "", frozenset()
        if message.minimum > message.size:
            raise Violation(Code.BAD_MESSAGE, f"CLUSTER asks for {message.size} peers, at least {message.minimum}.")
        if not self._may_request(cart, math.ceil(message.size / PEERS_FOR_A_REQUEST)):
            sentence = "This cart asks for clusters and models too often."
            return [Delivery(cart.cart_id, ErrorMessage(Code.TOO_MANY_TRANSFERS, sentence, message.request))]
        if self.is_closing:
            stopping = ErrorMessage(Code.BRIDGE_STOPPING, "This bridge is stopping; ask another one.", message.request)
            return [Delivery(cart.cart_id, stopping)]
        available = self._peer_choice.available(cart.model_signature, without=cart.cart_id)
        missing = message.size - available
        others = self._shapes.others(cart.task, cart.model_signature)
        elsewhere = self._elsewhere(cart.model_signature, missing) if missing > 0 else ()
        if available < message.minimum and not elsewhere:
            self.counters["not_enough_peers"] += 1
            sentence = f"{available} other carts of this model are here; at least {message.minimum} must be."
            if self._peer_choice.has_other_models(cart.model_signature):
                sentence += " Carts with a model of other shapes, or of another task, are here: compare the versions."
            refusal = ErrorMessage(Code.NOT_ENOUGH_PEERS, sentence, message.request, available, others)
            return [Delivery(cart.cart_id, refusal)]
        peers = self._peer_choice.pick(cart.model_signature, message.size, without=cart.cart_id)
        cart.cluster, cart.cluster_peers = self._new_id(), frozenset(peers)
        self.counters["clusters"] += 1
        return [Delivery(cart.cart_id, PeerList(message.request, cart.cluster, tuple(peers), elsewhere, others))]

    # Transfers.

    def _request(self, cart: AttachedCart, message: ModelRequest) -> list[Delivery]:
        if message.source != cart.cart_id:
            raise Violation(Code.WRONG_SOURCE, f"A MODELREQUEST names {message.source} as its source.")
        if message.cluster != cart.cluster:
            raise Violation(Code.NOT_IN_CLUSTER, f"{message.cluster} is not this cart's present cluster.")
        if message.destination not in cart.cluster_peers:
            raise Violation(Code.NOT_IN_CLUSTER, f"{message.destination} is not in this cart's cluster.")
        if not self._may_request(cart):
            sentence = "This cart asks for models too often."
            return self.transfers.refuse(cart.cart_id, message.transfer, Code.TOO_MANY_TRANSFERS, sentence)
        return self.transfers.request(message)

    def _may_request(self, cart: AttachedCart, count: int = 1) -> bool:
        """Take some of the requests that a cart's account has left; tell whether there were as many."""
        now = self._clock()
        requests = self._requests.of(self.accounts[cart.cart_id], now)
        if requests.left(now) < count:
            return False
        requests.take(count, now)
        return True
