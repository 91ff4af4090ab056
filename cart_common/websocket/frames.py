"""WebSocket frames (RFC 6455) as both ends read and write them. Bytes in, frames out; no socket.

A masked frame of a client becomes, in its own buffer, the frame that a server sends: its header is four bytes shorter,
its payload unmasked. So a bridge copies what it passes on once, whatever its size.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Final, NamedTuple

from .aiohttp_adapter import websocket_mask

CONTINUATION: Final = 0
TEXT: Final = 1
BINARY: Final = 2
CLOSE: Final = 8
PING: Final = 9
PONG: Final = 10
OPCODES: Final = frozenset((CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG))
MAX_CONTROL_PAYLOAD: Final = 125

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
INVALID_TEXT: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
# Codes that may stand in a close frame (RFC 6455, 7.4); 3000 to 4999 are for libraries and applications.
_SENDABLE_CODES: Final = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))

_FIN: Final = 0x80
_MASKED: Final = 0x80
_MASK_BYTES: Final = 4
_NO_MASK: Final = bytes(_MASK_BYTES)
# The shortest payload by the size of its header in bytes, the mask not counted.
_SHORTEST: Final = {2: 0, 4: 126, 10: 1 << 16}
# All readers share one buffer: an event loop runs nothing else between asking for it and taking what was read. So an
# idle connection holds no buffer. It has room for three chunks of the usual size, 128 KiB, and their headers; with a
# larger one, a socket reads longer before it is another's turn, and short messages wait longer.
_SCRATCH: Final = bytearray(390 * 1024)
_SCRATCH_VIEW: Final = memoryview(_SCRATCH)
# A larger frame that is not complete yet is read into a buffer of its own, where it stays; a smaller one is cheaper to
# copy than to read in two steps. A chunk of the usual size, with its headers, is still smaller.
_LARGE_BYTES: Final = 132 * 1024
# What a frame costs beside a chunk or a fragment: each of the others is parsed and answered. One fills a turn, so that
# the first turns of many that begin at once are short.
_CHUNK_COST: Final = 1
_MESSAGE_COST: Final = 32


class FrameError(ValueError):
    """The other end sent something that is not a WebSocket frame, or is too large."""

    def __init__(self, close_code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.close_code = close_code


class Frame(NamedTuple):
    """A whole message, or a control frame, as a server sends it."""

    opcode: int
    data: bytearray
    start: int
    """Where in ``data`` the payload begins."""

    @property
    def payload(self) -> memoryview:
        """The payload, not copied."""
        return memoryview(self.data)[self.start :]


def _head(opcode: int, size: int, masked: int = 0) -> bytearray:
    if size < 126:
        return bytearray((_FIN | opcode, masked | size))
    if size < 1 << 16:
        return bytearray((_FIN | opcode, masked | 126)) + size.to_bytes(2, "big")
    return bytearray((_FIN | opcode, masked | 127)) + size.to_bytes(8, "big")


def server_frame(opcode: int, payload: bytes | bytearray) -> bytearray:
    """Return a message as one frame of a server."""
    frame = _head(opcode, len(payload))
    frame += payload
    return frame


def client_frame(opcode: int, payload: bytes) -> bytearray:
    """Return a message as one frame of a client."""
    body = bytearray(payload)
    return masked_head(opcode, body) + body


def masked_head(opcode: int, body: bytearray) -> bytearray:
    """Mask a payload in place, and return the header that goes before it in a frame of a client."""
    mask = next(_masks)
    websocket_mask(mask, body)
    return _head(opcode, len(body), _MASKED) + mask


def _fresh_masks() -> Iterator[bytes]:
    # For one thread: two cannot use a generator at once.
    while True:  # 4 KiB at a time: a system call for each mask takes longer than masking a chunk
        fresh = os.urandom(1024 * _MASK_BYTES)
        for at in range(0, len(fresh), _MASK_BYTES):
            yield fresh[at : at + _MASK_BYTES]


_masks: Final = _fresh_masks()


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a close frame; a reason that is too long is cut, and ``NO_CODE`` gives an empty payload."""
    if code == NO_CODE:
        return b""
    words = reason.encode()[: MAX_CONTROL_PAYLOAD - 2].decode(errors="ignore")
    return code.to_bytes(2, "big") + words.encode()


