"""How many bytes a cart gives away: to one account, to all together, and of one version to the same account. Pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cart_common.process.token_bucket import TokenBucket
from cart_common.wire.messages import Code

from .assembly import TransferError
from .limits import ExchangeLimits

BUDGET_S: Final = 600.0
"""For how long a budget of bytes is."""
# A budget in bytes never holds up a fleet with a large model: this many models fit into it at least.
MODELS_OF_ONE: Final = 8
MODELS_OF_ALL: Final = 64
# The last quarter of the budget for all is for accounts that were given nothing lately.
KEPT_SHARE: Final = 4
# The delay before the same version is given again grows to this many times the first one.
MOST_DELAYS: Final = 8
ACCOUNTS_KEPT: Final = 4096
NO_LIMIT: Final = 1 << 50


@dataclass(slots=True)
class _Account:
    """What one account was given lately."""

    bytes_left: TokenBucket
    version: str = ""
    given_bytes: int = 0
    """Of this version, with what is reserved."""
    last_at: float = -BUDGET_S
    """When it was offered, or given a part of, this version."""
    served_at: float = -BUDGET_S
    """When it was given a part of any model."""


@dataclass(slots=True)
class Handout:
    """A model that is being given to an account: what is reserved for it, and what has gone out."""

    account: str
    version: str
    reserved_bytes: int
    sent_bytes: int = 0


class GivingBudget:
    """Counts what was given, and says when an account may have more.

    Args:
        now: seconds that only grow.
    """

    def __init__(self, now: float) -> None:
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._proved: OrderedDict[str, None] = OrderedDict()
        self._of_all = TokenBucket(NO_LIMIT / BUDGET_S, NO_LIMIT, now)

    def __len__(self) -> int:
        return len(self._accounts)

    def was_served_lately(self, account: str, now: float) -> bool:
        """Tell whether an account was given something within the time of a budget."""
        known = self._accounts.get(account)
        return known is not None and now - known.served_at < BUDGET_S

    def has_taken_a_model(self, account: str) -> bool:
        """Tell whether an account has drawn a whole model at some time: it is no key made for a flood of requests."""
        return account in self._proved

    def begin(self, account: str, version: str, total_bytes: int, limits: ExchangeLimits, now: float) -> Handout:
        """Reserve the bytes of a model for an account.

        Raises:
            TransferError: if it has been given this model lately, or the budget does not reach; says when to ask again.
        """
        known = self._accounts.get(account) or _Account(TokenBucket(NO_LIMIT / BUDGET_S, NO_LIMIT, now))
        copies = known.given_bytes // total_bytes if known.version == version else 0
        _refuse_for(
            known.last_at + _again_after_s(copies, limits) - now,
            f"This cart has given the asking one this version {copies} times lately",
        )
        _fit(known.bytes_left, limits.give_bytes_per_peer, MODELS_OF_ONE * total_bytes)
        _refuse_for(known.bytes_left.wait_s(total_bytes, now), "This cart has given the asking one much lately")
        _fit(self._of_all, limits.give_bytes, MODELS_OF_ALL * total_bytes)
        kept_bytes = self._of_all.most / KEPT_SHARE if self.was_served_lately(account, now) else 0
        _refuse_for(self._of_all.wait_s(total_bytes + kept_bytes, now), "This cart has given many models lately")
        self._accounts[account] = known
        self._accounts.move_to_end(account)
        if len(self._accounts) > ACCOUNTS_KEPT:
            self._accounts.popitem(last=False)
        if known.version != version:
            known.version, known.given_bytes = version, 0
        known.given_bytes += total_bytes
        known.last_at = now
        known.bytes_left.take(total_bytes, now)
        self._of_all.take(total_bytes, now)
        return Handout(account, version, total_bytes)

    def count(self, handout: Handout, count: int, now: float) -> None:
        """Count bytes that go out; those beyond the model's size are sent again, and cost of the budget once more.

        Raises:
            TransferError: if the account has drawn the model again and again until its budget was spent.
        """
        handout.sent_bytes += count
        known = self._accounts.get(handout.account)
        again = min(count, max(0, handout.sent_bytes - handout.reserved_bytes))
        handout.reserved_bytes += again
        self._of_all.take(again, now)
        if known is None:
            return
        known.served_at = now
        if known.version == handout.version:
            known.given_bytes += again
            known.last_at = now
        if again and known.bytes_left.take(again, now) < 0:
            raise TransferError(
                Code.TOO_MANY_TRANSFERS, "The receiver had bytes sent again until its budget was spent."
            )

    def end(self, handout: Handout) -> None:
        """Give back what was reserved and has not gone out."""
        unsent = max(0, handout.reserved_bytes - handout.sent_bytes)
        if not unsent:
            self._proved[handout.account] = None
            self._proved.move_to_end(handout.account)
            if len(self._proved) > ACCOUNTS_KEPT:
                self._proved.popitem(last=False)
        self._of_all.give_back(unsent)
        known = self._accounts.get(handout.account)
        if known is not None:
            known.bytes_left.give_back(unsent)
            if known.version == handout.version:
                known.given_bytes -= unsent


def _fit(bucket: TokenBucket, budget_bytes: int, least_bytes: int) -> None:
    """Give a bucket the size of a budget, which may have changed meanwhile; 0 is no limit."""
    most = max(budget_bytes or NO_LIMIT, least_bytes)
    bucket.most, bucket.per_s = float(most), most / BUDGET_S


def _again_after_s(copies: int, limits: ExchangeLimits) -> float:
    """Return how long after the last of so many copies the same version is given again."""
    if copies < 1:
        return 0.0
    return limits.give_again_s * min(MOST_DELAYS, 2.0 ** min(copies - 1, 30))


def _refuse_for(wait_s: float, why: str) -> None:
    if wait_s > 0:
        raise TransferError(Code.TOO_MANY_TRANSFERS, f"{why}; ask again in {max(1.0, wait_s):.0f} s.")
