"""One model on its way in: request it, check the offer, grant credit, put the chunks together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cart_common.process.os_errors import error_words
from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, MIN_CHUNK_BYTES, ChunkHeader
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Cancel, Code, Credit, Done, Message, ModelParameters, ModelRequest

from ..network.link_interface import LinkDown
from .active import ActiveTransfer, TransferProgress, TransferView
from .assembly import Assembler, TransferError, check_offer
from .channel import BridgeChannel
from .limits import ExchangeLimits
from .receive_window import LEAST_CHUNKS, ReceiveWindow
from .sealing import UNSIGNED, Seal, TransferKey, check_signer, sign_request
from .spool import Spool

OFFER: Final = "The peer's offer"
# After this many lost links in a row without one large chunk between them, only smaller chunks can come through.
MOST_FRUITLESS_PAUSES: Final = 8


@dataclass(frozen=True)
class Received:
    """A model that has come whole: its bytes are in the file ``path``, which the receiver of this value removes."""

    path: Path
    offer: ModelParameters


class Incoming(ActiveTransfer):
    """The receiving side of one transfer.

    Args:
        view: the transfer as a page shows it; names the peer.
        channel: the way to the bridge that has picked the peer.
        limits: those of this transfer.
        window_bytes: how far the sender may run ahead on this channel.
        identity: this cart's key pair.
        fleet_key: the fleet's, or ``OPEN``.
    """

    def __init__(
        self,
        view: TransferView,
        channel: BridgeChannel,
        limits: ExchangeLimits,
        window_bytes: int,
        identity: Identity,
        fleet_key: bytes,
    ) -> None:
        super().__init__(view, channel, limits.patience)
        self._limits = limits
        self._most_window_bytes = window_bytes
        self._identity = identity
        self._fleet_key = fleet_key
        self._offer: ModelParameters | None = None
        self._seal: Seal | None = None
        self._assembler: Assembler | None = None
        self._fruitless_pauses, self._paused_at_bytes = 0, -1

    async def run(self, cluster_id: str, wanted: Callable[[], tuple[str, Collection[str]]], spool: Spool) -> Received:
        """Get the model.

        Args:
            cluster_id: the cluster that the peer is in.
            wanted: gives the model signature and the codecs that the offer may have, when it has come.
            spool: where the model is put together.

        Raises:
            TransferError: why it did not come.
            LinkDown: if there is no link to ask over.
        """
        key = TransferKey()
        request = self._request(cluster_id, key.public)
        self.channel.link.send(request)
        while self._offer is None:
            await self._wait_for_news(self._limits.answer_timeout_s, OFFER)
        offer, (signature, codecs) = self._offer, wanted()
        check_offer(offer, signature, codecs, self._limits.max_model_bytes, request.max_chunk_bytes)
        check_signer(offer)
        self._seal = key.agree(offer.key, self._fleet_key, request, offer)
        with spool.room_for(self.view.transfer_id, offer.total_bytes) as file:
            window = ReceiveWindow(offer.chunk_bytes, self._most_window_bytes)
            self._assembler = assembler = Assembler(offer, file.put, window)
            self._agreed = offer
            try:
                self.view.move_to(TransferProgress.RUNNING)
                self._grant(assembler)
                async with self._deadline(offer.total_bytes):
                    while not assembler.complete:
                        await self._wait_for_news(self._patience.stall_timeout_s, "The next chunk")
            finally:
                self._assembler = None  # the file is about to close: nothing more may be written to it
            if assembler.digest != offer.digest:
                raise TransferError(Code.DIGEST_MISMATCH, "The bytes that came are not the ones that were offered.")
            with suppress(LinkDown):  # if the sender asks again after the next attach, the exchange answers
                self.channel.link.send(Done(self.view.transfer_id))
            return Received(file.keep(), offer)

    def take(self, message: Message) -> None:
        """Handle an offer or the end of the transfer."""
        match message:
            case ModelParameters():
                self._take_offer(message)
            case Cancel():
                self._take_cancel(message)

    def take_up(self, window_bytes: int) -> None:
        """Say on a new link from where the sender must go on."""
        if self._assembler is not None:
            self._say_resume(*self._assembler.go_on(window_bytes))

    def pause(self, why: str) -> None:
        """Wait for a lost link to come back; give up a transfer whose chunks are too large for its links."""
        super().pause(why)
        if self._agreed is None:
            return
        fruitless = self.view.moved_bytes == self._paused_at_bytes
        self._fruitless_pauses = self._fruitless_pauses + 1 if fruitless else 0
        self._paused_at_bytes = self.view.moved_bytes
        size_bytes = self._agreed.chunk_bytes
        if self._fruitless_pauses >= MOST_FRUITLESS_PAUSES and size_bytes > DEFAULT_CHUNK_BYTES:
            sentence = f"Links broke again and again before a chunk of {size_bytes} bytes was through."
            self.fail(TransferError(Code.LINK_LOST, sentence))

    def take_chunk(self, header: ChunkHeader, sealed: memoryview) -> None:
        """Open a chunk and put it in its place."""
        if self._assembler is None or self._seal is None or self._failure is not None:
            return
        try:
            if header.source.hex() != self.view.peer:
                raise TransferError(Code.WRONG_SOURCE, "A chunk came from another cart than the one asked.")
            payload = self._seal.open(header, sealed)
            self._assembler.add(header.sequence, payload, header.final, asyncio.get_running_loop().time())
            self.view.moved_bytes = self._assembler.received_bytes
            if self._paused:
                self._go_on()
            self._grant(self._assembler)
        except TransferError as error:
            self.fail(error)
        except OSError as error:
            self.fail(TransferError(Code.DISK_FULL, f"This cart's disk does not take a chunk ({error_words(error)})."))
        self._news.set()

    def _request(self, cluster_id: str, key: str) -> ModelRequest:
        # The largest chunk that suits the channel, and of which a window holds more than one.
        most_bytes = max(self._most_window_bytes // LEAST_CHUNKS, MIN_CHUNK_BYTES)
        unsigned = ModelRequest(
            transfer=self.view.transfer_id,
            cluster=cluster_id,
            source=self._identity.cart_id.hex(),
            destination=self.view.peer,
            key=key,
            public_key=self._identity.public_key.hex(),
            signature=UNSIGNED,
            max_chunk_bytes=min(self.channel.chunk_bytes, most_bytes),
        )
        return sign_request(self._identity, unsigned)

    def _take_offer(self, offer: ModelParameters) -> None:
        if offer.source != self.view.peer:
            self.fail(TransferError(Code.WRONG_SOURCE, "An offer came from another cart than the one asked."))
        elif self._offer is None:
            self._offer = offer
            self.view.total_bytes = offer.total_bytes
            self.view.move_to(TransferProgress.OFFERED)
            self._news.set()

    def _grant(self, assembler: Assembler) -> None:
        up_to_bytes = assembler.next_grant(asyncio.get_running_loop().time())
        if up_to_bytes is not None:
            with suppress(LinkDown):  # said again when the transfer is taken up
                self.channel.link.send(Credit(self.view.transfer_id, up_to_bytes))
