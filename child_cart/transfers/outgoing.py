"""One model on its way out: offer it, send chunks as far as credit reaches, wait for the receiver's DONE."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from cart_common.process.account import account_of
from cart_common.wire.chunk import ChunkHeader
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Cancel, Code, Credit, Done, Message, ModelRequest, Resume

from ..network.link_interface import LinkDown
from .active import ActiveTransfer, TransferProgress, TransferView
from .assembly import Splitter, TransferError, chunk_count
from .channel import BridgeChannel
from .giving_budget import GivingBudget, Handout
from .limits import ExchangeLimits
from .negotiation import Agreement
from .offer import Offer
from .outgoing_places import OutgoingPlace
from .sealing import Seal
from .terms import RequestTerms


@dataclass(frozen=True)
class Offerable:
    """The model that a cart gives away, encoded.

    Attributes:
        samples: rows that it was trained on, as peers are told; None tells them nothing.
    """

    payload: bytes
    digest: str
    codec: str
    model_signature: str
    model_version: int
    samples: int | None = None


Give = Callable[[tuple[str, ...]], Awaitable[Offerable | None]]
"""Gives the model to a peer that reads these codecs, or None before the first one."""


class Outgoing(ActiveTransfer):
    """The sending side of one transfer.

    Args:
        view: the transfer as a page shows it; names the peer.
        channel: the way to the bridge through which the peer has asked.
        limits: those of this transfer.
        identity: this cart's key pair.
        request: what the peer has asked.
        giving_budget: what the model and each chunk count against.

    Attributes:
        account: by which limits count the peer.
    """

    def __init__(
        self,
        view: TransferView,
        channel: BridgeChannel,
        limits: ExchangeLimits,
        identity: Identity,
        request: ModelRequest,
        giving_budget: GivingBudget,
    ) -> None:
        super().__init__(view, channel, limits.patience)
        self.account = account_of(cart_id=request.source)
        self._limits = limits
        self._giving_budget = giving_budget
        self._handout: Handout | None = None
        self._waited_s = 0.0
        self._waiting_since: float | None = None
        self._identity = identity
        self._request = request
        self._splitter: Splitter | None = None
        self._done = False

    @property
    def place(self) -> OutgoingPlace:
        """The place that the transfer holds."""
        waiting_s = 0.0 if self._waiting_since is None else time.monotonic() - self._waiting_since
        is_proved = self._giving_budget.has_taken_a_model(self.account)
        return OutgoingPlace(
            self.view.transfer_id, self.account, self.view.moved_bytes, self._waited_s + waiting_s, is_proved
        )

    async def run(self, current: Give, cipher: str, fleet_key: bytes) -> None:
        """Send the current model, sealed.

        Args:
            current: gives the model.
            cipher: what this cart seals with.
            fleet_key: the fleet's, or ``OPEN``.

        Raises:
            TransferError: why the receiver did not get the model.
            LinkDown: if there is no link to offer it over.
        """
        agreement = Agreement(self._identity, fleet_key, self._limits.least_version)
        asked = agreement.read(self._request)
        chunk_bytes = min(self.channel.chunk_bytes, self._request.max_chunk_bytes)
        offerable = await current(asked.codecs)
        if offerable is None:
            raise TransferError(Code.NO_MODEL, "This cart has no trained model yet.")
        if self._failure is not None:
            raise self._failure
        payload = memoryview(offerable.payload)
        # Not the digest of the payload: the same version in another codec is the same version.
        version = f"{offerable.model_signature}-{offerable.model_version}"
        self._handout = self._giving_budget.begin(self.account, version, len(payload), self._limits, time.monotonic())
        splitter = Splitter(payload, chunk_bytes)
        self.view.total_bytes = len(payload)
        self.view.move_to(TransferProgress.OFFERED)
        offer = self._offer_of(offerable, asked, chunk_bytes, cipher)
        message, seal = agreement.offer(offer, self._request)
        self.channel.link.send(message)
        self._splitter, self._agreed = splitter, offer
        async with self._deadline(len(payload)):
            while not self._done:
                await self._send_what_credit_allows(splitter, seal)
                missing = "word that all is there" if splitter.finished else "credit"
                with self._receivers_turn():
                    await self._wait_for_news(self._patience.stall_timeout_s, f"The receiver's {missing}")

    def settle(self) -> None:
        """Give back to the budget what was reserved and has not gone out; called at the end."""
        if self._handout is not None:
            self._giving_budget.end(self._handout)

    @contextmanager
    def _receivers_turn(self) -> Iterator[None]:
        """Count the time of a block as the receiver's: nothing can go out before it says something."""
        self._waiting_since = since = time.monotonic()
        try:
            yield
        finally:
            self._waiting_since = None
            self._waited_s += time.monotonic() - since

    def take(self, message: Message) -> None:
        """Handle the receiver's credit, its DONE, its RESUME, or the end of the transfer."""
        match message:
            case Credit():
                # Before the offer there is nothing to grant credit for.
                if self._splitter is not None and self._splitter.grant(message.up_to_bytes):
                    self._news.set()
            case Done():
                self._done = True
                self._news.set()
            case Resume():
                self._take_resume(message)
            case Cancel():
                self._take_cancel(message)

    def take_up(self, window_bytes: int) -> None:
        """Say on a new link that the transfer can go on; the receiver's RESUME says from where."""
        self._say_resume(0, 0)

    def _take_resume(self, message: Resume) -> None:
        if self._splitter is None:
            return
        try:
            self._splitter.go_on_from(message.position_bytes, message.up_to_bytes)
            self.view.moved_bytes = self._splitter.sent_bytes
            self._go_on()
        except TransferError as error:
            self.fail(error)
        self._news.set()

    async def _send_what_credit_allows(self, splitter: Splitter, seal: Seal) -> None:
        source, destination = self._identity.cart_id, bytes.fromhex(self.view.peer)
        transfer = bytes.fromhex(self.view.transfer_id)
        while splitter.has_credit:
            async with self.channel.turns:
                if self._failure is not None or self._paused or (chunk := splitter.next_chunk()) is None:
                    return
                if self._handout is not None:
                    self._giving_budget.count(self._handout, len(chunk.payload), time.monotonic())
                header = ChunkHeader(source, destination, transfer, chunk.sequence, chunk.final)
                try:
                    await self.channel.send_chunk(seal.frame(header, chunk.payload))
                except LinkDown:
                    return  # on the next link the transfer goes on from where the receiver is
            self.view.moved_bytes = splitter.sent_bytes
            if not self._paused:
                self.view.move_to(TransferProgress.RUNNING)

    def _offer_of(self, offerable: Offerable, asked: RequestTerms, chunk_bytes: int, cipher: str) -> Offer:
        return Offer(
            version=asked.version,
            transfer=self.view.transfer_id,
            source=self._identity.cart_id.hex(),
            destination=self.view.peer,
            total_bytes=len(offerable.payload),
            chunk_bytes=chunk_bytes,
            chunks=chunk_count(len(offerable.payload), chunk_bytes),
            kind=asked.kind,
            codec=offerable.codec,
            digest=offerable.digest,
            model_signature=offerable.model_signature,
            model_version=offerable.model_version,
            cipher=cipher,
            samples=offerable.samples,
        )
