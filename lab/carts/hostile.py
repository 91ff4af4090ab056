"""Hostile carts of a run: they train and take part as others, and give peers what their attack makes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import Final

import numpy as np
from blake3 import blake3

from child_cart.model.arrays import Weights
from child_cart.model.personal_layers import shared_part
from child_cart.model.precision import Precision, payload_of
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
    """Gives what an attack makes of a cart's newest training, the same to each peer of a round.

    Args:
        cart: the hostile one.
        attack: makes it.
        honest: gives the current weights of the honest carts.
        precision: how precisely models are sent.
        seed: of this run.
        personal: the places of the arrays that are never sent.
    """

    def __init__(
        self,
        cart: SimulatedCart,
        attack: Attack,
        honest: Callable[[], Iterable[Weights]],
        precision: Precision,
        seed: int,
        personal: Collection[int] = (),
    ) -> None:
        self._cart = cart
        self._attack = attack
        self._honest = honest
        self._precision = precision
        self._seed = seed
        self._personal = personal
        self._made: tuple[int, bytes, str] | None = None

    async def offer(self, codecs: tuple[str, ...]) -> Offerable | None:
        """Return the model that a peer gets."""
        given = await self._cart.sharing.offer(codecs)
        if given is None:
            return None
        # Not of the newest version: to a peer that asks late, the attack would be on an average.
        version, start, trained = self._cart.newest_training
        if self._made is None or self._made[0] != version:
            random = np.random.default_rng([self._seed, SENDING, version, self._cart.number])
            sight = Sight(start, self._honest(), random)
            sent = shared_part(self._attack.weights(trained, sight), self._personal)
            payload = payload_of(sent, self._precision)
            self._made = version, payload, blake3(payload).hexdigest()
        _, payload, digest = self._made
        return replace(given, payload=payload, digest=digest)

    def end_round(self) -> None:
        """Forget what was made in this round."""
        self._made = None
