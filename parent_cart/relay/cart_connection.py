"""One cart's connection: its socket, its phase, and what it may still send. What comes is handed to its owner."""

from __future__ import annotations

import asyncio
import logging
import os
from enum import StrEnum
from typing import Final, Protocol

from cart_common.websocket.fair_reading import FairReading, ReadingAccount
from cart_common.websocket.frames import Frame, FrameError
from cart_common.websocket.send_queue import SendQueue
from cart_common.websocket.socket import WebSocket

from ..bridge.allowance import Allowance

log = logging.getLogger("bridge.relay")
MAX_ATTACH_BYTES: Final = 4 * 1024  # a cart that has proved nothing gets little memory; an ATTACH has below 1 KB


class Phase(StrEnum):
    """The life of a connection."""

    GREETED = "GREETED"
    ATTACHED = "ATTACHED"
    LEAVING = "LEAVING"


TRANSITIONS: Final = {
    Phase.GREETED: {Phase.ATTACHED, Phase.LEAVING},
    Phase.ATTACHED: {Phase.LEAVING},
    Phase.LEAVING: set[Phase](),
}


class ConnectionOwner(Protocol):
    """Takes what arrives on the connections of carts."""

    fair_reading: FairReading
    """Shared by all connections."""

    def take(self, connection: CartConnection, messages: list[Frame], frames: int, read_bytes: int) -> None:
        """Take messages in the order in which they came, and how much was read for them."""

    def note_waiting(self, connection: CartConnection) -> None:
        """Take note that the cart has read some of what waits for it."""

    def break_protocol(self, connection: CartConnection, error: FrameError) -> None:
        """Take note that the cart does not keep to RFC 6455."""

    def forget(self, connection: CartConnection, reason: str) -> None:
        """Take note that the connection is gone."""


class CartConnection:
    """One cart's connection.

    Args:
        owner: takes what arrives.
        address: the cart's IP address.
        send_queue: what waits to be written.
        allowance: what the cart may still send until it has attached; then that of its account counts.
        account: to which the time that it costs is charged.
    """

    __slots__ = (
        "_owner",
        "address",
        "allowance",
        "attach_timer",
        "cart_id",
        "keeps_transfers",
        "nonce",
        "phase",
        "replaced_from",
        "socket",
    )

    def __init__(
        self,
        owner: ConnectionOwner,
        address: str,
        send_queue: SendQueue,
        allowance: Allowance,
        account: ReadingAccount | None = None,
    ) -> None:
        self._owner = owner
        self.address = address
        self.allowance = allowance
        self.phase = Phase.GREETED
        self.nonce = os.urandom(32)
        """What the cart signs to attach."""
        self.cart_id = ""
        self.keeps_transfers = True
        """Whether the cart's transfers wait for it to come back when the connection is gone."""
        self.replaced_from = ""
        """The address from which the same cart attached again while this link was open; empty if it did not."""
        self.attach_timer: asyncio.TimerHandle | None = None
        self.socket = WebSocket(self, MAX_ATTACH_BYTES, send_queue, owner.fair_reading, account)

    def move_to(self, phase: Phase) -> None:
        """Change the phase; the only place where it changes."""
        if phase not in TRANSITIONS[self.phase]:
            raise RuntimeError(f"A connection does not go from {self.phase} to {phase}.")
        log.debug("%s: %s -> %s", self.address, self.phase, phase)
        self.phase = phase
        if self.attach_timer is not None:  # it has attached, or never will
            self.attach_timer.cancel()
            self.attach_timer = None

    @property
    def send_queue(self) -> SendQueue:
        """What waits to be written."""
        return self.socket.send_queue

    def check_alive(self, now: float, heartbeat_s: float) -> None:
        """Ping a cart that was silent for ``heartbeat_s``; break the link of one that does not answer.

        Args:
            now: by the clock of the event loop.
            heartbeat_s: seconds; half of them more are left for the answer.
        """
        silent_s = now - self.socket.heard_at
        if silent_s < heartbeat_s or self.socket.closing or not self.socket.is_listening:
            return
        if not self.socket.pinged:
            self.socket.ping()
        elif silent_s > 1.5 * heartbeat_s:
            log.info("cart %s does not answer pings", self.cart_id)
            self.abort()

    def abort(self) -> None:
        """Break the link at once."""
        self.socket.abort()

    # What the socket calls.

    def on_read(self, messages: list[Frame], frames: int, read_bytes: int) -> None:
        """Take what was read."""
        self._owner.take(self, messages, frames, read_bytes)

    def on_drained(self) -> None:
        """Let the owner know that there is room."""
        self._owner.note_waiting(self)

    def on_error(self, error: FrameError) -> None:
        """Let a cart go that does not speak WebSocket."""
        self._owner.break_protocol(self, error)

    def on_lost(self, reason: str) -> None:
        """Forget the connection."""
        self._owner.forget(self, reason)
