"""What a channel makes of its link: the size of chunks that suits it now."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, NEAR_CHUNK_BYTES, PROVED_BYTES, ChunkHeader
from cart_common.wire.messages import Welcome
from child_cart.transfers.channel import BridgeChannel

HEADER = ChunkHeader(bytes(16), bytes(16), bytes(16), 0, False)
WINDOW = 4 * NEAR_CHUNK_BYTES


class Nothing:
    """A link that takes everything, and a handler that ignores everything."""

    async def send_chunk(self, frame: bytearray) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def attached(channel: BridgeChannel, round_trip_s: float, max_chunk_bytes: int, max_window_bytes: int) -> None:
    welcome = SimpleNamespace(bridge_id="", max_chunk_bytes=max_chunk_bytes, max_window_bytes=max_window_bytes)
    channel.on_attached(cast(Welcome, welcome), round_trip_s)


@pytest.mark.parametrize("gives", [True, False])
async def test_a_near_link_takes_larger_chunks_once_it_has_carried_many_and_until_it_is_lost(gives: bool) -> None:
    channel = BridgeChannel("", Nothing(), Nothing())
    attached(channel, 0.001, NEAR_CHUNK_BYTES, WINDOW)
    assert channel.chunk_bytes == DEFAULT_CHUNK_BYTES
    for _ in range(PROVED_BYTES // NEAR_CHUNK_BYTES):
        assert channel.chunk_bytes == DEFAULT_CHUNK_BYTES
        if gives:
            await channel.send_chunk(bytearray(NEAR_CHUNK_BYTES))
        else:
            channel.on_chunk(HEADER, memoryview(bytes(NEAR_CHUNK_BYTES)))
    assert channel.chunk_bytes == NEAR_CHUNK_BYTES
    channel.on_lost()
    attached(channel, 0.001, NEAR_CHUNK_BYTES, WINDOW)
    assert channel.chunk_bytes == DEFAULT_CHUNK_BYTES


@pytest.mark.parametrize(
    ("round_trip_s", "max_chunk_bytes", "max_window_bytes", "chunk_bytes"),
    [
        (0.02, NEAR_CHUNK_BYTES, WINDOW, DEFAULT_CHUNK_BYTES),
        (0.001, 200_000, WINDOW, 200_000),
        (0.001, NEAR_CHUNK_BYTES, 70_000, 70_000),
        (0.02, 2048, WINDOW, 2048),
    ],
)
def test_chunks_are_no_larger_than_the_way_and_the_bridge_allow(
    round_trip_s: float, max_chunk_bytes: int, max_window_bytes: int, chunk_bytes: int
) -> None:
    channel = BridgeChannel("", Nothing(), Nothing())
    attached(channel, round_trip_s, max_chunk_bytes, max_window_bytes)
    channel.on_chunk(HEADER, memoryview(bytes(PROVED_BYTES)))
    assert channel.chunk_bytes == chunk_bytes
