"""Who may have one of a cart's places for outgoing transfers, and whose place is taken back for it. Pure.

A key pair costs nothing, so a place is not kept by asking first: it is kept by drawing the model. A transfer whose
receiver grants no credit gives its place to the next that asks.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from cart_common.wire.messages import Code

from .assembly import TransferError
from .limits import ExchangeLimits

# One place in four is kept for accounts that hold none and were given nothing lately.
KEPT_SHARE: Final = 4


@dataclass(frozen=True)
class OutgoingPlace:
    """An outgoing transfer that holds a place."""

    transfer_id: str
    account: str
    sent_bytes: int
    waited_s: float
    """For how long in all it has waited for its receiver: for credit, for a lost link, for word that all is there."""
    is_proved: bool = False
    """Whether its account has drawn a whole model before."""

    def overdue_s(self, limits: ExchangeLimits) -> float:
        """Return for how much longer it has waited than a receiver at the slowest rate lets it; below 0 if not."""
        return self.waited_s - self.sent_bytes / limits.slowest_bytes_per_s


def choose_place(
    account: str, places: Collection[OutgoingPlace], was_served_lately: bool, limits: ExchangeLimits
) -> OutgoingPlace | None:
    """Decide whether a request of this account gets a place.

    Args:
        account: of the asking peer.
        places: those that are held now.
        was_served_lately: whether this account was given a model lately.
        limits: how many places there are.

    Returns:
        The place to take back for the request; None if one is free.

    Raises:
        TransferError: if the request is refused.
    """
    own = [place for place in places if place.account == account]
    refusal = TransferError(
        Code.TOO_MANY_TRANSFERS,
        f"This cart is sending {len(places)} models already, {len(own)} of them to the asking one.",
    )
    overdue = [place for place in places if place.overdue_s(limits) > limits.credit_grace_s]
    if len(own) >= limits.max_outgoing_per_peer:
        return _longest_waiting([place for place in own if place in overdue], refusal)
    is_new = not own and not was_served_lately
    kept = 0 if is_new else limits.max_outgoing // KEPT_SHARE
    if len(places) < limits.max_outgoing - kept:
        return None
    # An honest receiver draws within a round trip, and then much. So a flood of requests that draw next to nothing
    # takes places from itself; and from no peer that has drawn a model before, since a whole model is what a key costs.
    barely_drawn = [place for place in places if is_new and not place.is_proved and place.overdue_s(limits) >= 0]
    return _longest_waiting(overdue or barely_drawn, refusal)


def _longest_waiting(places: list[OutgoingPlace], refusal: TransferError) -> OutgoingPlace:
    if not places:
        raise refusal
    return max(places, key=lambda place: place.waited_s)
