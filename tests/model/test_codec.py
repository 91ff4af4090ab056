"""The codec gives back what it was given, and nothing else gets through it."""

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

DTYPES = st.sampled_from(sorted(codec.DTYPES)).map(np.dtype)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


def payload_of(stream: bytes, buffers: list[bytes]) -> bytes:
    """Put a payload together by hand, around any pickle stream."""
    data = struct.pack("<4sII", b"CWP1", len(stream), len(buffers))
    data += b"".join(struct.pack("<Q", len(buffer)) for buffer in buffers) + stream
    for buffer in buffers:
        data += bytes(-len(data) % 64) + buffer
    return data


@given(st.lists(ARRAYS, max_size=6))
@settings(max_examples=200)
def test_what_is_encoded_is_decoded(arrays):
    decoded = codec.decode(codec.encode(arrays))
    assert len(decoded) == len(arrays)
    for before, after in zip(arrays, decoded, strict=True):
        assert before.dtype == after.dtype
        assert before.shape == after.shape
        assert before.tobytes() == after.tobytes()


def test_decoding_copies_no_array():
    payload = codec.encode([np.arange(1000, dtype=np.float32)])
    (array,) = codec.decode(payload)
    assert np.shares_memory(array, np.frombuffer(payload, np.uint8))
    assert not array.flags.writeable


def test_non_contiguous_and_big_endian_arrays():
    transposed = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert (codec.decode(codec.encode([transposed]))[0] == transposed).all()
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
        codec.decode(payload_of(stream, buffers))


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
    buffer = bytearray(size)
    stream = pickle.dumps([(*entry, pickle.PickleBuffer(buffer))], 5, buffer_callback=lambda _: None)
    fast = stream.replace(b"\x94", b"")  # no memo, as the codec writes it
    with pytest.raises(codec.CodecError):
        codec.decode(payload_of(fast, [bytes(buffer)]))


def test_limits_are_tripped():
    with pytest.raises(codec.CodecError, match="header is wrong"):
        codec.decode(struct.pack("<4sII", b"CWP1", codec.MAX_STREAM_BYTES + 1, 0) + bytes(10))
    with pytest.raises(codec.CodecError, match="header is wrong"):
        codec.decode(struct.pack("<4sII", b"CWP1", 10, codec.MAX_ARRAYS + 1) + bytes(10))
    whole = codec.encode([np.zeros(3, np.float32)])
    with pytest.raises(codec.CodecError, match="too many"):
        codec.decode(whole + b"x")
    for size in range(len(whole)):
        with pytest.raises(codec.CodecError):
            codec.decode(whole[:size])


def test_a_hundred_thousand_mutants():
    run = subprocess.run(
        [sys.executable, "-m", "tests.support.codec_fuzz", "100000", "7"], capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr[-2000:]
    decoded, refused, grown_bytes = map(int, run.stdout.split())
    assert decoded + refused == 100_000
    assert refused > 50_000
    assert grown_bytes < 64 * 1024 * 1024
