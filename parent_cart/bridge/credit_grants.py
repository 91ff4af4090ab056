"""How far each sender may send: as far as its receiver grants credit, and the bridge has room for it. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from .accounts import Accounts
from .budget import Budget
from .transfer import Transfer

# How many transfers that wait for credit are looked at: when something was drained, and regularly.
LOOKED_AT: Final = 16
LOOKED_AT_REGULARLY: Final = 1000


class CreditGrants:
    """The credit of all transfers, and the transfers for whose credit there was no room.

    Args:
        most_bytes: of what is promised and what waits, for all receivers together.
        clock: seconds that only grow.
        accounts: those of the attached carts.
    """

    def __init__(self, most_bytes: int, clock: Callable[[], float], accounts: Accounts) -> None:
        self.budget = Budget(most_bytes, clock, accounts.__getitem__)
        self.short: OrderedDict[str, Transfer] = OrderedDict()
        """Transfers whose senders have not been told of all credit, by id; the longest waiting first."""

    def extend(self, transfer: Transfer) -> bool:
        """Take over the receiver's credit, as far as there is room for it; tell whether a further chunk may pass."""
        self.short.pop(transfer.transfer_id, None)
        if transfer.awaited:
            return False
        room = self.budget.room_for(transfer.receiver, transfer.chunk_bytes)
        up_to = min(transfer.wanted_bytes, transfer.granted_bytes + max(room, 0))
        if up_to < transfer.wanted_bytes:
            self.short[transfer.transfer_id] = transfer
            up_to -= up_to % transfer.chunk_bytes
        # Credit that lets no further chunk pass is not passed on: a receiver must not flood a sender with crumbs.
        next_end = min(
            transfer.granted_bytes // transfer.chunk_bytes * transfer.chunk_bytes + transfer.chunk_bytes,
            transfer.total_bytes,
        )
        if up_to < next_end or up_to <= transfer.granted_bytes:
            return False
        self._set(transfer, transfer.passed_bytes, up_to)
        return True

    def look_through(self) -> list[Transfer]:
        """Return the transfers of whose credit more has room now; called regularly."""
        return [
            transfer for transfer in list(islice(self.short.values(), LOOKED_AT_REGULARLY)) if self.extend(transfer)
        ]

    def release(self, first: Iterable[Transfer] = ()) -> list[Transfer]:
        """Return the transfers of whose credit more has room now, out of those that have waited longest for it.

        Args:
            first: those to look at before them, as far as they wait for credit.
        """
        own = [transfer for transfer in first if transfer.transfer_id in self.short]
        # Beyond half of the budget credit is earned by draining, so few of the others can get some, and to look at many
        # after each chunk would cost as much as passing the chunk on.
        others = islice(self.short.values(), LOOKED_AT if self.budget.is_half_free else 1)
        return [transfer for transfer in (*own, *others) if self.extend(transfer)]

    def note_waiting(self, cart_id: str, waiting_bytes: int) -> None:
        """Take note of how many bytes wait for a cart now."""
        self.budget.wait(cart_id, waiting_bytes - self.budget.waiting[cart_id])

    def pass_on(self, transfer: Transfer, payload_bytes: int) -> None:
        """Turn promised bytes into bytes that wait for the receiver."""
        self._set(transfer, transfer.passed_bytes + payload_bytes, transfer.granted_bytes)
        self.budget.wait(transfer.receiver, payload_bytes)

    def take_back(self, transfer: Transfer) -> None:
        """Take back the credit that was not used: nothing comes for now, or any more."""
        self.short.pop(transfer.transfer_id, None)
        self.start_at(transfer, transfer.passed_bytes)

    def start_at(self, transfer: Transfer, position_bytes: int) -> None:
        """Set how far a transfer has come, without any credit beyond that."""
        self._set(transfer, position_bytes, position_bytes)

    def _set(self, transfer: Transfer, passed_bytes: int, granted_bytes: int) -> None:
        before = transfer.granted_bytes - transfer.passed_bytes
        transfer.passed_bytes, transfer.granted_bytes = passed_bytes, granted_bytes
        self.budget.promise(transfer.receiver, granted_bytes - passed_bytes - before)
