"""What every transfer under way shares: its view for the pages, its failure, and waiting for news with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from cart_common.wire.messages import Code, Message, ModelParameters, Resume

from ..network.link import LinkDown
from .assembly import TransferError

if TYPE_CHECKING:
    from .channel import BridgeChannel


class Direction(StrEnum):
    """Which way a model goes."""

    IN = "IN"
    OUT = "OUT"


class TransferProgress(StrEnum):
    """The life of a transfer as a cart sees it."""

    REQUESTED = "REQUESTED"
    OFFERED = "OFFERED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass
class TransferView:
    """A transfer as a page shows it. Times in seconds since the epoch."""

    transfer_id: str
    peer: str
    direction: Direction
    state: TransferProgress = TransferProgress.REQUESTED
    total_bytes: int = 0
    moved_bytes: int = 0
    reason: str = ""
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None

    def end(self, failure: TransferError | None) -> None:
        """Close the view."""
        self.state = TransferProgress.FAILED if failure else TransferProgress.DONE
        self.reason = f"{failure.sentence} ({failure.code})" if failure else ""
        self.ended_at = time.time()


class MessageSender(Protocol):
    """The part of the link that transfers use."""

    def send(self, message: Message) -> None:
        """Send a control message; raises ``LinkDown``."""

    async def send_chunk(self, frame: bytearray) -> None:
        """Send a chunk when it is its turn; raises ``LinkDown``."""


@dataclass(frozen=True)
class Patience:
    """How long a transfer may take: nothing for so long ends it, and so does a whole that is slower than this."""

    stall_timeout_s: float
    resume_timeout_s: float
    slowest_bytes_per_s: float

    def whole_s(self, total_bytes: int) -> float:
        """Return how long a transfer of this size may take in all."""
        return self.stall_timeout_s + self.resume_timeout_s + total_bytes / self.slowest_bytes_per_s


class ActiveTransfer:
    """A transfer under way. Its task waits; the link's reader tells it the news.

    Attributes:
        port: the link that it goes through now.
    """

    def __init__(self, view: TransferView, port: BridgeChannel, patience: Patience) -> None:
        self.view = view
        self.port = port
        self._patience = patience
        self._failure: TransferError | None = None
        self._paused = self._was_paused = False
        self._paused_at = 0.0
        # The offer, once both carts know what is sent, in which chunks, under which key: from then on there is
        # something to go on with on another link.
        self._agreed: ModelParameters | None = None
        self._news = asyncio.Event()

    def fail(self, failure: TransferError) -> None:
        """Let the transfer end with this failure; the first one counts."""
        self._failure = self._failure or failure
        self._news.set()

    def pause(self, why: str) -> None:
        """Let the transfer wait for a lost link to come back; what is not agreed yet is not worth waiting for."""
        if self._agreed is None:
            return
        if not self._paused:
            self._paused_at = time.monotonic()
        self._paused = self._was_paused = True
        self.view.state, self.view.reason = TransferProgress.PAUSED, why
        self._news.set()

    def paused_s(self) -> float:
        """Return for how many seconds the transfer has waited for a lost link; 0 while it waits for none."""
        return time.monotonic() - self._paused_at if self._paused else 0.0

    def lose_link(self) -> None:
        """Wait for the cart's own link to come back; what is not agreed yet has nothing to go on from."""
        if self._agreed is not None:
            self.pause("The link to the bridge broke; the transfer goes on when it is back.")
        else:
            self.fail(TransferError(Code.LINK_LOST, "The link to the bridge broke."))

    def _say_resume(self, position_bytes: int, up_to_bytes: int) -> None:
        """Say on a new link that the transfer can go on."""
        offer = self._agreed
        if offer is None:
            return
        ends = (offer.transfer, offer.source, offer.destination, offer.total_bytes, offer.chunk_bytes)
        with suppress(LinkDown):  # said again on the next link
            self.port.link.send(Resume(*ends, position_bytes, up_to_bytes))

    def _go_on(self) -> None:
        self._paused = False
        self.view.state, self.view.reason = TransferProgress.RUNNING, ""

    @asynccontextmanager
    async def _deadline(self, total_bytes: int) -> AsyncIterator[None]:
        """End a block that takes longer than a transfer of this size may: a trickle must not hold a round."""
        whole_s = self._patience.whole_s(total_bytes)
        deadline = asyncio.timeout(whole_s)
        try:
            async with deadline:
                yield
        except TimeoutError:
            raise TransferError(Code.TIMED_OUT, f"The transfer was not done within {whole_s:.0f} s.") from None

    async def _wait_for_news(self, timeout_s: float, missing: str) -> None:
        """Wait until something has come.

        Raises:
            TransferError: the failure that came, or ``TIMED_OUT`` naming what is missing.
        """
        if self._was_paused:
            # Also while chunks come: word of a lost link overtakes those that were sent before it.
            timeout_s = max(timeout_s, self._patience.resume_timeout_s)
            missing = "The link that was lost" if self._paused else missing
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            raise TransferError(Code.TIMED_OUT, f"{missing} did not come within {timeout_s:g} s.") from None
        self._news.clear()
        if self._failure is not None:
            raise self._failure
