"""Hostile carts of a run: they train and take part as others, and give peers what their attack makes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import numpy as np
from blake3 import blake3

from child_cart.model.arrays import Weights
from child_cart.model.codec import encode
from child_cart.model.precision import Precision, as_sent
from child_cart.model.trainer_commands import Steps, TrainerCommands
from child_cart.transfers.outgoing import Offerable

from ..conditions.attacks import Attack, Sight
from .cart import SimulatedCart

SENDING: Final = 302


class HostileCommands(TrainerCommands):
    """The commands of a hostile cart: it keeps what its rows have taught it, whatever that did to the model."""

    def ruin(self, *_: object) -> Steps[float | None]:
        """Call no training a ruin."""
        yield from ()
        return None


class HostileGiver:
    """Gives what an attack makes of a cart's model, the same to each peer.

    Args:
        cart: the hostile one.
        attack: makes it.
        honest: gives the current weights of the honest carts.
        precision: how precisely models are sent.
        seed: of this run.
    """

    def __init__(
        self,
        cart: SimulatedCart,
        attack: Attack,
        honest: Callable[[], Iterable[Weights]],
        precision: Precision,
        seed: int,
    ) -> None:
        self._cart = cart
        self._attack = attack
        self._honest = honest
        self._precision = precision
        self._seed = seed
        self._made: Offerable | None = None

    async def offer(self) -> Offerable | None:
        """Return the model that a peer gets."""
        given = await self._cart.sharing.offer()
        if given is None or (self._made is not None and self._made.model_version == given.model_version):
            return given and self._made
        random = np.random.default_rng([self._seed, SENDING, given.model_version, self._cart.number])
        sight = Sight(self._cart.weights_before, self._honest(), random)
        payload = encode(as_sent(self._attack.weights(self._cart.weights, sight), self._precision))
        self._made = replace(given, payload=payload, digest=blake3(payload).hexdigest())
        return self._made
