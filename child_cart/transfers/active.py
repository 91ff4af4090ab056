"""What every transfer under way shares: its view for the pages, its failure, and waiting for news with a deadline."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cart_common.wire.messages import Cancel, Code, Message, Resume

from ..network.link_interface import LinkDown
from .assembly import TransferError
from .channel import BridgeChannel
from .limits import Patience
from .offer import Offer

log = logging.getLogger("cart.exchange")


@asynccontextmanager
async def due_within(timeout_s: float, missing: str) -> AsyncIterator[None]:
    """Wait in the block for something, for this many seconds at most.

    Raises:
        TransferError: ``TIMED_OUT``, naming what is missing.
    """
    try:
        async with asyncio.timeout(timeout_s):
            yield
    except TimeoutError:
        raise TransferError(Code.TIMED_OUT, f"{missing} did not come within {timeout_s:g} s.") from None


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


TRANSITIONS: Final = {
    TransferProgress.REQUESTED: {TransferProgress.OFFERED, TransferProgress.FAILED},
    # A receiver that has everything says so to a sender that waits for its link, or has not sent yet.
    TransferProgress.OFFERED: {
        *(TransferProgress.RUNNING, TransferProgress.PAUSED, TransferProgress.DONE, TransferProgress.FAILED)
    },
    TransferProgress.RUNNING: {TransferProgress.PAUSED, TransferProgress.DONE, TransferProgress.FAILED},
    TransferProgress.PAUSED: {TransferProgress.RUNNING, TransferProgress.DONE, TransferProgress.FAILED},
    TransferProgress.DONE: set[TransferProgress](),
    TransferProgress.FAILED: set[TransferProgress](),
}
ENDED: Final = (TransferProgress.DONE, TransferProgress.FAILED)


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

    def move_to(self, state: TransferProgress, reason: str = "") -> None:
        """Change the state, and log that; the only place where it changes. Staying in a state changes the reason."""
        if state is not self.state:
            if state not in TRANSITIONS[self.state]:
                raise RuntimeError(f"A transfer does not go from {self.state} to {state}.")
            log.debug("transfer %s: %s -> %s", self.transfer_id[:8], self.state, state)
            self.state = state
        self.reason = reason

    def end(self, failure: TransferError | None) -> None:
        """Close the view."""
        if failure is None:
            self.move_to(TransferProgress.DONE)
        else:
            self.move_to(TransferProgress.FAILED, f"{failure.sentence} ({failure.code})")
        self.ended_at = time.time()


class ActiveTransfer(ABC):
    """A transfer under way. Its task waits; what arrives on its channel wakes it.

    Attributes:
        view: the transfer as a page shows it.
        channel: the way that it takes now; it hears nothing of other channels.
    """

    def __init__(self, view: TransferView, channel: BridgeChannel, patience: Patience) -> None:
        self.view = view
        self.channel = channel
        self._patience = patience
        self._failure: TransferError | None = None
        self._paused = self._was_paused = False
        self._paused_at = 0.0
        # The offer, once both carts know what is sent, in which chunks, under which key: only from then on can the
        # transfer go on over another link.
        self._agreed: Offer | None = None
        self._news = asyncio.Event()

    @abstractmethod
    def take(self, message: Message) -> None:
        """Handle a control message of this transfer; one that does not fit the transfer is ignored."""

    @abstractmethod
    def take_up(self, window_bytes: int) -> None:
        """Say on a new link that the transfer can go on.

        Args:
            window_bytes: how far a sender may run ahead on this link.
        """

    @property
    def has_failed(self) -> bool:
        """Whether the transfer is about to end with a failure."""
        return self._failure is not None

    def fail(self, failure: TransferError) -> None:
        """End the transfer with this failure; the first one counts."""
        self._failure = self._failure or failure
        self._news.set()

    def cancel(self, failure: TransferError) -> None:
        """Tell the other cart that the transfer is over on this channel, and why."""
        self.channel.cancel(self.view.transfer_id, failure.code, failure.sentence)

    def pause(self, why: str) -> None:
        """Wait for a lost link to come back; a transfer that is not agreed yet does not pause."""
        if self._agreed is None:
            return
        if not self._paused:
            self._paused_at = time.monotonic()
        self._paused = self._was_paused = True
        self.view.move_to(TransferProgress.PAUSED, why)
        self._news.set()

    def paused_s(self) -> float:
        """Return for how many seconds the transfer has waited for a lost link; 0 while it does not wait."""
        return time.monotonic() - self._paused_at if self._paused else 0.0

    def lose_link(self) -> None:
        """Wait for the cart's own link to come back; a transfer that is not agreed yet fails."""
        if self._agreed is not None:
            self.pause("The link to the bridge broke; the transfer goes on when it is back.")
        else:
            self.fail(TransferError(Code.LINK_LOST, "The link to the bridge broke."))

    def _take_cancel(self, message: Cancel) -> None:
        # The other cart's lost link is not this cart's; a round would take LINK_LOST as a reason to ask again.
        code = Code.PEER_LEFT if message.code is Code.LINK_LOST else message.code
        self.fail(TransferError(code, message.sentence or "It was cancelled without a word."))

    def _say_resume(self, position_bytes: int, up_to_bytes: int) -> None:
        offer = self._agreed
        if offer is None:
            return
        ends = (offer.transfer, offer.source, offer.destination, offer.total_bytes, offer.chunk_bytes)
        with suppress(LinkDown):  # said again on the next link
            self.channel.link.send(Resume(*ends, position_bytes, up_to_bytes))

    def _go_on(self) -> None:
        self._paused = False
        self.view.move_to(TransferProgress.RUNNING)

    @asynccontextmanager
    async def _deadline(self, total_bytes: int) -> AsyncIterator[None]:
        """End a block that takes longer than a transfer of this size may: a trickle must not hold up a round."""
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
            # Also while chunks come: word of a lost link overtakes the chunks that were sent before it.
            timeout_s = max(timeout_s, self._patience.resume_timeout_s)
            missing = "The link that was lost" if self._paused else missing
        async with due_within(timeout_s, missing):
            await self._news.wait()
        self._news.clear()
        if self._failure is not None:
            raise self._failure
