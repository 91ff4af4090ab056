"""One transfer as the bridge sees it: whose it is, how far it has come, and its state. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from cart_common.wire.chunk import ChunkHeader
from cart_common.wire.messages import Code

from .rules import Violation


class TransferState(StrEnum):
    """The life of a transfer as the bridge sees it; it is forgotten when it ends."""

    REQUESTED = "REQUESTED"
    OFFERED = "OFFERED"
    OPEN = "OPEN"


TRANSITIONS: Final = {
    TransferState.REQUESTED: {TransferState.OFFERED},
    TransferState.OFFERED: {TransferState.OPEN},
    TransferState.OPEN: {TransferState.OPEN},
}


@dataclass(slots=True)
class Transfer:
    """A model on its way from ``sender`` to ``receiver``."""

    transfer_id: str
    sender: str
    receiver: str
    touched_at: float
    state: TransferState = TransferState.REQUESTED
    wanted_bytes: int = 0
    """Up to where the receiver has granted credit."""
    granted_bytes: int = 0
    """Up to where the sender has been told so."""
    passed_bytes: int = 0
    total_bytes: int = 0
    chunk_bytes: int = 0
    awaited: set[str] = field(default_factory=set)
    """The carts that must RESUME before anything passes."""
    resumed: bool = False
    """Whether it has been taken up again: chunks from before may still be under way."""

    def move_to(self, state: TransferState, by: str) -> None:
        """Change the state.

        Raises:
            Violation: if the message that asks for it does not fit the present one.
        """
        if state not in TRANSITIONS[self.state]:
            raise Violation(
                Code.UNEXPECTED_MESSAGE, f"{by} came for transfer {self.transfer_id} while it is {self.state}."
            )
        self.state = state

    def is_due(self, header: ChunkHeader) -> bool:
        """Tell whether this is the chunk that comes next."""
        return header.sequence * self.chunk_bytes == self.passed_bytes

    def other_than(self, cart_id: str) -> str:
        """Return the cart at the other end."""
        return self.sender if cart_id == self.receiver else self.receiver
