"""The states of a link, and which may follow which."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class LinkState(StrEnum):
    """The life of the link."""

    WAITING = "WAITING"
    CONNECTING = "CONNECTING"
    ATTACHING = "ATTACHING"
    ATTACHED = "ATTACHED"
    CLOSED = "CLOSED"


# From every state a link can fall back to WAITING (it broke) or end as CLOSED (the cart leaves).
TRANSITIONS: Final = {
    LinkState.WAITING: {LinkState.CONNECTING},
    LinkState.CONNECTING: {LinkState.ATTACHING},
    LinkState.ATTACHING: {LinkState.ATTACHED},
    LinkState.ATTACHED: set[LinkState](),
    LinkState.CLOSED: set[LinkState](),
}
ALWAYS: Final = {LinkState.WAITING, LinkState.CLOSED}
# A link that breaks sooner, as when two carts run with one key, does not count as one: neither for the delays before
# the next try nor for how long the cart has had no bridge.
STEADY_S: Final = 5.0


@dataclass(frozen=True)
class LinkStatus:
    """What the link does. Times are of the monotonic clock: no setting of the wall clock changes for how long."""

    state: LinkState
    url: str
    since: float
    """When the state began."""
    reason: str
    """Why the last link ended or was not made; empty while attached."""
    away_since: float | None = None
    """When the cart lost its last steady link, or made its first try; retries do not change it. None before that."""

    def followed_by(self, state: LinkState, url: str, reason: str) -> LinkStatus:
        """Return the status after a change of state; raises ``RuntimeError`` for one that no link makes."""
        if state not in TRANSITIONS[self.state] | ALWAYS:
            raise RuntimeError(f"A link does not go from {self.state} to {state}.")
        now = time.monotonic()
        was_steady = self.state is LinkState.ATTACHED and now - self.since >= STEADY_S
        away_since = now if was_steady or self.away_since is None else self.away_since
        return LinkStatus(state, url, now, reason, away_since)

    def away_s(self, now: float) -> float:
        """Return for how many seconds the cart has had no bridge, by the monotonic clock; 0 while it is attached."""
        if self.state is LinkState.ATTACHED or self.away_since is None:
            return 0.0
        return now - self.away_since
