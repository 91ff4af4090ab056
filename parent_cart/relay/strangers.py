"""The connections that have not attached: bounded in all together, and none keeps its place for others of its address.

When all places are taken, a new connection gets that of the oldest stranger of the address with the most of them. So a
flood from one address displaces its own connections, and not a cart that attaches from another.
"""

from __future__ import annotations

from typing import Final

from cart_common.process.account import account_of
from cart_common.process.displacement import to_displace

from .cart_connection import CartConnection, Phase

STRANGERS_MOST: Final = 500
# Carts that all come at once, from behind one NAT, must not displace each other before they can attach.
ATTACHES_WITHIN_S: Final = 2.0


class NoPlace(Exception):
    """All places of strangers are taken by others that came just now."""


class Strangers:
    """The connections that have not attached, by the network that they come from."""

    def __init__(self) -> None:
        self._of_network: dict[str, dict[CartConnection, float]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def displaced_by(self, address: str, now: float) -> CartConnection | None:
        """Return the connection that must go so that there is a place for a new one of an address; None for no need.

        Raises:
            NoPlace: if there is none.
        """
        if self._count < STRANGERS_MOST:
            return None
        (oldest,) = to_displace(self._of_network.values(), self._since)
        own, crowd = self._of(address), self._of(oldest.address)
        may_attach = oldest.phase is Phase.GREETED and now - self._since(oldest) < ATTACHES_WITHIN_S
        if may_attach and len(own) + 1 >= len(crowd):
            raise NoPlace
        return oldest

    def add(self, connection: CartConnection, now: float) -> None:
        """Add a connection that has just been opened."""
        self._of_network.setdefault(account_of(address=connection.address), {})[connection] = now
        self._count += 1

    def remove(self, connection: CartConnection) -> None:
        """Remove a connection that has attached or is gone; one that is not there changes nothing."""
        crowd = self._of(connection.address)
        if crowd.pop(connection, None) is not None:
            self._count -= 1
            if not crowd:
                del self._of_network[account_of(address=connection.address)]

    def _of(self, address: str) -> dict[CartConnection, float]:
        return self._of_network.get(account_of(address=address), {})

    def _since(self, connection: CartConnection) -> float:
        return self._of(connection.address)[connection]
