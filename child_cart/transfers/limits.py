"""What a cart takes in transfers, and how long it waits. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """How long a transfer may take: seconds without news, seconds without a link, and the slowest rate as a whole."""

    stall_timeout_s: float
    resume_timeout_s: float
    slowest_bytes_per_s: float

    def whole_s(self, total_bytes: int) -> float:
        """Return how long a transfer of this size may take in all, in seconds."""
        return self.stall_timeout_s + self.resume_timeout_s + total_bytes / self.slowest_bytes_per_s


@dataclass(frozen=True)
class ExchangeLimits:
    """The limits of all transfers of a cart."""

    max_model_bytes: int
    window_bytes: int
    answer_timeout_s: float
    stall_timeout_s: float
    resume_timeout_s: float
    slowest_bytes_per_s: float
    max_outgoing: int = 16
    max_outgoing_per_peer: int = 2

    @property
    def patience(self) -> Patience:
        """How long a transfer may take."""
        return Patience(self.stall_timeout_s, self.resume_timeout_s, self.slowest_bytes_per_s)
