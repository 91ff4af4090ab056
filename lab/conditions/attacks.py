"""What hostile carts do: the rows that they train on, and the weights that they send instead of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np

from child_cart.model.arrays import Array, Weights
from child_cart.model.task import Row, Task

from .crafted_weights import each_float, just_inside, noise_like, with_sleepers
from .label_flip import LabelFlipper
from .specs import Spec

CHOICE: Final = 301


@dataclass(frozen=True)
class Sight:
    """What a hostile cart sees when it sends.

    Attributes:
        start: its model before its training.
        honest: the current weights of the honest carts, for attackers that collude.
        random: of the draws of this cart and round.
    """

    start: Weights
    honest: Iterable[Weights]
    random: np.random.Generator


class Attack:
    """An honest cart: an attack overrides ``rows`` or ``weights``."""

    def for_cart(self) -> Attack:
        """Return what one cart keeps: the same object for all, unless the attack remembers something of a cart."""
        return self

    def rows(self, rows: Sequence[Row], task: Task) -> Sequence[Row]:
        """Return the rows that the cart trains on instead of these."""
        return rows

    def weights(self, own: Weights, sight: Sight) -> list[Array]:
        """Return the weights that the cart sends instead of its own, as arrays of its own."""
        return [np.array(array) for array in own]


class SignFlip(Attack):
    """Send the opposite of what was learned (sign flipping: Li et al., RSA, AAAI 2019).

    Args:
        factor: of the update's length.
    """

    def __init__(self, factor: float = 1.0) -> None:
        self._factor = factor

    def weights(self, own: Weights, sight: Sight) -> list[Array]:
        """Return the start minus ``factor`` times the update."""
        return each_float(lambda new, old: old - self._factor * (new - old), own, sight.start)


class LabelFlip(Attack):
    """Train on flipped labels (Tolpegin et al., ESORICS 2020; the reverse order as in Fang et al., USENIX 2020)."""

    def __init__(self) -> None:
        self._flipper: LabelFlipper | None = None

    def rows(self, rows: Sequence[Row], task: Task) -> Sequence[Row]:
        """Return the rows with their labels in reverse order."""
        if self._flipper is None or self._flipper.task is not task:
            self._flipper = LabelFlipper(task)
        return self._flipper.flipped(rows)


class Noise(Attack):
    """Send a model in noise as loud as itself (after the Gaussian attack of Blanchard et al., NeurIPS 2017)."""

    def weights(self, own: Weights, sight: Sight) -> list[Array]:
        """Return the model, and in each array normal noise with the root mean square of the array."""
        return each_float(lambda array: array + noise_like(array, sight.random), own)


class Untrained(Attack):
    """Send what nobody trained: a free rider with random weights (Lin, Du and Liu, 2019)."""

    def weights(self, own: Weights, sight: Sight) -> list[Array]:
        """Return random arrays of the norms of the cart's own."""
        return each_float(lambda array: noise_like(array, sight.random), own)


class Stale(Attack):
    """Send always the first trained model: a free rider that no longer learns (after Fraboni et al., AISTATS 2021).

    Attributes:
        first: this model, once there is one. A run that is resumed must restore it.
    """

    def __init__(self) -> None:
        self.first: Weights | None = None

    def for_cart(self) -> Attack:
        """Return a new object: each cart has a first model of its own."""
        return Stale()

    def weights(self, own: Weights, sight: Sight) -> list[Array]:
        """Return the first weights that this cart has ever trained."""
        if self.first is None:
            self.first = super().weights(own, sight)
        return super().weights(self.first, sight)


class NotANumber(Attack):
    """Send a model that destroys each average with it: NaN (the arbitrary values of Blanchard et al., 2017)."""

    def weights(self, own: Weights, sight: Sight) -> list[Array]:
        """Return arrays of NaN."""
        return each_float(lambda array: np.full(array.shape, np.nan), own)


class Sleeper(Attack):
    """Send a model that scores as an honest one and ruins the average (found when this project attacked itself).

    A few hidden units get huge incoming weights and outgoing ones of zero. Alone they change little; in an average they
    meet the outgoing weights of other models.

    Args:
        ratio: norm of a unit's incoming weights, as a multiple of the largest of the layer; None for weights of 1e5.
    """

    def __init__(self, ratio: float | None = None) -> None:
        self._ratio = ratio

    def weights(self, own: Weights, sight: Sight) -> list[Array]:
        """Return the model with sleeping units in its last hidden layer; raises ``SettingError`` without such one."""
        return with_sleepers(own, self._ratio)


class LittleIsEnough(Attack):
    """Send what lies just inside the spread of the honest models (ALIE: Baruch, Baruch and Goldberg, NeurIPS 2019).

    The paper derives the distance from a majority vote among all, and with 2 hostile of 8 it is 0. Here it is 1.5
    standard deviations for every number of carts.
    """

    def weights(self, own: Weights, sight: Sight) -> list[Array]:
        """Return the honest models' mean minus 1.5 of their standard deviations; the own model if there are none."""
        return just_inside(own, sight.honest)


class Absent(Attack):
    """Take no part: what honest carts reach without the hostile ones, to compare with."""


KINDS: Final[dict[str, Callable[[], Attack]]] = {
    "sign-flip": SignFlip,
    "sign-flip-10": lambda: SignFlip(10.0),
    "label-flip": LabelFlip,
    "noise": Noise,
    "untrained": Untrained,
    "stale": Stale,
    "nan": NotANumber,
    "sleeper": Sleeper,
    **{f"sleeper-{ratio}": partial(Sleeper, ratio) for ratio in (2, 5, 10, 100, 1000)},
    "alie": LittleIsEnough,
    "absent": Absent,
}


def hostile_of(spec: str, carts: int, seed: int) -> dict[int, Attack]:
    """Return the attack of each hostile cart, by the cart's number from 0.

    Args:
        spec: the fraction of hostile carts and what they do, as ``0.25:sign-flip``; empty for none.
        carts: their number.
        seed: which of them are hostile depends on it.

    Raises:
        SettingError: if it is anything else, or makes no cart hostile, or all.
    """
    if not spec:
        return {}
    asked = Spec("hostile", spec, f"FRACTION:KIND, such as 0.25:sign-flip; kinds are {', '.join(KINDS)}")
    hostile = round(asked.number(asked.name, 0, 1) * carts)
    if asked.argument not in KINDS:
        raise asked.refusal()
    if not 0 < hostile < carts:
        raise asked.refusal(f"a fraction that makes some of {carts:,} carts hostile; this one makes {hostile:,} so")
    chosen = np.random.default_rng([seed, CHOICE]).permutation(carts)[:hostile]
    attack = KINDS[asked.argument]()
    return {cart: attack.for_cart() for cart in sorted(chosen.tolist())}
