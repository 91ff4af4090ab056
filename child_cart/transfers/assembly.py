"""One model on its way: bytes to chunks and back, under credit. Pure: no socket, no clock, no file.

A chunk that is lost, cut, repeated or out of order never changes the bytes that come out: a transfer ends with exactly
the bytes that were sent, or with a ``TransferError`` that names what went wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from blake3 import blake3

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, MAX_SEQUENCE, MIN_CHUNK_BYTES
from cart_common.wire.messages import Code, ModelParameters

from .receive_window import ReceiveWindow


class TransferError(Exception):
    """A transfer has ended without its bytes; ``code`` says why in the protocol's words."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def chunk_count(total_bytes: int, chunk_bytes: int) -> int:
    """Return how many chunks a payload takes."""
    return -(-total_bytes // chunk_bytes)


def check_offer(
    offer: ModelParameters, model_signature: str, codecs: Collection[str], max_bytes: int, max_chunk_bytes: int
) -> None:
    """Decide whether a receiver takes an offer.

    Raises:
        TransferError: if it does not, with the code and the numbers for the refusal.
    """
    if offer.model_signature != model_signature:
        raise TransferError(
            Code.WRONG_MODEL, f"The offered model has signature {offer.model_signature}, this cart's {model_signature}."
        )
    if offer.codec not in codecs:
        raise TransferError(
            Code.UNKNOWN_CODEC, f"The offer is in codec {offer.codec!r}; this cart reads {', '.join(codecs)}."
        )
    if offer.model_version == 0:
        raise TransferError(Code.BAD_OFFER, "The offered model has version 0, which is not a trained one.")
    if offer.total_bytes > max_bytes:
        raise TransferError(
            Code.MODEL_TOO_LARGE, f"The offered model has {offer.total_bytes} bytes; this cart takes {max_bytes}."
        )
    expected = chunk_count(offer.total_bytes, offer.chunk_bytes)
    takes = MIN_CHUNK_BYTES <= offer.chunk_bytes <= max_chunk_bytes
    if not takes or offer.chunks != expected or offer.chunks > MAX_SEQUENCE:
        raise TransferError(
            Code.BAD_OFFER,
            f"{offer.total_bytes} bytes do not come in {offer.chunks} chunks of {offer.chunk_bytes}; "
            f"this cart takes chunks of {MIN_CHUNK_BYTES} to {max_chunk_bytes}.",
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of the payload at its place."""

    sequence: int
    payload: memoryview
    final: bool


class Splitter:
    """Gives the chunks of a payload, in order, as far as credit reaches."""

    def __init__(self, payload: memoryview, chunk_bytes: int = DEFAULT_CHUNK_BYTES) -> None:
        self._payload = payload
        self._chunk_bytes = chunk_bytes
        self._chunks = chunk_count(len(payload), chunk_bytes)
        self._sequence = 0
        self._furthest_bytes = 0
        self._granted_bytes = 0

    @property
    def sent_bytes(self) -> int:
        """How many payload bytes have been given out."""
        return min(self._sequence * self._chunk_bytes, len(self._payload))

    @property
    def finished(self) -> bool:
        """Whether the last chunk has been given out."""
        return self._sequence == self._chunks

    @property
    def has_credit(self) -> bool:
        """Whether the next chunk may be given out."""
        end = min(self.sent_bytes + self._chunk_bytes, len(self._payload))
        return not self.finished and end <= self._granted_bytes

    def grant(self, up_to_bytes: int) -> bool:
        """Take credit and return whether it is more than before.

        Credit is a position in the payload, so a repeated or late message changes nothing.
        """
        more = up_to_bytes > self._granted_bytes
        self._granted_bytes = max(self._granted_bytes, up_to_bytes)
        return more

    def go_on_from(self, position_bytes: int, up_to_bytes: int) -> None:
        """Go to the receiver's position, with the credit that it now gives.

        Mostly this goes back; after two losses in quick succession it can also go forward, since chunks from before the
        first loss may have arrived between the two.

        Raises:
            TransferError: for a position that is not the end of a chunk that was given out.
        """
        sequence = chunk_count(position_bytes, self._chunk_bytes)
        if position_bytes > self._furthest_bytes or position_bytes != min(
            sequence * self._chunk_bytes, len(self._payload)
        ):
            raise TransferError(
                Code.BAD_MESSAGE, f"RESUME goes on at byte {position_bytes} of {self._furthest_bytes} that were sent."
            )
        self._sequence = sequence
        self._granted_bytes = up_to_bytes

    def next_chunk(self) -> Chunk | None:
        """Return the next chunk, or None while credit (or the payload) is used up."""
        if not self.has_credit:
            return None
        start = self.sent_bytes
        end = min(start + self._chunk_bytes, len(self._payload))
        self._sequence += 1
        self._furthest_bytes = max(self._furthest_bytes, end)
        return Chunk(self._sequence - 1, self._payload[start:end], self.finished)


class Assembler:
    """Puts the chunks of an accepted offer in their places, and says when to grant more credit.

    Args:
        offer: an offer that ``check_offer`` has passed.
        put: writes a part; takes its place, in bytes from the beginning, and its bytes.
        window: how far the sender may run ahead.
    """

    def __init__(
        self, offer: ModelParameters, put: Callable[[int, memoryview | bytes], None], window: ReceiveWindow
    ) -> None:
        self._offer = offer
        self._put = put
        self.window = window
        self._next_sequence = 0
        self._granted_bytes = 0
        self._furthest_bytes = 0  # the furthest grant so far: a lower grant after a lost link does not revoke it
        self._hash = blake3()
        self.received_bytes = 0

    @property
    def digest(self) -> str:
        """The BLAKE3 digest of the bytes that have come, in hexadecimal."""
        return self._hash.hexdigest()

    @property
    def complete(self) -> bool:
        """Whether every byte is here."""
        return self.received_bytes == self._offer.total_bytes

    def next_grant(self, now_s: float) -> int | None:
        """Return the position up to which to grant credit now, or None while no message is worth sending.

        Credit is renewed when a third of the window is used: more often costs messages, less often stalls the sender.
        """
        wanted = min(self.received_bytes + self.window.size_bytes, self._offer.total_bytes)
        third_used = self._granted_bytes - self.received_bytes <= self.window.size_bytes * 2 // 3
        if wanted <= self._granted_bytes or not third_used:
            return None
        self.window.note_grant(self._granted_bytes, now_s)
        self._granted_bytes = wanted
        self._furthest_bytes = max(self._furthest_bytes, wanted)
        return wanted

    def go_on(self, most_window_bytes: int) -> tuple[int, int]:
        """Return where the sender must go on after a lost link, and the credit that it has from there."""
        self.window.limit_to(most_window_bytes)
        ahead = max(self._granted_bytes - self.received_bytes, self.window.size_bytes)
        ahead = min(ahead, self.window.most_bytes)
        self._granted_bytes = min(self.received_bytes + ahead, self._offer.total_bytes)
        self._furthest_bytes = max(self._furthest_bytes, self._granted_bytes)
        return self.received_bytes, self._granted_bytes

    def add(self, sequence: int, payload: bytes | memoryview, final: bool, now_s: float) -> None:
        """Take one chunk; a chunk that was taken before is ignored.

        Raises:
            TransferError: for a gap, a wrong length or flag, or a chunk beyond the credit.
        """
        if sequence < self._next_sequence:
            return
        if sequence > self._next_sequence:
            raise TransferError(Code.BAD_CHUNK, f"Chunk {sequence} came where {self._next_sequence} was due.")
        start = self.received_bytes
        end = start + len(payload)
        is_last = sequence == self._offer.chunks - 1
        due = min(start + self._offer.chunk_bytes, self._offer.total_bytes)
        if end != due or final != is_last:
            raise TransferError(
                Code.BAD_CHUNK, f"Chunk {sequence} has {len(payload)} bytes (final: {final}); {due - start} were due."
            )
        if end > self._furthest_bytes:
            raise TransferError(Code.OVERRUN, f"Chunk {sequence} ends at {end}; credit reached {self._furthest_bytes}.")
        self._put(start, payload)
        self._hash.update(payload)  # while it is in the processor's cache: reading the file again costs twice as much
        self.window.note_arrival(end, now_s)
        self._next_sequence += 1
        self.received_bytes = end
