"""The binary header: what is packed comes out again, and nothing else is taken for a chunk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.chunk import (
    HEADER_BYTES,
    MAX_CHUNK_BYTES,
    MAX_SEQUENCE,
    SEAL_BYTES,
    ChunkError,
    ChunkHeader,
    chunk_bytes_over,
    pack_header,
    unpack_header,
)

ids = st.binary(min_size=16, max_size=16)
headers = st.builds(ChunkHeader, ids, ids, ids, st.integers(0, MAX_SEQUENCE), st.booleans())


@given(headers, st.binary(min_size=1, max_size=300))
def test_a_chunk_comes_out_as_it_was_packed(header: ChunkHeader, payload: bytes) -> None:
    frame = pack_header(header) + payload + bytes(SEAL_BYTES)
    assert unpack_header(frame) == header
    assert frame[HEADER_BYTES:-SEAL_BYTES] == payload


def test_the_layout_is_the_one_of_the_protocol() -> None:
    frame = pack_header(ChunkHeader(b"s" * 16, b"d" * 16, b"t" * 16, 0x01020304, True)) + b"payload" + bytes(SEAL_BYTES)
    assert frame == b"\1\1\1\0" + b"s" * 16 + b"d" * 16 + b"t" * 16 + b"\1\2\3\4" + b"payload" + bytes(16)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_chunk_or_a_chunk_error(frame: bytes) -> None:
    try:
        header = unpack_header(frame)
    except ChunkError:
        return
    assert frame[:2] == b"\1\1"
    assert len(header.source) == len(header.destination) == len(header.transfer) == 16


@pytest.mark.parametrize("at", [0, 1, 2])
@given(header=headers, value=st.integers(2, 255))
def test_another_version_kind_or_flag_is_refused(at: int, header: ChunkHeader, value: int) -> None:
    frame = bytearray(pack_header(header) + b"x" + bytes(SEAL_BYTES))
    frame[at] = value
    with pytest.raises(ChunkError, match=str(value)):
        unpack_header(bytes(frame))


def test_chunks_are_larger_over_a_short_way_that_has_carried_many() -> None:
    assert chunk_bytes_over(0.001, 8 * 1024 * 1024) == 512 * 1024
    assert chunk_bytes_over(0.001, 8 * 1024 * 1024 - 1) == chunk_bytes_over(0.1, 1 << 40) == 128 * 1024


@pytest.mark.parametrize("payload_bytes", [0, MAX_CHUNK_BYTES + 1])
def test_an_empty_or_too_long_payload_is_refused_with_its_length(payload_bytes: int) -> None:
    frame = pack_header(ChunkHeader(bytes(16), bytes(16), bytes(16), 0, False)) + bytes(payload_bytes + SEAL_BYTES)
    with pytest.raises(ChunkError, match=str(len(frame))):
        unpack_header(frame)


def test_the_longest_payload_is_taken() -> None:
    frame = pack_header(ChunkHeader(bytes(16), bytes(16), bytes(16), 0, False)) + bytes(MAX_CHUNK_BYTES + SEAL_BYTES)
    assert unpack_header(frame).sequence == 0
