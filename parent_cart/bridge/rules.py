"""What the deciding parts of the bridge share: limits, deliveries and violations."""

from __future__ import annotations

from dataclasses import dataclass

from cart_common.wire.chunk import MIN_CHUNK_BYTES
from cart_common.wire.messages import Code, Message


class Violation(Exception):
    """A cart has broken the protocol and must be detached."""

    def __init__(self, code: Code, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@dataclass(frozen=True)
class Limits:
    """What one cart, and all carts together, may use of the bridge."""

    max_carts: int = 10_000
    max_transfers_per_cart: int = 64
    max_chunk_bytes: int = 512 * 1024
    max_window_bytes: int = 4 * 1024 * 1024
    max_buffered_bytes: int = 64 * 1024 * 1024
    transfer_idle_s: float = 60.0
    resume_timeout_s: float = 90.0
    requests_per_s: float = 20.0
    requests_at_once: int = 128
    messages_per_s: float = 20.0
    messages_at_once: int = 128
    messages_of_all_per_s: float = 2000.0

    def chunk_size_error(self, chunk_bytes: int) -> str:
        """Return why chunks of this size are not taken, as a sentence; empty if they are."""
        if MIN_CHUNK_BYTES <= chunk_bytes <= self.max_chunk_bytes:
            return ""
        return (
            f"The transfer's chunks have {chunk_bytes} bytes; "
            f"this bridge takes {MIN_CHUNK_BYTES} to {self.max_chunk_bytes}."
        )

    def check_window(self, ahead_bytes: int) -> None:
        """Check how far ahead of what has passed credit reaches.

        Raises:
            Violation: if that is too far.
        """
        if ahead_bytes > self.max_window_bytes:
            raise Violation(
                Code.OVERRUN,
                f"Credit for {ahead_bytes} bytes ahead was granted; this bridge allows {self.max_window_bytes}.",
            )


@dataclass(frozen=True)
class Delivery:
    """A control message and the cart that it is for."""

    cart_id: str
    message: Message
