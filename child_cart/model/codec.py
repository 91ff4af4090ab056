"""Weights to bytes and back.

The bytes of a peer are hostile: decoding gives plain arrays or a ``CodecError``, in bounded memory, and looks up no
name.

The payload is a small pickle (protocol 5, PEP 574) of ``(dtype, shape, buffer)`` per array, followed by the buffers, so
decoding copies no array. The pickle's opcodes are checked against an allow-list before it is loaded: an unpickler that
only rejects unknown names can still be crashed, or made to take gigabytes by nine bytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from typing import Any, Final, NoReturn

import numpy as np

from .arrays import Array, Weights

MAX_ARRAYS: Final = 4096
MAX_DIMENSIONS: Final = 8
MAX_STREAM_BYTES: Final = 1024 * 1024
DTYPES: Final = frozenset({"<f2", "<f4", "<f8", "|i1", "|u1", "<i2", "<i4", "<i8"})

_MAGIC: Final = b"CWP1"
_PREFIX: Final = struct.Struct("<4sII")  # magic, bytes of the pickle, number of buffers
_LENGTH: Final = struct.Struct("<Q")
_ALIGNMENT: Final = 64
_OPCODES: Final = frozenset(
    {
        *("PROTO", "FRAME", "MARK", "STOP", "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_TUPLE"),
        *("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "SHORT_BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1"),
        *("NEXT_BUFFER", "READONLY_BUFFER"),
    }
)


class CodecError(ValueError):
    """Bytes that are not a payload of this codec."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise CodecError(f"The payload names {module}.{name}; no name is ever looked up.")

    def persistent_load(self, _: Any) -> NoReturn:
        raise CodecError("The payload refers to an object outside of it.")


def encode(weights: Weights) -> bytes:
    """Return the payload of these arrays.

    Raises:
        CodecError: for a dtype that is not allowed on the wire.
    """
    buffers: list[pickle.PickleBuffer] = []
    arrays = [np.asarray(array, order="C") for array in weights]
    for array in arrays:
        if array.dtype.str not in DTYPES:
            raise CodecError(f"An array has dtype {array.dtype}; allowed are {', '.join(sorted(DTYPES))}.")
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=5, buffer_callback=buffers.append)
    pickler.fast = True  # no memo, so the reader need not allow memo opcodes
    # Flat bytes: the buffer of a zero-dimensional array cannot be sliced.
    flat = [array.reshape(-1).view(np.uint8) for array in arrays]
    entries = [(a.dtype.str, tuple(a.shape), pickle.PickleBuffer(f.data)) for a, f in zip(arrays, flat, strict=True)]
    pickler.dump(entries)
    pickled = stream.getvalue()
    raws = [buffer.raw() for buffer in buffers]
    parts: list[bytes | memoryview] = [_PREFIX.pack(_MAGIC, len(pickled), len(raws))]
    parts += [_LENGTH.pack(raw.nbytes) for raw in raws]
    parts.append(pickled)
    end = sum(len(part) for part in parts)
    for raw in raws:
        padding = -end % _ALIGNMENT
        parts += [bytes(padding), raw]
        end += padding + raw.nbytes
    return b"".join(parts)


def decode(payload: bytes | memoryview) -> list[Array]:
    """Return the arrays of a payload, as read-only views into it.

    Raises:
        CodecError: if the bytes are not a valid payload.
    """
    view = memoryview(payload).toreadonly()
    stream, buffers = _take_apart(view)
    _scan(stream)
    try:
        loaded = _PlainUnpickler(io.BytesIO(stream), buffers=buffers).load()
    except CodecError:
        raise
    except Exception as error:  # the unpickler may raise anything; the payload is at fault
        raise CodecError(f"The payload cannot be read ({type(error).__name__}).") from None
    if type(loaded) is not list or len(loaded) != len(buffers):
        raise CodecError("The payload is not a list with one entry for each of its buffers.")
    try:
        return [_array_of(entry) for entry in loaded]
    except ValueError as error:  # NumPy's own limits, such as the product of sides beside a 0
        raise error if isinstance(error, CodecError) else CodecError(f"An array cannot be made ({error}).") from None


def _take_apart(view: memoryview) -> tuple[bytes, list[memoryview]]:
    if len(view) < _PREFIX.size:
        raise CodecError(f"The payload has {len(view)} bytes; that is less than its header.")
    magic, stream_bytes, count = _PREFIX.unpack_from(view)
    if magic != _MAGIC or stream_bytes > MAX_STREAM_BYTES or count > MAX_ARRAYS:
        raise CodecError("The payload's header is wrong.")
    start = _PREFIX.size + count * _LENGTH.size
    end = start + stream_bytes
    if end > len(view):
        raise CodecError("The payload is cut off.")
    lengths = [_LENGTH.unpack_from(view, _PREFIX.size + place * _LENGTH.size)[0] for place in range(count)]
    buffers = []
    stream = bytes(view[start:end])
    for length in lengths:
        begin = end + -end % _ALIGNMENT
        end = begin + length
        if end > len(view):
            raise CodecError("The payload is cut off.")
        buffers.append(view[begin:end])
    if end != len(view):
        raise CodecError(f"The payload has {len(view) - end} bytes too many.")
    return stream, buffers


def _scan(stream: bytes) -> None:
    """Reject a pickle with an opcode that plain tuples, texts, numbers and buffers do not need."""
    try:
        for opcode, _, position in pickletools.genops(stream):
            if opcode.name not in _OPCODES:
                raise CodecError(f"The payload's pickle has the opcode {opcode.name}, which is not allowed.")
            if opcode.name == "STOP" and position != len(stream) - 1:
                raise CodecError("The payload's pickle has bytes behind its end.")
    except ValueError as error:
        if isinstance(error, CodecError):
            raise
        raise CodecError("The payload's pickle is malformed.") from None


def _array_of(entry: object) -> Array:
    if type(entry) is not tuple or len(entry) != 3:
        raise CodecError("An array of the payload is not (dtype, shape, buffer).")
    dtype, shape, buffer = entry
    if type(dtype) is not str or dtype not in DTYPES:
        raise CodecError("An array of the payload has a dtype that is not allowed.")
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise CodecError("An array of the payload has a shape that is not allowed.")
    if not all(type(side) is int and 0 <= side < 2**48 for side in shape):
        raise CodecError("An array of the payload has a shape that is not allowed.")
    if type(buffer) is not memoryview or math.prod(shape) * np.dtype(dtype).itemsize != buffer.nbytes:
        raise CodecError("An array of the payload does not fit its buffer.")
    return np.frombuffer(buffer, dtype).reshape(shape)
