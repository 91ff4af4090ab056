"""The codec gives back what it was given, and nothing else gets through it."""

import io
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from child_cart.model import codec
from child_cart.model.precision import Precision, payload_of

ROOM_BYTES = 1 << 30
ARRAY_REFUSED = r"[Aa]n array|quantised array|opcode NEWTRUE"
DTYPES = st.sampled_from(sorted(codec.DTYPES)).map(np.dtype)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


def payload_of_stream(stream: bytes, buffers: list[bytes]) -> bytes:
    """Put a payload together by hand, around any pickle stream."""
    data = struct.pack("<4sII", b"CWP1", len(stream), len(buffers))
    data += b"".join(struct.pack("<Q", len(buffer)) for buffer in buffers) + stream
    for buffer in buffers:
        data += bytes(-len(data) % 64) + buffer
    return data


@given(st.lists(ARRAYS, max_size=6))
@settings(max_examples=200)
def test_what_is_encoded_is_decoded(arrays):
    decoded = codec.decode(codec.encode(arrays), ROOM_BYTES)
    assert len(decoded) == len(arrays)
    for before, after in zip(arrays, decoded, strict=True):
        assert before.dtype == after.dtype
        assert before.shape == after.shape
        assert before.tobytes() == after.tobytes()


def test_decoding_copies_no_array():
    payload = codec.encode([np.arange(1000, dtype=np.float32)])
    (array,) = codec.decode(payload, ROOM_BYTES)
    assert np.shares_memory(array, np.frombuffer(payload, np.uint8))
    assert not array.flags.writeable


def test_non_contiguous_and_big_endian_arrays():
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert (codec.decode(codec.encode([transposed]), ROOM_BYTES)[0] == transposed).all()
    with pytest.raises(codec.CodecError, match=">f4"):
        codec.encode([np.zeros(3, ">f4")])
    with pytest.raises(codec.CodecError, match="object"):
        codec.encode([np.array([object()])])


class Evil:
    def __reduce__(self):
        return os.system, ("echo evil",)


@pytest.mark.parametrize(
    ("stream", "buffers"),
    [
        (pickle.dumps(Evil(), 5), []),
        (pickle.dumps(np.zeros(3), 5), []),
        (pickle.dumps({}, 5), []),
        (pickle.dumps([1.5], 5), [b"x"]),
        (b"\x80\x05]r\xff\xff\xff\x0f.", []),  # a memo index that would take a gigabyte
        (b"\x80\x05].trailing", []),
        (b"\x80\x05(1.", []),
        (b"\x80\x05\x97.", []),
        (b"\x80\x05\x97\x97.", [b"x"]),
        (b"\x80\x05" + b")\x85" * 3 + b".", []),
        (b"", []),
        (pickle.dumps([], 5), [b"abc"]),
    ],
)
def test_hostile_pickles_are_refused(stream, buffers):
    with pytest.raises(codec.CodecError):
        codec.decode(payload_of_stream(stream, buffers), ROOM_BYTES)


@pytest.mark.parametrize(
    ("entry", "size"),
    [
        (("<f4", (3,)), 11),
        (("<f4", (2**40, 2**40)), 4),
        (("<f4", (-1,)), 4),
        (("<f4", (0, 2**47, 2**47)), 0),
        (("<f4", (True,)), 4),
        (("<f4", tuple([1] * 9)), 4),
        (("|O", (1,)), 8),
        (("<U1", (1,)), 4),
        (("f4", (1,)), 4),
        ((4, (1,)), 4),
        (("<f4", [1]), 4),
    ],
)
def test_arrays_that_do_not_fit_are_refused(entry, size):
    buffer = bytes(size)
    with pytest.raises(codec.CodecError, match=ARRAY_REFUSED):
        codec.decode(payload_of_stream(entry_stream(entry, buffer), [buffer]), ROOM_BYTES)


