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


@dataclass(frozen=True)
class LinkStatus:
    """The link as a page shows it."""

    state: LinkState
    url: str
    since: float
    """When the state began, in seconds since the epoch."""
    reason: str
    """Why the last link ended or was not made; empty while attached."""

    def followed_by(self, state: LinkState, url: str, reason: str) -> LinkStatus:
        """Return the status after a change of state; raises ``RuntimeError`` for one that no link makes."""
        if state not in TRANSITIONS[self.state] | ALWAYS:
            raise RuntimeError(f"A link does not go from {self.state} to {state}.")
        return LinkStatus(state, url, time.time(), reason)
