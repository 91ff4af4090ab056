"""Places for connections, without I/O: who gets one, and who gives one up when an address or the server has no more."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass

from cart_common.process.displacement import to_displace


@dataclass(eq=False, slots=True)
class Place:
    """One connection.

    Attributes:
        network: of the client; connections are counted by it.
        waiting_since: when the cart began to wait for the client to send or to take something; None while the cart
            works on its request.
        holder: the task that ends with the connection; cancelled, it ends it.
        is_held: whether that task has begun.
    """

    network: str
    waiting_since: float | None
    holder: asyncio.Task[None] | None = None
    is_held: bool = False


class Places:
    """All connections of a server.

    Args:
        most: places in all.
        most_of_one: places of one network.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._taken: defaultdict[str, set[Place]] = defaultdict(set)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def are_all_answered(self) -> bool:
        """Whether every place is taken and none can be given up: the cart works on all requests."""
        return self._count >= self._most and not any(
            place.waiting_since is not None for some in self._taken.values() for place in some
        )

    def is_full_for(self, network: str) -> bool:
        """Return whether one more connection of this network has no place."""
        return self._count >= self._most or len(self._taken.get(network, ())) >= self._most_of_one

    def to_give_up(self, network: str) -> Place | None:
        """Return the connection that gives its place to a new one of this network; None if all are being answered.

        It is the one that the cart has waited for longest: of the same network if that has all of its places, else of
        the network that has the most, where one waits. A client that sends its request at once loses nothing; half-open
        ones do.
        """
        own = self._taken.get(network, ())
        crowds = [own] if len(own) >= self._most_of_one else self._taken.values()
        return next(iter(to_displace(crowds, lambda place: place.waiting_since)), None)

    def enter(self, place: Place) -> None:
        """Give a connection a place."""
        self._taken[place.network].add(place)
        self._count += 1

    def leave(self, place: Place) -> None:
        """Take a place back. Safe to call again."""
        places = self._taken.get(place.network, set())
        if place in places:
            places.remove(place)
            self._count -= 1
            if not places:
                del self._taken[place.network]
