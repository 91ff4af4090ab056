"""Models to and from other carts: many transfers at the same time, in both directions, over one link.

Knows which transfer a message belongs to and runs each to its end: a file with the offered bytes, or a
``TransferError`` that says why not.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

from cart_common.process.tasks import background
from cart_common.wire.chunk import MIN_CHUNK_BYTES, ChunkHeader
from cart_common.wire.fields import MAX_CLUSTER_SIZE
from cart_common.wire.identity import Identity
from cart_common.wire.messages import (
    MAX_SENTENCE_CHARS,
    Cancel,
    Code,
    Credit,
    Done,
    ErrorMessage,
    Found,
    Message,
    ModelParameters,
    ModelRequest,
    Paused,
    PeerList,
    Resume,
    Welcome,
)

from ..network.link import LinkDown
from .active import ActiveTransfer, Direction, MessageSender, Patience, TransferView
from .assembly import TransferError, check_offer
from .bridge_requests import PickedCluster
from .channel import BridgeChannel
from .incoming import Incoming, Received
from .outgoing import Offerable, Outgoing
from .receive_window import LEAST_CHUNKS
from .sealing import UNSIGNED, Seal, TransferKey, check_signer, sign_request
from .spool import Spool

log = logging.getLogger("cart.exchange")
T = TypeVar("T")

FINISHED_SHOWN: Final = 20
# Of so many models that came whole it is known that they did: all of the largest cluster, and the one before.
CAME_KEPT: Final = 2 * MAX_CLUSTER_SIZE
# How long a transfer waits for the other cart to come back before it is looked for at other bridges.
SEEK_EVERY_S: Final = 3.0
Seek = Callable[[str], Awaitable[BridgeChannel | None]]


@dataclass(frozen=True)
class ExchangeLimits:
    """What a cart takes and how long it waits."""

    max_model_bytes: int
    window_bytes: int
    answer_timeout_s: float
    stall_timeout_s: float
    resume_timeout_s: float
    slowest_bytes_per_s: float
    max_outgoing: int = 16
    max_outgoing_per_peer: int = 2

    @property
    def patience(self) -> Patience:
        """How long a transfer may take."""
        return Patience(self.stall_timeout_s, self.resume_timeout_s, self.slowest_bytes_per_s)


class Exchange:
    """All transfers of one cart; the handler of its link.

    Args:
        identity: this cart's key pair.
        fleet_key: the fleet's, or ``OPEN``.
        cipher: what this cart seals with.
        link: sends messages and chunks.
        spool: where incoming models are put together.
        current: gives the model to offer, or None while there is none.
        wanted: gives the model signature and the codec that an incoming model must have.
        limits: sizes and waits; asked anew for each transfer, since settings change while the cart runs.
    """

    def __init__(
        self,
        identity: Identity,
        fleet_key: bytes,
        cipher: str,
        link: MessageSender,
        spool: Spool,
        current: Callable[[], Awaitable[Offerable | None]],
        wanted: Callable[[], tuple[str, str]],
        limits: Callable[[], ExchangeLimits],
    ) -> None:
        self._identity = identity
        self._fleet_key = fleet_key
        self._cipher = cipher
        self._cart_id = identity.cart_id.hex()
        self._spool = spool
        self._current = current
        self._wanted = wanted
        self._limits = limits
        self._incoming: dict[str, Incoming] = {}
        self._outgoing: dict[str, Outgoing] = {}
        self._giving: set[asyncio.Task[None]] = set()
        self.home = BridgeChannel(self._cart_id, link, self)
        """The way to the bridge that the cart is attached to."""
        self._finished: deque[TransferView] = deque(maxlen=FINISHED_SHOWN)
        self._came: deque[str] = deque(maxlen=CAME_KEPT)
        self.bytes_in = 0
        self.bytes_out = 0
        self.failures = Counter(dict.fromkeys(Code, 0))
        """How many transfers have ended without their bytes, by code."""

    # What the cart asks for.

    async def ask_cluster(self, size: int, minimum: int) -> PickedCluster:
        """Ask the cart's own bridge for peers, as ``Clusters.ask`` does."""
        return await self.home.clusters.ask(size, minimum, self.answer_timeout_s)

    @property
    def answer_timeout_s(self) -> float:
        """How long a bridge or a peer may take to answer, in seconds."""
        return self._limits().answer_timeout_s

    def port(self, link: MessageSender) -> BridgeChannel:
        """Return the handler of a link to another bridge; what comes over it is taken like what comes from home."""
        return BridgeChannel(self._cart_id, link, self)

    async def fetch(
        self, peer: str, cluster_id: str, port: BridgeChannel | None = None, seek: Seek | None = None
    ) -> Received:
        """Get the current model of a peer of a cluster.

        Args:
            peer: the cart that is asked.
            cluster_id: the cluster that it is in.
            port: the way to the bridge that has picked the cluster; None for the cart's own.
            seek: finds the way to a peer that has gone to another bridge in the middle; None lets it be waited for.

        Raises:
            TransferError: why it did not come; nothing of it is left behind.
        """
        limits = self._limits()
        view = TransferView(os.urandom(16).hex(), peer, Direction.IN)
        port = port or self.home
        if port.clusters.present != cluster_id:
            # To ask for it at a bridge that never picked it would cost this cart its link, and all that goes over it.
            raise TransferError(
                Code.LINK_LOST, "The link on which this cluster was picked is lost, and so is the cluster."
            )
        window_bytes = self._window_bytes(port)
        incoming = Incoming(view, port, limits.patience, window_bytes)
        key = TransferKey()
        public_key = self._identity.public_key.hex()
        ends = (view.transfer_id, cluster_id, self._cart_id, peer)
        unsigned = ModelRequest(*ends, key.public, public_key, UNSIGNED, _chunk_bytes(port, window_bytes))
        request = sign_request(self._identity, unsigned)

        def accept(offer: ModelParameters) -> Seal:
            signature, codec = self._wanted()
            check_offer(offer, signature, codec, limits.max_model_bytes, request.max_chunk_bytes)
            check_signer(offer)
            return key.agree(offer.key, self._fleet_key, request, offer)

        self._incoming[view.transfer_id] = incoming
        following = background(self._follow(incoming, seek)) if seek else nullcontext()
        try:
            async with following:
                run = incoming.run(request, limits.answer_timeout_s, accept, self._spool)
                received = await self._to_its_end(incoming, run)
            self._came.append(view.transfer_id)
            return received
        finally:
            del self._incoming[view.transfer_id]
            self.bytes_in += view.moved_bytes

    async def _follow(self, incoming: Incoming, seek: Seek) -> None:
        """Go to where the sender is, when it does not come back to where it was."""
        while True:
            await asyncio.sleep(SEEK_EVERY_S)
            if incoming.paused_s() < SEEK_EVERY_S:
                continue
            port = await seek(incoming.view.peer)
            if port is not None and port is not incoming.port and incoming.paused_s():
                log.info("transfer %s goes on through another bridge", incoming.view.transfer_id[:8])
                # What was claimed at the bridge before must not be taken up there any more.
                self._cancel(incoming, TransferError(Code.ABANDONED, "The transfer goes on through another bridge."))
                incoming.port = port
                incoming.take_up(self._window_bytes(port))

    # What arrives from the cart's own bridge: LinkHandler. Nothing that a peer can send raises here.

    def on_attached(self, welcome: Welcome, round_trip_s: float) -> None:
        """Take note that messages can be sent to the cart's own bridge."""
        self.home.on_attached(welcome, round_trip_s)

    def on_message(self, message: Message) -> None:
        """Take a control message."""
        self.home.on_message(message)

    def on_chunk(self, header: ChunkHeader, payload: memoryview) -> None:
        """Take a chunk."""
        self.home.on_chunk(header, payload)

    def on_lost(self) -> None:
        """Take note that the link is gone."""
        self.home.on_lost()

    # What arrives from any bridge. A transfer hears only the port that it goes through.

    def attached(self, port: BridgeChannel) -> None:
        """Take up what the last link has left."""
        for running in self._running(port):
            if isinstance(running, Incoming):
                running.take_up(self._window_bytes(port))
            else:
                running.take_up()

    def arrived(self, port: BridgeChannel, message: Message) -> None:
        """Take a control message; one that fits no transfer has crossed its end on the way and is passed over."""
        match message:
            case PeerList() | Found() | ErrorMessage():
                port.clusters.take_answer(message)
            case ModelRequest():
                self._serve(port, message)
            case Paused():
                self._pause(port, message.transfer)
            case ModelParameters() | Credit() | Done() | Resume() | Cancel():
                running = self._find(message.transfer)
                if running is not None and running.port is port:
                    self._tell(running, message)

    def _tell(self, running: Incoming | Outgoing, message: Message) -> None:
        match running, message:
            case Incoming(), ModelParameters():
                running.take_offer(message)
            case Outgoing(), Credit():
                running.take_credit(message.up_to_bytes)
            case Outgoing(), Done():
                running.take_done()
            case Outgoing(), Resume():
                running.take_resume(message)
            case _, Cancel():
                # The other cart's lost link is not this one's, which a round would take as a reason to ask again.
                code = Code.PEER_LEFT if message.code is Code.LINK_LOST else message.code
                running.fail(TransferError(code, message.sentence or "It was cancelled without a word."))

    def chunk_arrived(self, port: BridgeChannel, header: ChunkHeader, payload: memoryview) -> None:
        """Put a chunk at its place."""
        incoming = self._incoming.get(header.transfer.hex())
        if incoming is not None and incoming.port is port:
            incoming.take_chunk(header, payload)

    def lost(self, port: BridgeChannel) -> None:
        """Let transfers wait for the next link."""
        for running in self._running(port):
            running.lose_link()

    @property
    def is_busy(self) -> bool:
        """Whether a model is on its way in or out."""
        return bool(self._incoming or self._outgoing)

    def views(self) -> list[TransferView]:
        """Return running and lately finished transfers, newest first. Safe from other threads."""
        running = [entry.view for entry in self._running(None)]
        return sorted([*running, *self._finished.copy()], key=lambda view: view.started_at, reverse=True)

    async def close(self) -> None:
        """Give up all transfers and wait until they have ended."""
        self.on_lost()
        for running in self._running(None):
            running.fail(TransferError(Code.ABANDONED, "The cart is stopping."))
        if self._giving:
            await asyncio.wait(self._giving)

    def _running(self, port: BridgeChannel | None) -> list[Incoming | Outgoing]:
        """Return the transfers under way, through this port or, without one, through any."""
        # dict.copy is one step of the interpreter; for other threads the loop goes on changing the original meanwhile.
        running: list[Incoming | Outgoing]
        running = [*self._incoming.copy().values(), *self._outgoing.copy().values()]
        return [entry for entry in running if port is None or entry.port is port]

    def _find(self, transfer_id: str) -> Incoming | Outgoing | None:
        return self._incoming.get(transfer_id) or self._outgoing.get(transfer_id)

    def _window_bytes(self, port: BridgeChannel) -> int:
        return min(self._limits().window_bytes, port.max_window_bytes)

    def _pause(self, port: BridgeChannel, transfer_id: str) -> None:
        """Wait for the other cart, or tell it how a transfer has ended that it still waits for."""
        running = self._find(transfer_id)
        if running is not None:
            if running.port is port:
                running.pause("The other cart has lost its link; the transfer goes on when it is back.")
            return
        if transfer_id in self._came:
            with suppress(LinkDown):
                port.link.send(Done(transfer_id))
        else:
            self._refuse(port, transfer_id, Code.ABANDONED, "This cart does not hold that transfer any more.")

    def _serve(self, port: BridgeChannel, request: ModelRequest) -> None:
        limits = self._limits()
        if self._find(request.transfer) is not None:
            return
        to_peer = sum(outgoing.view.peer == request.source for outgoing in self._outgoing.values())
        if len(self._outgoing) >= limits.max_outgoing or to_peer >= limits.max_outgoing_per_peer:
            sentence = (
                f"This cart is sending {len(self._outgoing)} models already, {to_peer} of them to the asking one."
            )
            self._refuse(port, request.transfer, Code.TOO_MANY_TRANSFERS, sentence)
            return
        view = TransferView(request.transfer, request.source, Direction.OUT)
        outgoing = Outgoing(view, port, limits.patience, self._identity, request)
        self._outgoing[request.transfer] = outgoing
        task = asyncio.create_task(self._give(outgoing), name=f"give {request.transfer[:8]}")
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)

    async def _give(self, outgoing: Outgoing) -> None:
        try:
            with suppress(TransferError):  # it is in the view
                await self._to_its_end(
                    outgoing, outgoing.run(self._current, outgoing.port.chunk_bytes, self._cipher, self._fleet_key)
                )
        finally:
            del self._outgoing[outgoing.view.transfer_id]
            self.bytes_out += outgoing.view.moved_bytes

    async def _to_its_end(self, running: ActiveTransfer, work: Awaitable[T]) -> T:
        """Run one transfer; whatever ends it, the other cart is told and the view is closed."""
        view = running.view
        failure: TransferError | None = TransferError(Code.ABANDONED, "The transfer was given up.")
        try:
            result = await work
            failure = None
            return result
        except TransferError as error:
            failure = error
            raise
        except LinkDown as down:
            failure = TransferError(Code.LINK_LOST, str(down))
            raise failure from None
        except Exception as fault:  # whatever a peer can cause ends one transfer, not the cart
            log.exception("transfer %s with cart %s met a fault", view.transfer_id[:8], view.peer[:8])
            failure = TransferError(Code.ABANDONED, "A fault in this cart has ended the transfer.")
            raise failure from fault
        finally:
            if failure is not None:
                self.failures[failure.code] += 1
                self._cancel(running, failure)
                log.info("transfer %s with cart %s failed: %s", view.transfer_id[:8], view.peer[:8], failure)
            view.end(failure)
            self._finished.append(view)

    def _cancel(self, running: ActiveTransfer, failure: TransferError) -> None:
        # Also after a failure that the other side named: its transfer is over there, and the bridge passes this over.
        self._refuse(running.port, running.view.transfer_id, failure.code, failure.sentence)

    def _refuse(self, port: BridgeChannel, transfer_id: str, code: Code, sentence: str) -> None:
        with suppress(LinkDown):
            port.link.send(Cancel(transfer_id, code, sentence[:MAX_SENTENCE_CHARS]))


def _chunk_bytes(port: BridgeChannel, window_bytes: int) -> int:
    """Return the largest chunk to ask for: what suits the way, and of which a window holds more than one."""
    return min(port.chunk_bytes, max(window_bytes // LEAST_CHUNKS, MIN_CHUNK_BYTES))
