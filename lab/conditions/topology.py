"""Decide which carts a simulated cart asks for their models in a round."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from .specs import Spec

LARGEST_CLUSTER: Final = 256  # as the cart setting cluster_size has it
TOPOLOGIES: Final = f"clusters:N (N random carts, 1 to {LARGEST_CLUSTER}), ring, full or exponential"

ARRANGEMENT: Final = 201


class Topology(Protocol):
    """The peers of each cart in each round."""

    @property
    def size(self) -> int:
        """Return the number of peers that a cart asks, at least 1."""

    def peers(self, cart: int, round_number: int, /) -> tuple[int, ...] | None:
        """Return the peers of a cart (from 0) in a round (from 1); None lets the relay pick ``size`` of those there."""


@dataclass(frozen=True)
class RandomClusters:
    """Random peers, new in each round, as a bridge picks them."""

    size: int

    def peers(self, _cart: int, _round_number: int, /) -> None:
        """Leave the choice to the relay."""


class Circle:
    """Carts in a circle; the peers of a cart stand at the same distances from it as those of any other.

    The order is drawn from the seed: carts with near numbers may hold similar rows, as in the partition ``own``.

    Args:
        carts: their number.
        seed: of the order.
        distances: takes the round's number and returns the distances to the peers; those that lead to the cart itself
            or to a peer once more do not count.
    """

    def __init__(self, carts: int, seed: int, distances: Callable[[int], Iterable[int]]) -> None:
        self._order = np.random.default_rng([seed, ARRANGEMENT]).permutation(carts).tolist()
        self._positions = {cart: position for position, cart in enumerate(self._order)}
        self._distances = distances

    @property
    def size(self) -> int:
        """Return the number of peers of any cart in a round, at least 1."""
        return max(1, len(self.peers(0, 1)))

    def peers(self, cart: int, round_number: int, /) -> tuple[int, ...]:
        """Return the carts at this round's distances."""
        position = self._positions[cart]
        found = (self._order[(position + step) % len(self._order)] for step in self._distances(round_number))
        return tuple(peer for peer in dict.fromkeys(found) if peer != cart)


def topology_of(spec: str, carts: int, seed: int) -> Topology:
    """Return the topology that a spec names.

    Args:
        spec: ``clusters:N``; ``ring`` (the two neighbours; Lian et al., 2017); ``full`` (all others); ``exponential``
            (one peer a round, at the distances 1, 2, 4 and so on in turn: the one-peer exponential graph of Ying et
            al., 2021).
        carts: their number.
        seed: of the order in which the carts stand.

    Raises:
        SettingError: if there is no such topology.
    """
    asked = Spec("topology", spec, TOPOLOGIES)
    if asked.name == "clusters":
        return RandomClusters(asked.whole(1, LARGEST_CLUSTER))
    distances: dict[str, Callable[[int], Iterable[int]]] = {
        "ring": lambda _: (1, -1),
        "full": lambda _: range(1, carts),
        "exponential": lambda number: (1 << number % max(1, (carts - 1).bit_length()),),
    }
    if asked.bare() not in distances:
        raise asked.refusal()
    return Circle(carts, seed, distances[asked.name])
