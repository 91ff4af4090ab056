"""Connections that have come and are not set up yet, without I/O: whose turn is next, how soon, and who gives up.

To set up a connection costs many times what it costs to accept it. So networks take turns, and a client that opens
connections without end delays the others by one of its own, and never takes all of the server's time. Those that wait
are not cut as long as there is room, so their client has no reason to open others in their place.
"""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from typing import Generic, TypeVar

from cart_common.process.token_bucket import TokenBucket

T = TypeVar("T")


class Arrivals(Generic[T]):
    """Connections that wait to be set up: networks in turns, and those of one in their order.

    Args:
        most: connections that may wait.
        per_s: connections that are set up in a second, of all networks together.
        at_once: connections that are set up without delay, after a rest.
    """

    def __init__(self, most: int, per_s: float, at_once: int) -> None:
        self._most = most
        self._pace = TokenBucket(per_s, at_once, -math.inf)
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, network: str, connection: T) -> T | None:
        """Let a connection wait for its turn; return one that waits no longer, if now too many do.

        It is the oldest of the network of which the most wait.
        """
        self._waiting.setdefault(network, deque()).append(connection)
        self._count += 1
        if self._count <= self._most:
            return None
        crowd = max(self._waiting, key=lambda name: len(self._waiting[name]))
        return self._remove(crowd)

    def wait_s(self, now: float) -> float:
        """Return in how many seconds the next connection may be set up."""
        return self._pace.wait_s(1, now)

    def take(self, now: float) -> tuple[str, T]:
        """Return the connection whose turn it is, and its network. Call this when one waits and its time has come."""
        self._pace.take(1, now)
        network = next(iter(self._waiting))
        self._waiting.move_to_end(network)  # behind the others
        return network, self._remove(network)

    def take_all(self) -> list[T]:
        """Return all connections that wait, whatever the time, and forget them."""
        waiting = [connection for connections in self._waiting.values() for connection in connections]
        self._waiting.clear()
        self._count = 0
        return waiting

    def _remove(self, network: str) -> T:
        connections = self._waiting[network]
        connection = connections.popleft()
        self._count -= 1
        if not connections:
            del self._waiting[network]
        return connection
