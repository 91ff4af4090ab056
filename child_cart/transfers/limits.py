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
    """The limits of all transfers of a cart.

    Attributes:
        max_outgoing: places for outgoing transfers; fewer than the transfers that a bridge lets a cart have.
        credit_grace_s: how long a receiver may grant no credit before its place is taken back for another one.
        give_again_s: after how long an account gets the same version a second time; twice as long each further time.
        give_bytes_per_peer: most bytes given to one account in the time of a budget; 0 for no limit.
        give_bytes: likewise to all together.
        least_version: the oldest version in which requests and offers are spoken.
    """

    max_model_bytes: int
    window_bytes: int
    answer_timeout_s: float
    stall_timeout_s: float
    resume_timeout_s: float
    slowest_bytes_per_s: float
    max_outgoing: int = 32
    max_outgoing_per_peer: int = 2
    credit_grace_s: float = 3.0
    give_again_s: float = 15.0
    give_bytes_per_peer: int = 0
    give_bytes: int = 0
    least_version: int = 1

    @property
    def patience(self) -> Patience:
        """How long a transfer may take."""
        return Patience(self.stall_timeout_s, self.resume_timeout_s, self.slowest_bytes_per_s)
