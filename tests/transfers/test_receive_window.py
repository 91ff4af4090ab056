"""How far a sender runs ahead: enough to fill the path, and no more than that. A simulated path, no clock."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES
from child_cart.transfers.receive_window import ReceiveWindow

KIB = 1024
CHUNK = DEFAULT_CHUNK_BYTES


def run_over_path(window: ReceiveWindow, total_bytes: int, rate_bytes_per_s: float, trip_s: float) -> tuple[float, int]:
    """Return the seconds that a transfer takes over a path of this rate and round trip, and the most that was ahead.

    The narrowest place serves one chunk after another; credit takes the whole round trip to come back as chunks.
    """
    now_s = free_at_s = 0.0
    received = granted = sent = most_ahead = 0
    under_way: deque[tuple[float, int]] = deque()
    while received < total_bytes:
        wanted = min(received + window.size_bytes, total_bytes)
        if wanted > granted and granted - received <= window.size_bytes * 2 // 3:
            window.note_grant(granted, now_s)
            granted = wanted
            while sent < granted and (sent + CHUNK <= granted or granted == total_bytes):
                size = min(CHUNK, total_bytes - sent)
                sent += size
                free_at_s = max(free_at_s, now_s + trip_s) + size / rate_bytes_per_s
                under_way.append((free_at_s, sent))
        most_ahead = max(most_ahead, granted - received)
        now_s, received = under_way.popleft()
        window.note_arrival(received, now_s)
    return now_s, most_ahead


@pytest.mark.parametrize(
    ("rate_bytes_per_s", "trip_s"), [(500e3, 0.2), (500e3, 0.4), (2e6, 0.1), (10e6, 0.05), (300e6, 0.001)]
)
def test_a_path_is_filled(rate_bytes_per_s: float, trip_s: float) -> None:
    total_bytes = int(rate_bytes_per_s * 10)
    took_s, _ = run_over_path(ReceiveWindow(CHUNK, 1024 * KIB), total_bytes, rate_bytes_per_s, trip_s)
    assert total_bytes / took_s > 0.9 * rate_bytes_per_s


def test_a_narrow_path_is_not_flooded() -> None:
    _, most_ahead = run_over_path(ReceiveWindow(CHUNK, 64 * 1024 * KIB), 5_000_000, 500e3, 0.2)
    assert most_ahead <= 640 * KIB  # 1.2 s of this path, where the round trip of a chunk is 0.46 s


def test_a_first_window_of_large_chunks_grows_by_what_has_come() -> None:
    window = ReceiveWindow(512 * KIB, 8192 * KIB)
    window.note_arrival(512 * KIB, 1.0)
    assert window.size_bytes == 1024 * KIB
    window.note_arrival(1024 * KIB, 1.001)
    assert window.size_bytes == 1536 * KIB


@given(chunk=st.integers(1, 2**20), most=st.integers(1, 2**24), steps=st.lists(st.integers(0, 2**22), max_size=30))
def test_a_window_stays_within_its_limits(chunk: int, most: int, steps: list[int]) -> None:
    window, position, now_s = ReceiveWindow(chunk, most), 0, 0.0
    for step in steps:
        window.note_grant(position, now_s)
        position, now_s = position + step, now_s + 0.003
        window.note_arrival(position, now_s)
        assert min(chunk, most) <= window.size_bytes <= max(chunk, most)
    window.limit_to(chunk)
    assert window.size_bytes == chunk
