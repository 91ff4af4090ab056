"""One model on its way out: offer it, send chunks as far as credit reaches, wait for the receiver's word."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from cart_common.wire.chunk import ChunkHeader
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Code, ModelParameters, ModelRequest, Resume

from ..network.link import LinkDown
from .active import ActiveTransfer, Patience, TransferProgress, TransferView
from .assembly import Splitter, TransferError, chunk_count
from .channel import BridgeChannel
from .sealing import UNSIGNED, Seal, TransferKey, check_signer, sign_offer


@dataclass(frozen=True)
class Offerable:
    """The model that a cart gives away, encoded."""

    payload: bytes
    digest: str
    codec: str
    model_signature: str
    model_version: int
    samples: int
    accuracy: float


class Outgoing(ActiveTransfer):
    """The giving side of one transfer."""

    def __init__(
        self, view: TransferView, port: BridgeChannel, patience: Patience, identity: Identity, request: ModelRequest
    ) -> None:
        super().__init__(view, port, patience)
        self._identity = identity
        self._request = request
        self._splitter: Splitter | None = None
        self._done = False

    async def run(
        self, current: Callable[[], Awaitable[Offerable | None]], chunk_bytes: int, cipher: str, fleet_key: bytes
    ) -> None:
        """Give the current model, sealed.

        Raises:
            TransferError: why the receiver did not get it.
            LinkDown: if there is no link to offer over.
        """
        check_signer(self._request)
        offerable = await current()
        if offerable is None:
            raise TransferError(Code.NO_MODEL, "This cart has no trained model yet.")
        payload = memoryview(offerable.payload)
        chunk_bytes = min(chunk_bytes, self._request.max_chunk_bytes)
        splitter = Splitter(payload, chunk_bytes)
        self.view.total_bytes, self.view.state = len(payload), TransferProgress.OFFERED
        key = TransferKey()
        offer = sign_offer(self._identity, self._offer_of(offerable, chunk_bytes, cipher, key.public))
        seal = key.agree(self._request.key, fleet_key, self._request, offer)
        self.port.link.send(offer)
        self._splitter, self._agreed = splitter, offer
        async with self._deadline(len(payload)):
            while not self._done:
                await self._send_what_credit_allows(splitter, seal)
                missing = "word that all is there" if splitter.finished else "credit"
                await self._wait_for_news(self._patience.stall_timeout_s, f"The receiver's {missing}")

    def take_credit(self, up_to_bytes: int) -> None:
        """Take the receiver's credit; before the offer there is nothing to grant it for."""
        if self._splitter is not None and self._splitter.grant(up_to_bytes):
            self._news.set()

    def take_up(self) -> None:
        """Say, on a new link, that the transfer can go on; the answer says from where."""
        self._say_resume(0, 0)

    def take_resume(self, message: Resume) -> None:
        """Go on from where the receiver has come to."""
        if self._splitter is None:
            return
        try:
            self._splitter.go_on_from(message.position_bytes, message.up_to_bytes)
            self.view.moved_bytes = self._splitter.sent_bytes
            self._go_on()
        except TransferError as error:
            self.fail(error)
        self._news.set()

    def take_done(self) -> None:
        """Take the receiver's word that the model is there."""
        self._done = True
        self._news.set()

    async def _send_what_credit_allows(self, splitter: Splitter, seal: Seal) -> None:
        source, destination = self._identity.cart_id, bytes.fromhex(self.view.peer)
        transfer = bytes.fromhex(self.view.transfer_id)
        while self._failure is None and not self._paused and (chunk := splitter.next_chunk()) is not None:
            header = ChunkHeader(source, destination, transfer, chunk.sequence, chunk.final)
            try:
                await self.port.send_chunk(seal.frame(header, chunk.payload))
            except LinkDown:
                return  # taken up again from where the receiver is, on the next link
            self.view.moved_bytes = splitter.sent_bytes
            if not self._paused:
                self.view.state = TransferProgress.RUNNING

    def _offer_of(self, offerable: Offerable, chunk_bytes: int, cipher: str, key: str) -> ModelParameters:
        return ModelParameters(
            transfer=self.view.transfer_id,
            source=self._identity.cart_id.hex(),
            destination=self.view.peer,
            total_bytes=len(offerable.payload),
            chunk_bytes=chunk_bytes,
            chunks=chunk_count(len(offerable.payload), chunk_bytes),
            digest=offerable.digest,
            codec=offerable.codec,
            model_signature=offerable.model_signature,
            model_version=offerable.model_version,
            samples=offerable.samples,
            accuracy=offerable.accuracy,
            cipher=cipher,
            key=key,
            public_key=self._identity.public_key.hex(),
            signature=UNSIGNED,
        )
