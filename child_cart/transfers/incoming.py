"""One model on its way in: ask, judge the offer, grant credit, put the chunks together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cart_common.process.os_errors import error_words
from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, ChunkHeader
from cart_common.wire.messages import Code, Credit, Done, ModelParameters, ModelRequest

from ..network.link import LinkDown
from .active import ActiveTransfer, Patience, TransferProgress, TransferView
from .assembly import Assembler, TransferError
from .channel import BridgeChannel
from .receive_window import ReceiveWindow
from .sealing import Seal
from .spool import Spool

# So many lost links without even one large chunk between them say that only smaller ones come through.
MOST_FRUITLESS_PAUSES: Final = 8


@dataclass(frozen=True)
class Received:
    """A model that has come whole: its bytes lie in ``path``, which whoever takes it removes."""

    path: Path
    offer: ModelParameters


class Incoming(ActiveTransfer):
    """The receiving side of one transfer."""

    def __init__(self, view: TransferView, port: BridgeChannel, patience: Patience, window_bytes: int) -> None:
        super().__init__(view, port, patience)
        self._most_window_bytes = window_bytes
        self._offer: ModelParameters | None = None
        self._seal: Seal | None = None
        self._assembler: Assembler | None = None
        self._fruitless_pauses, self._paused_at_bytes = 0, -1

    async def run(
        self,
        request: ModelRequest,
        answer_timeout_s: float,
        accept: Callable[[ModelParameters], Seal],
        spool: Spool,
    ) -> Received:
        """Get the model.

        Args:
            request: signed, for this transfer.
            answer_timeout_s: seconds for the offer to come.
            accept: checks the offer and gives the seal of its chunks, or raises.
            spool: where the model is put together.

        Raises:
            TransferError: why it did not come.
            LinkDown: if there is no link to ask over.
        """
        self.port.link.send(request)
        while self._offer is None:
            await self._wait_for_news(answer_timeout_s, "The peer's offer")
        self._seal = accept(self._offer)
        with spool.room_for(self.view.transfer_id, self._offer.total_bytes) as room:
            window = ReceiveWindow(self._offer.chunk_bytes, self._most_window_bytes)
            self._assembler = assembler = Assembler(self._offer, room.put, window)
            self._agreed = self._offer
            try:
                self.view.state = TransferProgress.RUNNING
                self._grant(assembler)
                async with self._deadline(self._offer.total_bytes):
                    while not assembler.complete:
                        await self._wait_for_news(self._patience.stall_timeout_s, "The next chunk")
            finally:
                self._assembler = None  # the room is about to close: nothing more may be written to it
            if assembler.digest != self._offer.digest:
                raise TransferError(Code.DIGEST_MISMATCH, "The bytes that came are not the ones that were offered.")
            with suppress(LinkDown):  # asked again after the next attach, the exchange tells it
                self.port.link.send(Done(self.view.transfer_id))
            return Received(room.keep(), self._offer)

    def take_offer(self, offer: ModelParameters) -> None:
        """Take the peer's offer."""
        if offer.source != self.view.peer:
            self.fail(TransferError(Code.WRONG_SOURCE, "An offer came from another cart than the one asked."))
        elif self._offer is None:
            self._offer = offer
            self.view.total_bytes, self.view.state = offer.total_bytes, TransferProgress.OFFERED
            self._news.set()

    def take_up(self, window_bytes: int) -> None:
        """Say, on a new link, from where the sender is to go on."""
        if self._assembler is not None:
            self._say_resume(*self._assembler.go_on(window_bytes))

    def pause(self, why: str) -> None:
        """Let the transfer wait for a lost link to come back, or give up what can only go on in smaller chunks."""
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
        """Open a chunk and put it at its place."""
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

    def _grant(self, assembler: Assembler) -> None:
        up_to_bytes = assembler.next_grant(asyncio.get_running_loop().time())
        if up_to_bytes is not None:
            with suppress(LinkDown):  # said again when the transfer is taken up
                self.port.link.send(Credit(self.view.transfer_id, up_to_bytes))
