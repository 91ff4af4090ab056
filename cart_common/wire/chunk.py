"""The header of a binary frame. A bridge reads it and passes the frame on untouched; it never reads the payload."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

CHUNK_VERSION: Final = 1
KIND_CHUNK: Final = 1
FLAG_FINAL: Final = 1
# version, kind, flags, reserved, source id, destination id, transfer id, sequence number; network byte order
_HEADER: Final = struct.Struct("!BBBx16s16s16sI")
HEADER_BYTES: Final = _HEADER.size
SEAL_BYTES: Final = 16  # behind the payload of each chunk: the tag of its seal
MIN_CHUNK_BYTES: Final = 1024
# A quarter of a second on the slowest lines (500 KB/s): control waits behind a chunk, and a cut costs one.
DEFAULT_CHUNK_BYTES: Final = 128 * 1024
# With a round trip no longer than this, lines are fast, and the cost of each chunk beside its bytes counts. Only a link
# that has carried much gets large chunks: one that is often cut must get chunks through between two cuts.
NEAR_S: Final = 0.01
NEAR_CHUNK_BYTES: Final = 512 * 1024
PROVED_BYTES: Final = 16 * NEAR_CHUNK_BYTES
MAX_CHUNK_BYTES: Final = 1024 * 1024
MAX_FRAME_BYTES: Final = HEADER_BYTES + MAX_CHUNK_BYTES + SEAL_BYTES
MAX_SEQUENCE: Final = 2**32 - 1


class ChunkError(ValueError):
    """A binary frame is not a chunk of this protocol version."""


class ChunkHeader(NamedTuple):
    """Where a chunk comes from, where it goes, and its place in the transfer."""

    source: bytes
    destination: bytes
    transfer: bytes
    sequence: int
    final: bool


def chunk_bytes_over(round_trip_s: float, carried_bytes: int) -> int:
    """Return the chunk size for a link, by its round trip and by what it has carried since it was opened."""
    proved = round_trip_s <= NEAR_S and carried_bytes >= PROVED_BYTES
    return NEAR_CHUNK_BYTES if proved else DEFAULT_CHUNK_BYTES


def pack_header(header: ChunkHeader) -> bytes:
    """Return the bytes of a header; a frame is these, followed by the sealed payload."""
    flags = FLAG_FINAL if header.final else 0
    return _HEADER.pack(
        CHUNK_VERSION, KIND_CHUNK, flags, header.source, header.destination, header.transfer, header.sequence
    )


def unpack_header(frame: bytes | bytearray | memoryview, start: int = 0) -> ChunkHeader:
    """Return the header of a binary frame that begins at ``start``; the sealed payload is behind its HEADER_BYTES.

    Raises:
        ChunkError: if the frame is too short or too long, or of another version, kind or flag.
    """
    size = len(frame) - start
    if not HEADER_BYTES + SEAL_BYTES < size <= MAX_FRAME_BYTES:
        raise ChunkError(
            f"A binary frame has {size} bytes; a chunk has {HEADER_BYTES + SEAL_BYTES + 1} to {MAX_FRAME_BYTES}."
        )
    version, kind, flags, source, destination, transfer, sequence = _HEADER.unpack_from(frame, start)
    if version != CHUNK_VERSION or kind != KIND_CHUNK or flags & ~FLAG_FINAL:
        raise ChunkError(f"A binary frame has version {version}, kind {kind}, flags {flags}; they are not known here.")
    return ChunkHeader(source, destination, transfer, sequence, bool(flags & FLAG_FINAL))
