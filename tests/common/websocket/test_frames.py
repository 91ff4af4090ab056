"""Frames as RFC 6455 writes them: whatever way they are cut, masked and split, the same messages come out."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_common.websocket.frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    INVALID_TEXT,
    NO_CODE,
    PING,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    Frame,
    FrameError,
    FrameReader,
    close_code_of,
    close_payload,
    server_frame,
    text_of,
)
from cart_common.websocket.frames import (
    client_frame as masked_frame,
)

MOST = 300_000
MASKS = st.one_of(st.just(bytes(4)), st.binary(min_size=4, max_size=4))
# Sizes around each change of the header and of the way of reading.
SIZES = st.one_of(
    st.integers(0, 300), st.sampled_from([125, 126, 127, 65535, 65536, 131072, 131073, 262144, 262145, MOST])
)


def length_bytes(size: int, flag: int = 0) -> bytes:
    if size < 126:
        return struct.pack("!B", flag | size)
    return struct.pack("!BH", flag | 126, size) if size < 65536 else struct.pack("!BQ", flag | 127, size)


def client_frame(opcode: int, payload: bytes, mask: bytes = b"\1\2\3\4", fin: int = 0x80) -> bytes:
    """Written here byte by byte, from the RFC."""
    pattern = mask * (len(payload) // 4 + 1)
    masked = (int.from_bytes(payload, "big") ^ int.from_bytes(pattern[: len(payload)], "big")).to_bytes(
        len(payload), "big"
    )
    return bytes([fin | opcode]) + length_bytes(len(payload), 0x80) + mask + masked


def read(reader: FrameReader, data: bytes, most: int) -> list[Frame]:
    """Feed a reader in reads of at most ``most`` bytes, with another connection's reads between them."""
    frames: list[Frame] = []
    while data and reader.error is None:
        buffer = reader.buffer()
        count = min(len(buffer), most, len(data))
        assert count > 0
        buffer[:count] = data[:count]
        frames += reader.received(count)
        data = data[count:]
        other = FrameReader(MOST)
        other.buffer()[:3] = b"\x89\x80\0"
        assert other.received(3) == []
    return frames