MATRIX = np.linspace(-3, 3, 51, dtype=np.float32).reshape(17, 3)
SCALES = bytes([0, 0x3F] * 3)  # 0.5 each, as the upper halves of float32 numbers


@pytest.mark.parametrize(
    ("entry", "buffer"),
    [
        (("int8", (17, 3), 3), SCALES + bytes(50)),
        (("int8", (17, 3), 3), SCALES + bytes(52)),
        (("int4", (17, 3), 3), SCALES + bytes(25)),
        (("int8", (17, 3), 0), bytes(51)),
        (("int8", (17, 3), -1), SCALES + bytes(51)),
        (("int8", (17, 3), 2), SCALES[:4] + bytes(51)),
        (("int8", (17, 3), True), SCALES[:2] + bytes(51)),
        (("int8", (0, 3), 3), SCALES),
        (("int8", (2**40, 2**40), 3), SCALES),
        (("int8", [17, 3], 3), SCALES + bytes(51)),
        (("int2", (17, 3), 3), SCALES + bytes(51)),
        (("<f4", (17, 3), 3), SCALES + bytes(51)),
        ((8, (17, 3), 3), SCALES + bytes(51)),
        *((("int8", (17, 3), 3), SCALES[:4] + scale + bytes(51)) for scale in (b"\0\0", b"\0\xbf", b"\x80\x7f")),
        *((("int8", (17, 3), 3), SCALES[:4] + scale + bytes(51)) for scale in (b"\xc0\x7f", b"\x7f\x7f", b"\0\x80")),
    ],
)
def test_quantised_arrays_that_do_not_fit_are_refused(entry, buffer):
    good = entry_stream(("int8", (17, 3), 3), SCALES + bytes(51))
    assert not codec.decode(payload_of_stream(good, [SCALES + bytes(51)]), ROOM_BYTES)[0].any()
    with pytest.raises(codec.CodecError, match=ARRAY_REFUSED):
        codec.decode(payload_of_stream(entry_stream(entry, buffer), [buffer]), ROOM_BYTES)


def entry_stream(entry, buffer):
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, 5, buffer_callback=lambda _: None)
    pickler.fast = True  # no memo, as the codec writes it
    pickler.dump([(*entry, pickle.PickleBuffer(bytearray(buffer)))])
    return stream.getvalue()


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.INT4])
def test_memory_is_bounded_before_arrays_are_made(precision):
    payload = payload_of([MATRIX, MATRIX], precision)
    assert len(codec.decode(payload, 2 * MATRIX.nbytes)) == 2
    with pytest.raises(codec.CodecError, match="408 bytes of memory, more than 407"):
        codec.decode(payload, 2 * MATRIX.nbytes - 1)
    # Plain arrays are views of the payload.
    assert len(codec.decode(payload_of([MATRIX], Precision.FULL), 0)) == 1


def test_limits_are_tripped():
    with pytest.raises(codec.CodecError, match="header is wrong"):
        codec.decode(struct.pack("<4sII", b"CWP1", codec.MAX_STREAM_BYTES + 1, 0) + bytes(10), ROOM_BYTES)
    with pytest.raises(codec.CodecError, match="header is wrong"):
        codec.decode(struct.pack("<4sII", b"CWP1", 10, codec.MAX_ARRAYS + 1) + bytes(10), ROOM_BYTES)
    whole = codec.encode([np.zeros(3, np.float32)])
    with pytest.raises(codec.CodecError, match="too many"):
        codec.decode(whole + b"x", ROOM_BYTES)
    for size in range(len(whole)):
        with pytest.raises(codec.CodecError):
            codec.decode(whole[:size], ROOM_BYTES)


def test_a_hundred_thousand_mutants():
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.codec_fuzz", "100000", "7"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    decoded, refused, grown_bytes = map(int, run.stdout.split())
    assert decoded + refused == 100_000
    assert refused > 50_000
    assert grown_bytes < 64 * 1024 * 1024
