"""What every transfer under way shares: its view for the pages, its failure, and waiting for news with a deadline."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from .messages import Code, Message
from .transfer import TransferError


class Direction(StrEnum):
    """Which way a model goes."""

    IN = "IN"
    OUT = "OUT"


class Progress(StrEnum):
    """The life of a transfer as a cart sees it."""

    REQUESTED = "REQUESTED"
    OFFERED = "OFFERED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    FAILED = "FAILED"


@dataclass
class TransferView:
    """A transfer as a page shows it. Times in seconds since the epoch."""

    transfer_id: str
    peer: str
    direction: Direction
    state: Progress = Progress.REQUESTED
    total_bytes: int = 0
    moved_bytes: int = 0
    reason: str = ""
    started_at: float = field(default_factory=time.time)
    ended_at: float | None = None

    def end(self, failure: TransferError | None) -> None:
        """Close the view."""
        self.state = Progress.FAILED if failure else Progress.DONE
        self.reason = f"{failure.sentence} ({failure.code})" if failure else ""
        self.ended_at = time.time()


class Sends(Protocol):
    """The part of the link that transfers use."""

    def send(self, message: Message) -> None:
        """Send a control message; raises ``LinkDown``."""

    async def send_chunk(self, frame: bytes) -> None:
        """Send a chunk when it is its turn; raises ``LinkDown``."""


class RunningTransfer:
    """A transfer under way. Its task waits; the link's reader tells it the news."""

    def __init__(self, view: TransferView, link: Sends, stall_timeout_s: float) -> None:
        self.view = view
        self._link = link
        self._stall_timeout_s = stall_timeout_s
        self._failure: TransferError | None = None
        self._news = asyncio.Event()

    def fail(self, failure: TransferError) -> None:
        """Let the transfer end with this failure; the first one counts."""
        self._failure = self._failure or failure
        self._news.set()

    async def _wait_for_news(self, timeout_s: float, missing: str) -> None:
        """Wait until something has come.

        Raises:
            TransferError: the failure that came, or ``TIMED_OUT`` naming what is missing.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            raise TransferError(Code.TIMED_OUT, f"{missing} did not come within {timeout_s:g} s.") from None
        self._news.clear()
        if self._failure is not None:
            raise self._failure
