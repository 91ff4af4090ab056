"""One link as transfers use it: the way out, the limits of the bridge behind it, and the requests to that bridge.

A cart has one channel to the bridge that it is attached to, and one to each other bridge that it visits.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from math import inf
from typing import Final, Protocol

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, ChunkHeader, chunk_bytes_over
from cart_common.wire.messages import (
    MAX_SENTENCE_CHARS,
    Cancel,
    Code,
    ErrorMessage,
    Found,
    Message,
    PeerList,
    Welcome,
)

from ..network.link_interface import LinkDown, MessageSender
from .bridge_requests import BridgeRequests

# How many transfers hold a sealed chunk at the same time: each may have half a megabyte.
CHUNKS_AT_ONCE: Final = 16


class ChannelHandler(Protocol):
    """Gets what arrives on channels and belongs to transfers."""

    def attached(self, channel: BridgeChannel) -> None:
        """Handle a new link of this channel."""

    def arrived(self, channel: BridgeChannel, message: Message) -> None:
        """Handle a control message."""

    def chunk_arrived(self, channel: BridgeChannel, header: ChunkHeader, payload: memoryview) -> None:
        """Handle a chunk."""

    def lost(self, channel: BridgeChannel) -> None:
        """Handle the loss of this channel's link."""


class BridgeChannel:
    """The handler of one link. It keeps answers of the bridge to itself and hands the rest to the transfers.

    Args:
        cart_id: this cart's, in hexadecimal.
        link: sends messages and chunks.
        handler: gets what belongs to transfers.

    Attributes:
        requests: this cart's requests to the bridge.
        is_attached: whether the link is attached.
        bridge_id: the bridge's, in hexadecimal; empty before the first attachment.
        max_window_bytes: how far the bridge lets a sender run ahead.
        turns: who sends a chunk holds one from sealing to sending.
    """

    def __init__(self, cart_id: str, link: MessageSender, handler: ChannelHandler) -> None:
        self.link = link
        self.requests = BridgeRequests(cart_id, link)
        self.turns = asyncio.Semaphore(CHUNKS_AT_ONCE)
        self.is_attached = False
        self.bridge_id = ""
        self.max_window_bytes = DEFAULT_CHUNK_BYTES
        self._max_chunk_bytes = DEFAULT_CHUNK_BYTES
        self._round_trip_s = inf
        self._carried_bytes = 0
        self._handler = handler

    @property
    def chunk_bytes(self) -> int:
        """The size of chunks that suits the link now."""
        most = min(self._max_chunk_bytes, self.max_window_bytes)
        return min(chunk_bytes_over(self._round_trip_s, self._carried_bytes), most)

    async def send_chunk(self, frame: bytearray) -> None:
        """Send a chunk frame, after waiting for its turn; raises ``LinkDown``."""
        await self.link.send_chunk(frame)
        self._carried_bytes += len(frame)

    def cancel(self, transfer_id: str, code: Code, sentence: str) -> None:
        """Tell the other cart that a transfer is over, if there is a link."""
        with suppress(LinkDown):
            self.link.send(Cancel(transfer_id, code, sentence[:MAX_SENTENCE_CHARS]))

    # What the link calls.

    def on_attached(self, welcome: Welcome, round_trip_s: float) -> None:
        """Take the bridge's limits, and start to measure what the link carries."""
        self.is_attached = True
        self.bridge_id = welcome.bridge_id
        self.max_window_bytes = welcome.max_window_bytes
        self._max_chunk_bytes = welcome.max_chunk_bytes
        self._round_trip_s, self._carried_bytes = round_trip_s, 0
        self._handler.attached(self)

    def on_message(self, message: Message) -> None:
        """Keep an answer of the bridge; hand on a message of a transfer."""
        if isinstance(message, PeerList | Found | ErrorMessage):
            self.requests.take_answer(message)
        else:
            self._handler.arrived(self, message)

    def on_chunk(self, header: ChunkHeader, payload: memoryview) -> None:
        """Hand on a chunk."""
        self._carried_bytes += len(payload)
        self._handler.chunk_arrived(self, header, payload)

    def on_lost(self) -> None:
        """End the requests that wait, and let the transfers wait for the next link."""
        self.is_attached = False
        self.requests.lose_link()
        self._handler.lost(self)
