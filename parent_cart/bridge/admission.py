"""Who may attach: carts that prove the fleet's token. An address that fails often waits for its answers. Pure."""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable
from typing import Final

from cart_common.process.token_bucket import AddressBuckets, network_of
from cart_common.wire.fleet_key import admission_proof

FAILURES_AT_ONCE: Final = 10
FAILURES_PER_S: Final = 0.2


class Admission:
    """The door of a bridge.

    Args:
        token: the bridge token; None admits every cart.
        clock: seconds that only grow.
        max_connections: the most that one address (of IPv6, one network) may have at once; 0 is no limit.
    """

    def __init__(self, token: bytes | None, clock: Callable[[], float], max_connections: int = 0) -> None:
        self.max_connections = max_connections
        self._connections: Counter[str] = Counter()
        self._token = token
        self._clock = clock
        self._failures = AddressBuckets(FAILURES_PER_S, FAILURES_AT_ONCE)

    def proves(self, proof: bytes, statement: bytes) -> bool:
        """Tell whether a cart's proof is right, in constant time."""
        return self._token is None or hmac.compare_digest(admission_proof(self._token, statement), proof)

    def may_enter(self, address: str) -> bool:
        """Tell whether an address may have one more connection."""
        return not self.max_connections or self._connections[network_of(address)] < self.max_connections

    def enter(self, address: str) -> None:
        """Count a connection of an address."""
        self._connections[network_of(address)] += 1

    def leave(self, address: str) -> None:
        """Count a connection less."""
        network = network_of(address)
        self._connections[network] -= 1
        if self._connections[network] <= 0:
            del self._connections[network]

    def note_failure(self, address: str) -> float:
        """Count a failed attach of an address; return for how many seconds its answer is held back.

        Only failures wait: behind one address, of a NAT or a proxy, there may be good carts as well as a bad one.
        """
        now = self._clock()
        left = self._failures.of(address, now).take(1, now)
        return max(0.0, -left / FAILURES_PER_S)
