"""Models to and from other carts: many transfers at the same time, in both directions, over one link.

The exchange knows which transfer a message belongs to and runs each to its end: a file with the offered bytes, or a
``TransferError`` that says why not.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection
from contextlib import nullcontext, suppress
from typing import Final, Protocol, TypeVar

from cart_common.process.account import account_of
from cart_common.process.tasks import background
from cart_common.wire.chunk import ChunkHeader
from cart_common.wire.fields import MAX_CLUSTER_SIZE
from cart_common.wire.identity import Identity
from cart_common.wire.messages import (
    Cancel,
    Code,
    Credit,
    Done,
    Message,
    ModelParameters,
    ModelRequest,
    Paused,
    Resume,
)

from ..network.link_interface import LinkDown, MessageSender
from .active import ActiveTransfer, Direction, TransferView
from .assembly import TransferError
from .bridge_requests import PickedCluster
from .channel import BridgeChannel
from .giving_budget import GivingBudget
from .incoming import Incoming, Received
from .limits import ExchangeLimits
from .outgoing import Offerable, Outgoing
from .outgoing_places import choose_place
from .spool import Spool

log = logging.getLogger("cart.exchange")
T = TypeVar("T")

FINISHED_SHOWN: Final = 20
# The exchange remembers this many transfers that came whole: all of the largest cluster, and of the one before.
CAME_KEPT: Final = 2 * MAX_CLUSTER_SIZE
# Times the places for outgoing transfers: how many there are at most with those that have failed and end soon.
MOST_ENDING: Final = 4
# A transfer waits this long for the other cart to come back, then looks for it at other bridges.
SEEK_EVERY_S: Final = 3.0
Seek = Callable[[str], Awaitable[BridgeChannel | None]]


class ModelSource(Protocol):
    """Decides what the cart gives to peers and takes from them; asked anew for each transfer."""

    async def offer(self) -> Offerable | None:
        """Return the model to give to a peer, or None before the first one; raises ``TransferError``."""

    @property
    def wanted(self) -> tuple[str, Collection[str]]:
        """The model signature that an incoming model must have, and the codecs that it may have."""

    @property
    def limits(self) -> ExchangeLimits:
        """The limits that hold now."""


class Exchange:
    """All transfers of one cart. Its channels are the handlers of links, and tell it what arrives.

    Args:
        identity: this cart's key pair.
        fleet_key: the fleet's, or ``OPEN``.
        cipher: what this cart seals with.
        link: the link to the cart's own bridge.
        spool: where incoming models are put together.
        source: decides what is given and taken.

    Attributes:
        home: the channel to the cart's own bridge, and the handler of its link.
        bytes_in: the payload bytes that ended transfers have received.
        bytes_out: the payload bytes that ended transfers have sent.
        failures: how many transfers have ended without their bytes, by code.
    """

    def __init__(
        self, identity: Identity, fleet_key: bytes, cipher: str, link: MessageSender, spool: Spool, source: ModelSource
    ) -> None:
        self._identity = identity
        self._fleet_key = fleet_key
        self._cipher = cipher
        self._spool = spool
        self._source = source
        self._incoming: dict[str, Incoming] = {}
        self._outgoing: dict[str, Outgoing] = {}
        self._giving: set[asyncio.Task[None]] = set()
        self._giving_budget = GivingBudget(time.monotonic())
        self._finished: deque[TransferView] = deque(maxlen=FINISHED_SHOWN)
        self._came: deque[str] = deque(maxlen=CAME_KEPT)
        self.home = self.channel_over(link)
        self.bytes_in = 0
        self.bytes_out = 0
        self.failures = Counter(dict.fromkeys(Code, 0))

    def channel_over(self, link: MessageSender) -> BridgeChannel:
        """Return a new handler for a link; transfers may go over it as well as over ``home``."""
        return BridgeChannel(self._identity.cart_id.hex(), link, self)

    @property
    def answer_timeout_s(self) -> float:
        """How long a bridge or a peer may take to answer, in seconds."""
        return self._source.limits.answer_timeout_s

    async def ask_cluster(self, size: int, minimum: int) -> PickedCluster:
        """Ask the cart's own bridge for peers, as ``BridgeRequests.ask`` does."""
        return await self.home.requests.ask(size, minimum, self.answer_timeout_s)

    async def fetch(
        self, peer: str, cluster_id: str, channel: BridgeChannel | None = None, seek: Seek | None = None
    ) -> Received:
        """Get the current model of a peer of a cluster.

        Args:
            peer: the cart to ask.
            cluster_id: the cluster that it is in.
            channel: the way to the bridge that has picked the cluster; None for the cart's own bridge.
            seek: finds the way to a peer that has gone to another bridge meanwhile; None waits for the peer to return.

        Raises:
            TransferError: why the model did not come; nothing of it is left behind.
        """
        channel = channel or self.home
        if channel.requests.cluster_id != cluster_id:
            # A bridge that never picked this cluster would cut the link for the request, and all that goes over it.
            raise TransferError(
                Code.LINK_LOST, "The link on which this cluster was picked is lost, and so is the cluster."
            )
        view = TransferView(os.urandom(16).hex(), peer, Direction.IN)
        window_bytes = self._window_bytes(channel)
        limits = self._source.limits
        incoming = Incoming(view, channel, limits, window_bytes, self._identity, self._fleet_key)
        following = background(self._follow(incoming, seek)) if seek else nullcontext()
        async with following:
            self._incoming[view.transfer_id] = incoming
            try:
                run = incoming.run(cluster_id, lambda: self._source.wanted, self._spool)
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
            channel = await seek(incoming.view.peer)
            if channel is not None and channel is not incoming.channel and incoming.paused_s():
                log.info("transfer %s goes on through another bridge", incoming.view.transfer_id[:8])
                # The bridge before holds this cart's claim on the transfer, which must not be taken up there again.
                incoming.cancel(TransferError(Code.ABANDONED, "The transfer goes on through another bridge."))
                incoming.channel = channel
                incoming.take_up(self._window_bytes(channel))

    # What the channels tell (ChannelHandler). Nothing that a peer can send raises here, and a transfer hears only the
    # channel that it takes.

    def attached(self, channel: BridgeChannel) -> None:
        """Take up the transfers that the channel's last link has left."""
        for transfer in self._transfers_over(channel):
            transfer.take_up(self._window_bytes(channel))

    def arrived(self, channel: BridgeChannel, message: Message) -> None:
        """Handle a control message; one that fits no transfer has crossed its end on the way and is ignored."""
        match message:
            case ModelRequest():
                self._serve(channel, message)
            case Paused():
                self._pause(channel, message.transfer)
            case ModelParameters() | Credit() | Done() | Resume() | Cancel():
                transfer = self._find(message.transfer)
                if transfer is not None and transfer.channel is channel:
                    transfer.take(message)

    def chunk_arrived(self, channel: BridgeChannel, header: ChunkHeader, payload: memoryview) -> None:
        """Put a chunk in its place."""
        incoming = self._incoming.get(header.transfer.hex())
        if incoming is not None and incoming.channel is channel:
            incoming.take_chunk(header, payload)

    def lost(self, channel: BridgeChannel) -> None:
        """Let the channel's transfers wait for its next link."""
        for transfer in self._transfers_over(channel):
            transfer.lose_link()

    # What pages and the cart ask.

    @property
    def is_busy(self) -> bool:
        """Whether a model is on its way in or out."""
        return bool(self._incoming or self._outgoing)

    def views(self) -> list[TransferView]:
        """Return active and lately finished transfers, newest first. Safe from other threads."""
        active = [transfer.view for transfer in self._transfers()]
        return sorted([*active, *self._finished.copy()], key=lambda view: view.started_at, reverse=True)

    async def close(self) -> None:
        """Give up all transfers and wait until they have ended."""
        self.home.on_lost()
        for transfer in self._transfers():
            transfer.fail(TransferError(Code.ABANDONED, "The cart is stopping."))
        if self._giving:
            await asyncio.wait(self._giving)

    def _transfers(self) -> list[ActiveTransfer]:
        # dict.copy is one step of the interpreter; while another thread reads, the loop goes on changing the original.
        return [*self._incoming.copy().values(), *self._outgoing.copy().values()]

    def _transfers_over(self, channel: BridgeChannel) -> list[ActiveTransfer]:
        return [transfer for transfer in self._transfers() if transfer.channel is channel]

    def _find(self, transfer_id: str) -> ActiveTransfer | None:
        return self._incoming.get(transfer_id) or self._outgoing.get(transfer_id)

    def _window_bytes(self, channel: BridgeChannel) -> int:
        return min(self._source.limits.window_bytes, channel.max_window_bytes)

    def _pause(self, channel: BridgeChannel, transfer_id: str) -> None:
        """Wait for the other cart, or tell it how a transfer has ended that it still waits for."""
        transfer = self._find(transfer_id)
        if transfer is not None:
            if transfer.channel is channel:
                transfer.pause("The other cart has lost its link; the transfer goes on when it is back.")
        elif transfer_id in self._came:
            with suppress(LinkDown):
                channel.link.send(Done(transfer_id))
        else:
            channel.cancel(transfer_id, Code.ABANDONED, "This cart does not hold that transfer any more.")

    def _serve(self, channel: BridgeChannel, request: ModelRequest) -> None:
        limits = self._source.limits
        if self._find(request.transfer) is not None:
            return
        if len(self._outgoing) >= MOST_ENDING * limits.max_outgoing:
            return  # a flood, of which each request has taken the place of another one
        try:
            self._make_room(account_of(cart_id=request.source), limits)
        except TransferError as refusal:
            channel.cancel(request.transfer, refusal.code, refusal.sentence)
            return
        view = TransferView(request.transfer, request.source, Direction.OUT)
        outgoing = Outgoing(view, channel, limits, self._identity, request, self._giving_budget)
        self._outgoing[request.transfer] = outgoing
        task = asyncio.create_task(self._give(outgoing), name=f"give {request.transfer[:8]}")
        self._giving.add(task)
        task.add_done_callback(self._giving.discard)

    def _make_room(self, account: str, limits: ExchangeLimits) -> None:
        """Take a place back from who does not draw, where no other is free; raises ``TransferError``."""
        # A transfer that has failed ends as soon as its task gets its turn: its place is free.
        places = [outgoing.place for outgoing in self._outgoing.values() if not outgoing.has_failed]
        lately = self._giving_budget.was_served_lately(account, time.monotonic())
        taken_back = choose_place(account, places, lately, limits)
        if taken_back is not None:
            sentence = f"The receiver drew nothing for {taken_back.waited_s:.1f} s, and others waited for its place."
            self._outgoing[taken_back.transfer_id].fail(TransferError(Code.TOO_MANY_TRANSFERS, sentence))

    async def _give(self, outgoing: Outgoing) -> None:
        try:
            with suppress(TransferError):  # the view has it
                run = outgoing.run(self._source.offer, self._cipher, self._fleet_key)
                await self._to_its_end(outgoing, run)
        finally:
            outgoing.settle()
            del self._outgoing[outgoing.view.transfer_id]
            self.bytes_out += outgoing.view.moved_bytes

    async def _to_its_end(self, transfer: ActiveTransfer, work: Awaitable[T]) -> T:
        """Run one transfer; whatever ends it, tell the other cart and close the view."""
        view = transfer.view
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
                # Also after a failure that the other cart named: its transfer is over, and the bridge ignores this.
                transfer.cancel(failure)
                log.info("transfer %s with cart %s failed: %s", view.transfer_id[:8], view.peer[:8], failure)
            view.end(failure)
            self._finished.append(view)