def close_code_of(frame: Frame) -> int:
    """Return the code of a close frame.

    Raises:
        FrameError: if its payload is not a valid code and a reason in UTF-8.
    """
    payload = bytes(frame.payload)
    if not payload:
        return NO_CODE
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in _SENDABLE_CODES:
        raise FrameError(PROTOCOL_ERROR, f"A close frame has the code {code} in {len(payload)} bytes.")
    text_of(payload[2:])
    return code


def text_of(payload: bytes | memoryview) -> str:
    """Return the text of a payload.

    Raises:
        FrameError: if it is not UTF-8.
    """
    try:
        return str(payload, "utf-8")
    except UnicodeDecodeError as error:
        raise FrameError(INVALID_TEXT, f"A text frame is not UTF-8 ({error.reason}).") from None


class FrameReader:
    """Turn what the other end sends into whole messages and control frames.

    Read into ``buffer()``, then call ``received()`` with the number of bytes; use no other reader in between. Once
    ``error`` is set, the stream is broken: read nothing more.

    Args:
        max_bytes: the largest message.
        masked: whether the other end is a client, whose frames are masked; a server's are not.
        most_cost: where ``received()`` stops, in chunks; 32 of them cost as much as a message.
    """

    __slots__ = (
        "_filled",
        "_large",
        "_mask",
        "_mask_bytes",
        "_message",
        "_most_cost",
        "_opcode",
        "_start",
        "_tail",
        "error",
        "fragments",
        "has_more",
        "max_bytes",
    )

    def __init__(self, max_bytes: int, masked: bool = True, most_cost: float = math.inf) -> None:
        self._mask_bytes = _MASK_BYTES if masked else 0
        self.error: FrameError | None = None
        self.max_bytes = max_bytes
        self.fragments = 0
        """How many frames have come that did not end a message."""
        self.has_more = False
        """Whether there may be whole frames among the bytes that were kept for later."""
        self._most_cost = most_cost
        self._tail = b""  # the beginning of a frame, or frames for later
        # A large frame that is not whole yet, in the form in which it is passed on.
        self._large: bytearray | None = None
        self._filled = 0
        self._start = 0
        self._mask = b""
        # A fragmented message that is not whole yet.
        self._message: bytearray | None = None
        self._opcode = 0

    def buffer(self, most_bytes: int = len(_SCRATCH)) -> memoryview:
        """Return where to read to; it is never empty.

        Args:
            most_bytes: how much to read at most, but for a large frame that has begun.
        """
        if self._large is not None:
            return memoryview(self._large)[self._filled :]
        start = len(self._tail)
        if start:
            _SCRATCH_VIEW[:start] = self._tail
        return _SCRATCH_VIEW[start : start + most_bytes]

    def received(self, count: int) -> list[Frame]:
        """Return the messages and control frames that are whole with what was read, up to a certain cost."""
        frames: list[Frame] = []
        self.has_more = False
        try:
            if self._large is not None:
                self._fill(self._large, count, frames)
            else:
                self._split(len(self._tail) + count, frames)
        except FrameError as error:
            self.error = error
        return frames

    def keep(self, count: int) -> None:
        """Keep what was read for later."""
        self.has_more = True
        if self._large is not None:
            self._filled += count
        else:
            self._tail = bytes(_SCRATCH_VIEW[: len(self._tail) + count])

    def take_more(self) -> list[Frame]:
        """Return further ones out of what was kept; read nothing in between."""
        self.buffer()
        return self.received(0)

    def _fill(self, large: bytearray, count: int, frames: list[Frame]) -> None:
        self._filled += count
        if self._filled == len(large):
            header = bytes(large[: self._start])
            self._large = None
            self._finish(header, large, self._mask, frames)

    def _split(self, end: int, frames: list[Frame]) -> None:
        data, at, mask_bytes = _SCRATCH, 0, self._mask_bytes
        flag = _MASKED if mask_bytes else 0
        room = self._most_cost
        while end - at >= 2:
            if room <= 0:
                self.has_more = True
                break
            size, start = data[at + 1] & 127, 2
            if size >= 126:
                start = 4 if size == 126 else 10
                if end - at < start:
                    break
                size = int.from_bytes(data[at + 2 : at + start], "big")
            first, second = data[at], data[at + 1]
            # Nearly all frames are whole binary messages, for which one check is enough.
            plain = first == _FIN | BINARY and second & _MASKED == flag and _SHORTEST[start] <= size <= self.max_bytes
            if not plain or self._message is not None:
                self._check(first, second, size, start)
            payload_at = at + start + mask_bytes
            stop = payload_at + size
            # The copy begins four bytes later to leave the mask out; the header overwrites what is there.
            if stop <= end:
                mask = bytes(data[payload_at - mask_bytes : payload_at])
                self._finish(data[at : at + start], data[at + mask_bytes : stop], mask, frames)
                at = stop
                room -= _CHUNK_COST if first & 15 in (BINARY, CONTINUATION) else _MESSAGE_COST
                continue
            if size > _LARGE_BYTES and payload_at <= end:
                self._mask = bytes(data[payload_at - mask_bytes : payload_at])
                self._large, self._start, self._filled = bytearray(start + size), start, end - at - mask_bytes
                self._large[: self._filled] = _SCRATCH_VIEW[at + mask_bytes : end]
                self._large[:start] = data[at : at + start]
                at = end
            break
        self._tail = bytes(_SCRATCH_VIEW[at:end])

    def _check(self, first: int, second: int, size: int, start: int) -> None:
        opcode = first & 15
        if first & 0x70 or opcode not in OPCODES:
            raise FrameError(PROTOCOL_ERROR, f"A frame begins with the byte {first:#04x}; no extension was agreed on.")
        if bool(second & _MASKED) != bool(self._mask_bytes):
            wrong = "A frame of a client is not masked." if self._mask_bytes else "A frame of a server is masked."
            raise FrameError(PROTOCOL_ERROR, wrong)
        if size < _SHORTEST[start]:
            raise FrameError(PROTOCOL_ERROR, f"The length {size} of a frame is written with {start - 2} bytes.")
        if opcode >= CLOSE:
            if size > MAX_CONTROL_PAYLOAD or not first & _FIN:
                raise FrameError(PROTOCOL_ERROR, f"A control frame has {size} bytes or is fragmented.")
            return
        if (opcode == CONTINUATION) != (self._message is not None):
            raise FrameError(PROTOCOL_ERROR, f"A frame of opcode {opcode} is out of place among fragments.")
        total = size + len(self._message or b"")
        if total > self.max_bytes:
            raise FrameError(TOO_BIG, f"A message has {total} bytes or more; at most {self.max_bytes} are taken.")

    def _finish(self, header: bytes | bytearray, data: bytearray, mask: bytes, frames: list[Frame]) -> None:
        """Unmask a whole frame, put its header in place, and append it, or the message that it completes."""
        start = len(header)
        if mask and mask != _NO_MASK:
            # Header and payload are unmasked together; rotated by the header's length, the mask meets the right bytes.
            websocket_mask(mask if start == 4 else mask[2:] + mask[:2], data)
        data[:start] = header
        data[1] &= ~_MASKED
        first = header[0]
        if first & _FIN and first != _FIN:  # nearly always: a message in one frame, or a control frame
            frames.append(Frame(first & 15, data, start))
            return
        if self._message is None:
            self._message, self._opcode = bytearray(), first & 15
        self._message += memoryview(data)[start:]
        self.fragments += not first & _FIN
        if first & _FIN:
            whole = server_frame(self._opcode, self._message)
            frames.append(Frame(self._opcode, whole, len(whole) - len(self._message)))
            self._message = None
