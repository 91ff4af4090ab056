"""What a cart is to its peers: its role, the model that it gives, what it takes, and what its bridge knows of that."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Protocol

from cart_common.wire.messages import Code, Role

from ..config import SettingsBook, exchange_limits
from ..model.precision import CODECS, PLAIN
from ..network.handshake import Standing
from ..network.link_interface import LinkDown
from ..transfers.assembly import TransferError
from ..transfers.limits import ExchangeLimits
from ..transfers.outgoing import Offerable
from .versions import Versions


class Announces(Protocol):
    """The part of the link that sharing uses."""

    def announce(self, standing: Standing) -> None:
        """Tell the bridge the cart's role and model version; raises ``LinkDown``."""


class Sharing:
    """The cart's side towards its peers; the ``ModelSource`` of its exchange.

    Args:
        book: says whether the cart shares at all, and the limits of transfers.
        versions: the newest one is given to peers.
        link: tells the bridge.

    Attributes:
        role: what the cart is to its peers now.
        role_since: since when, by the monotonic clock.
        model_known: set as soon as the model's signature is known, so that the cart can attach.
    """

    def __init__(self, book: SettingsBook, versions: Versions, link: Announces) -> None:
        self._book = book
        self._versions = versions
        self._link = link
        self._signature = self._task = ""
        self._not_training = asyncio.Event()
        self._not_training.set()
        self.role = Role.SHELL
        self.role_since = time.monotonic()
        self.model_known = asyncio.Event()

    @property
    def is_on(self) -> bool:
        """Whether the operator lets the cart share models."""
        return self._book.current.sharing == "on"

    # What the bridge is told.

    def become(self, role: Role) -> None:
        """Take a role, and tell the bridge of it and of the newest version."""
        if role is not self.role:
            self.role, self.role_since = role, time.monotonic()
        self.announce()

    def take_signature(self) -> None:
        """Take the signature of the newest version: all later versions have the same."""
        newest = self._versions.newest
        self._signature, self._task = newest.signature, task_digest(newest.task)
        self.announce()
        self.model_known.set()

    def announce(self) -> None:
        """Tell the bridge the present role and version."""
        version = self._versions.current
        # A bridge gives no peer a cart without a trained version; while sharing is paused, this cart counts as one.
        number = version.number if version and self.is_on else 0
        with suppress(LinkDown):  # the next attach tells it
            self._link.announce(Standing(self.role, self._signature, number, self._task))

    # What transfers ask: ModelSource.

    async def offer(self, read: Collection[str] = (PLAIN,)) -> Offerable | None:
        """Return the newest version for a peer that reads these codecs, or None while there is no trained one.

        A request during a training waits for its result: peers average for what a cart has just learned, and old
        versions dilute it.

        Raises:
            TransferError: while sharing is paused.
        """
        if not self.is_on:
            raise TransferError(Code.NO_MODEL, "This cart shares no models now: its operator has paused that.")
        await self.training_done(self._book.current.answer_timeout_s / 3)
        return await self._versions.offerable(read)

    @property
    def wanted(self) -> tuple[str, Collection[str]]:
        """The model signature that an incoming model must have, and the codecs that it may have."""
        return self._signature, CODECS

    @property
    def limits(self) -> ExchangeLimits:
        """The limits that hold now."""
        limits = exchange_limits(self._book.current)
        # A transfer may take as long as its size allows: one of a huge made-up size would hold up the round for hours.
        return replace(limits, max_model_bytes=min(limits.max_model_bytes, self._versions.most_encoded_bytes()))

    @contextmanager
    def training(self) -> Iterator[None]:
        """Mark a block as training, for whose result requests wait."""
        self._not_training.clear()
        try:
            yield
        finally:
            self._not_training.set()

    async def training_done(self, most_s: float) -> None:
        """Wait until no training runs, for this many seconds at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await self._not_training.wait()


def task_digest(task_name: str) -> str:
    """Return what a bridge is told of a task: 16 bytes of SHA-256 of its name, in hexadecimal."""
    return hashlib.sha256(task_name.encode()).hexdigest()[:32]