@given(
    messages=st.lists(st.tuples(st.sampled_from([TEXT, BINARY]), SIZES, MASKS), max_size=6),
    most=st.sampled_from([7, 1000, 65536, 200_000, 262_144]),
    seed=st.binary(min_size=1, max_size=9),
)
@settings(max_examples=80, deadline=None)
def test_messages_come_out_as_a_server_sends_them(
    messages: list[tuple[int, int, bytes]], most: int, seed: bytes
) -> None:
    payloads = [(seed * (size // len(seed) + 1))[:size] for _, size, _ in messages]
    stream = b"".join(
        client_frame(opcode, payload, mask) for (opcode, _, mask), payload in zip(messages, payloads, strict=True)
    )
    reader = FrameReader(MOST)
    frames = read(reader, stream, max(most, len(stream) // 5000))
    assert reader.error is None
    assert len(frames) == len(messages)
    for frame, payload, (opcode, size, _) in zip(frames, payloads, messages, strict=True):
        assert frame.opcode == opcode
        assert frame.payload == payload
        assert frame.data == bytes([0x80 | opcode]) + length_bytes(size) + payload == server_frame(opcode, payload)


@given(
    parts=st.lists(st.tuples(st.binary(max_size=200), MASKS, st.booleans()), min_size=2, max_size=6),
    opcode=st.sampled_from([TEXT, BINARY]),
    most=st.integers(1, 50),
)
def test_a_fragmented_message_is_put_together_around_pings(
    parts: list[tuple[bytes, bytes, bool]], opcode: int, most: int
) -> None:
    stream, pings = b"", 0
    for number, (payload, mask, pinged) in enumerate(parts):
        fin = 0x80 if number == len(parts) - 1 else 0
        stream += client_frame(CONTINUATION if number else opcode, payload, mask, fin)
        if pinged and not fin:
            stream += client_frame(PING, b"still there?")
            pings += 1
    reader = FrameReader(MOST)
    frames = read(reader, stream + client_frame(BINARY, b"next"), most)
    whole = b"".join(payload for payload, _, _ in parts)
    assert [frame.payload for frame in frames if frame.opcode == PING] == [b"still there?"] * pings
    assert [(frame.opcode, bytes(frame.payload)) for frame in frames if frame.opcode != PING] == [
        (opcode, whole),
        (BINARY, b"next"),
    ]
    assert frames[-2].data == server_frame(opcode, whole)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x82\x01x", PROTOCOL_ERROR),  # not masked
        (b"\xc2\x81\0\0\0\0x", PROTOCOL_ERROR),  # a reserved bit
        (b"\x83\x80\0\0\0\0", PROTOCOL_ERROR),  # an unknown opcode
        (b"\x09\x80\0\0\0\0", PROTOCOL_ERROR),  # a fragmented ping
        (b"\x89\xfe\0\x7e", PROTOCOL_ERROR),  # a ping of 126 bytes
        (b"\x82\xfe\0\x05", PROTOCOL_ERROR),  # a length in more bytes than it needs
        (b"\x82\xff\0\0\0\0\0\0\xff\xff", PROTOCOL_ERROR),
        (b"\x80\x80\0\0\0\0", PROTOCOL_ERROR),  # the end of a message that was never begun
        (b"\x02\x80\0\0\0\0\x82\x80\0\0\0\0", PROTOCOL_ERROR),  # a message inside another
        (b"\x82\xff" + struct.pack("!Q", MOST + 1), TOO_BIG),
        (b"\x82\xff" + b"\xff" * 8, TOO_BIG),
        (client_frame(BINARY, bytes(MOST), fin=0) + b"\x80\x81", TOO_BIG),
    ],
)
def test_what_is_no_frame_is_named(data: bytes, code: int) -> None:
    reader = FrameReader(MOST)
    assert read(reader, client_frame(TEXT, b"before") + data + bytes(20), 1000) == [
        Frame(TEXT, server_frame(TEXT, b"before"), 2)
    ]
    assert reader.error is not None
    assert reader.error.close_code == code


@given(st.binary(max_size=400), st.integers(1, 100))
@settings(max_examples=300)
def test_no_bytes_do_more_than_break_the_stream(data: bytes, most: int) -> None:
    reader = FrameReader(1000)
    for frame in read(reader, data, most):
        assert len(frame.data) <= 1010
        if frame.opcode == CLOSE:
            try:
                assert 1000 <= close_code_of(frame) < 5000
            except FrameError as error:
                assert error.close_code in (PROTOCOL_ERROR, INVALID_TEXT)


@given(st.lists(st.tuples(st.integers(0, 255), st.integers(0, 255), st.binary(max_size=20)), max_size=20))
def test_frames_with_any_header_do_no_more_than_break_the_stream(headers: list[tuple[int, int, bytes]]) -> None:
    reader = FrameReader(1000)
    frames = read(reader, b"".join(bytes([a, b]) + rest for a, b, rest in headers), 64)
    assert all(len(frame.data) <= 1010 for frame in frames)
    assert reader.error is None or reader.error.close_code in (PROTOCOL_ERROR, TOO_BIG)


def closing(payload: bytes) -> Frame:
    return Frame(CLOSE, server_frame(CLOSE, payload), 2)


def test_a_close_frame_says_its_code() -> None:
    assert close_code_of(closing(b"")) == NO_CODE
    assert close_code_of(closing(b"\x03\xe9going")) == 1001
    assert close_payload(1008, "é" * 100) == b"\x03\xf0" + "é".encode() * 61
    assert close_payload(NO_CODE) == b""


@given(SIZES, st.sampled_from([TEXT, BINARY]))
@settings(max_examples=60, deadline=None)
def test_what_a_client_writes_a_server_reads_and_the_other_way_round(size: int, opcode: int) -> None:
    payload = bytes(range(256)) * (size // 256 + 1)
    written = payload[:size]
    (taken,) = read(FrameReader(MOST), bytes(masked_frame(opcode, written)), MOST * 2)
    assert (taken.opcode, bytes(taken.payload)) == (opcode, written)
    assert bytes(taken.data) == server_frame(opcode, written)
    (back,) = read(FrameReader(MOST, masked=False), bytes(taken.data), MOST * 2)
    assert (back.opcode, bytes(back.payload)) == (opcode, written)


@given(st.lists(st.tuples(SIZES, st.booleans()), max_size=4), st.integers(1, MOST))
@settings(max_examples=60, deadline=None)
def test_a_server_is_read_whatever_way_it_is_cut(sizes: list[tuple[int, bool]], most: int) -> None:
    frames = [(BINARY if binary else TEXT, bytes([number + 1]) * size) for number, (size, binary) in enumerate(sizes)]
    data = b"".join(server_frame(opcode, payload) for opcode, payload in frames)
    came = read(FrameReader(MOST, masked=False), data, most)
    assert [(frame.opcode, bytes(frame.payload)) for frame in came] == frames


def test_each_frame_of_a_client_has_a_mask_of_its_own() -> None:
    masks = {bytes(masked_frame(TEXT, b"")[2:6]) for _ in range(50)}
    assert len(masks) == 50


def test_a_server_masks_nothing_and_a_client_everything() -> None:
    for reader, data in (
        (FrameReader(10, masked=False), masked_frame(TEXT, b"x")),
        (FrameReader(10), server_frame(1, b"x")),
    ):
        assert read(reader, bytes(data), 100) == []
        assert reader.error is not None
        assert "masked" in str(reader.error)


@pytest.mark.parametrize("payload", [b"\x03", b"\x03\xed", b"\x00\x01", b"\xff\xff", b"\x03\xe8\xff"])
def test_a_wrong_close_frame_is_named(payload: bytes) -> None:
    with pytest.raises(FrameError):
        close_code_of(closing(payload))


def test_text_that_is_not_unicode_is_named() -> None:
    assert text_of("ä".encode()) == "ä"
    with pytest.raises(FrameError) as caught:
        text_of(b"\xff\xfe")
    assert caught.value.close_code == INVALID_TEXT
