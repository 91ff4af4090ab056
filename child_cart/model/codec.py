"""Weights to bytes and back.

The bytes of a peer are hostile: decoding gives plain arrays or a ``CodecError``, in bounded memory, and looks up no
name.

The payload is a small pickle (protocol 5, PEP 574) of ``(dtype, shape, buffer)`` per array, followed by the buffers, so
decoding copies no array; a quantised array is ``(kind, shape, channels, buffer)``. The pickle's opcodes are checked
against an allow-list before it is loaded: an unpickler that only rejects unknown names can still be crashed, or made to
take gigabytes by nine bytes.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import numpy as np

from .arrays import Array
from .quantisation import BITS, QuantisationError, Quantised

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


def encode(weights: Sequence[Array | Quantised]) -> bytes:
    """Return the payload of these arrays.

    Raises:
        CodecError: for a dtype that is not allowed on the wire.
    """
    buffers: list[pickle.PickleBuffer] = []
    entries = [_entry_of(array) for array in weights]
    stream = io.BytesIO()
    pickler = pickle.Pickler(stream, protocol=5, buffer_callback=buffers.append)
    pickler.fast = True  # no memo, so the reader need not allow memo opcodes
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


def _entry_of(array: Array | Quantised) -> tuple[object, ...]:
    if isinstance(array, Quantised):
        return array.kind, array.shape, array.channels, pickle.PickleBuffer(array.packed.data)
    ordered = np.asarray(array, order="C")
    if ordered.dtype.str not in DTYPES:
        raise CodecError(f"An array has dtype {ordered.dtype}; allowed are {', '.join(sorted(DTYPES))}.")
    # Flat bytes: the buffer of a zero-dimensional array cannot be sliced.
    flat = ordered.reshape(-1).view(np.uint8)
    return ordered.dtype.str, tuple(ordered.shape), pickle.PickleBuffer(flat.data)


def decode(payload: bytes | memoryview, most_bytes: int) -> list[Array]:
    """Return the arrays of a payload, as read-only views into it; quantised ones are made, in single precision.

    Args:
        payload: the bytes of a peer.
        most_bytes: most memory for arrays that are made, in bytes: 4 bits become 32.

    Raises:
        CodecError: if the bytes are not a valid payload, or take more memory.
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
        read = [_array_of(entry) for entry in loaded]
        made_bytes = sum(array.decoded_bytes for array in read if isinstance(array, Quantised))
        if made_bytes > most_bytes:
            raise CodecError(f"The payload's arrays take {made_bytes} bytes of memory, more than {most_bytes}.")
        return [array.array() if isinstance(array, Quantised) else array for array in read]
    except CodecError:
        raise
    except ValueError as error:  # NumPy's own limits, such as the product of sides beside a 0; or a wrong scale
        raise CodecError(f"An array cannot be made ({error}).") from None


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


def _array_of(entry: object) -> Array | Quantised:
    if type(entry) is tuple and len(entry) == 4:
        return _quantised_of(*entry)
    if type(entry) is not tuple or len(entry) != 3:
        raise CodecError("An array of the payload is neither (dtype, shape, buffer) nor a quantised one.")
    dtype, shape, buffer = entry
    if type(dtype) is not str or dtype not in DTYPES:
        raise CodecError("An array of the payload has a dtype that is not allowed.")
    _check_shape(shape)
    if type(buffer) is not memoryview or math.prod(shape) * np.dtype(dtype).itemsize != buffer.nbytes:
        raise CodecError("An array of the payload does not fit its buffer.")
    return np.frombuffer(buffer, dtype).reshape(shape)


def _quantised_of(kind: object, shape: object, channels: object, buffer: object) -> Quantised:
    if type(kind) is not str or kind not in BITS or type(channels) is not int or type(buffer) is not memoryview:
        raise CodecError("A quantised array of the payload is not (kind, shape, channels, buffer).")
    array = Quantised(kind, _check_shape(shape), channels, np.frombuffer(buffer, np.uint8))
    try:
        array.check()
    except QuantisationError as error:
        raise CodecError(f"A quantised array of the payload is wrong: {error}.") from None
    return array


def _check_shape(shape: object) -> tuple[int, ...]:
    if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise CodecError("An array of the payload has a shape that is not allowed.")
    if not all(type(side) is int and 0 <= side < 2**48 for side in shape):
        raise CodecError("An array of the payload has a shape that is not allowed.")
    return shape
