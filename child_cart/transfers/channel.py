"""One link as the transfers use it: the way out, the limits of the bridge behind it, and what is asked of that bridge.

A cart has one for the bridge that it is attached to, and one for each other bridge that it visits.
"""

from __future__ import annotations

from math import inf
from typing import Protocol

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, ChunkHeader, chunk_bytes_over
from cart_common.wire.messages import Message, Welcome

from .active import MessageSender
from .bridge_requests import BridgeRequests


class ChannelHandler(Protocol):
    """Who is told what arrives at which port."""

    def attached(self, port: BridgeChannel) -> None:
        """Take note that messages can be sent."""

    def arrived(self, port: BridgeChannel, message: Message) -> None:
        """Take a control message."""

    def chunk_arrived(self, port: BridgeChannel, header: ChunkHeader, payload: memoryview) -> None:
        """Take a chunk."""

    def lost(self, port: BridgeChannel) -> None:
        """Take note that the link is gone."""


class BridgeChannel:
    """A link's handler, and what transfers need to know of the link.

    Args:
        cart_id: this cart's, in hexadecimal.
        link: sends messages and chunks.
        taker: is told what arrives.
    """

    def __init__(self, cart_id: str, link: MessageSender, taker: ChannelHandler) -> None:
        self.link = link
        self.clusters = BridgeRequests(cart_id, link)
        self.is_attached = False
        self.bridge_id = ""
        self.max_window_bytes = DEFAULT_CHUNK_BYTES
        self._max_chunk_bytes = DEFAULT_CHUNK_BYTES
        self._round_trip_s = inf
        self._carried_bytes = 0
        self._taker = taker

    @property
    def chunk_bytes(self) -> int:
        """The size of chunks that suits the link now."""
        most = min(self._max_chunk_bytes, self.max_window_bytes)
        return min(chunk_bytes_over(self._round_trip_s, self._carried_bytes), most)

    async def send_chunk(self, frame: bytearray) -> None:
        """Send a chunk when it is its turn; raises ``LinkDown``."""
        await self.link.send_chunk(frame)
        self._carried_bytes += len(frame)

    def on_attached(self, welcome: Welcome, round_trip_s: float) -> None:
        """Take the bridge's limits, and begin to see what the way there bears."""
        self.is_attached = True
        self.bridge_id = welcome.bridge_id
        self.max_window_bytes = welcome.max_window_bytes
        self._max_chunk_bytes = welcome.max_chunk_bytes
        self._round_trip_s, self._carried_bytes = round_trip_s, 0
        self._taker.attached(self)

    def on_message(self, message: Message) -> None:
        """Pass on a control message."""
        self._taker.arrived(self, message)

    def on_chunk(self, header: ChunkHeader, payload: memoryview) -> None:
        """Pass on a chunk."""
        self._carried_bytes += len(payload)
        self._taker.chunk_arrived(self, header, payload)

    def on_lost(self) -> None:
        """Tell all who wait for an answer that none will come."""
        self.is_attached = False
        self.clusters.lose_link()
        self._taker.lost(self)
