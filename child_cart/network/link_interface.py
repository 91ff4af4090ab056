"""What a link offers to those who use it, and what it expects of them. Transfers know a link by this alone."""

from __future__ import annotations

from typing import Protocol

from cart_common.wire.chunk import ChunkHeader
from cart_common.wire.messages import Message, Welcome


class LinkDown(Exception):
    """The cart is not attached, so nothing can be sent."""


class MessageSender(Protocol):
    """Sends over a link."""

    def send(self, message: Message) -> None:
        """Send a control message; raises ``LinkDown``."""

    async def send_chunk(self, frame: bytearray) -> None:
        """Send a chunk frame, after waiting for its turn; raises ``LinkDown``."""


class LinkHandler(Protocol):
    """Gets what arrives on a link."""

    def on_attached(self, welcome: Welcome, round_trip_s: float) -> None:
        """Handle a new attachment; ``round_trip_s`` is how long the bridge took to answer."""

    def on_message(self, message: Message) -> None:
        """Handle a control message."""

    def on_chunk(self, header: ChunkHeader, payload: memoryview) -> None:
        """Handle a chunk."""

    def on_lost(self) -> None:
        """Handle the loss of the link, and of everything under way on it."""
