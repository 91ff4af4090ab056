"""An offer as both carts of a transfer know it, in whatever version it was said. Plain values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Offer:
    """What will be sent, so that the receiver can refuse before the first chunk.

    Attributes:
        version: that of the protocol in which it is said, 1 or 2.
        samples: rows that the model was trained on, as the sender says; None if it does not.
    """

    version: int
    transfer: str
    source: str
    destination: str
    total_bytes: int
    chunk_bytes: int
    chunks: int
    kind: str
    codec: str
    digest: str
    model_signature: str
    model_version: int
    cipher: str
    samples: int | None = None
