"""What every aggregator is: the own model and received ones in, their mix out. It does no I/O, and keeps nothing."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:  # the settings of a cart name aggregators, and need no NumPy
    from ..arrays import Weights


@dataclass(frozen=True)
class Contribution:
    """A model that may take part in a mix.

    Attributes:
        weights: its arrays, which may be views of a file: nobody changes them.
        samples: rows that it was trained on; of a received model its sender's claim, which cannot be checked, or None
            where the sender tells nothing.
    """

    weights: Weights
    samples: int | None = None


@dataclass(frozen=True)
class Quality:
    """How good weights are on the common evaluation rows.

    Attributes:
        loss: the mean of the rows' losses, lower is better.
        weight: by the task's metric, at least 0, larger is better: the fraction, or the inverse of the error.
    """

    loss: float
    weight: float


@dataclass(frozen=True)
class Mix:
    """What an aggregator has made.

    Attributes:
        weights: of the shapes and dtypes of the own model.
        left_out: places of the received models that took no part.
    """

    weights: Weights
    left_out: tuple[int, ...] = ()


Measuring: TypeAlias = "Generator[Sequence[Weights], Sequence[Quality], Mix]"
"""Yields weights, each time some together, and is sent their qualities."""


class Aggregator(ABC):
    """A way to mix the own model with received ones.

    Attributes:
        measures: whether it asks for the quality of weights. A task without common evaluation rows can measure
            nothing: there ``uniform`` takes its place.
    """

    measures: ClassVar[bool] = False

    @abstractmethod
    def mix(self, own: Contribution, received: Sequence[Contribution]) -> Mix | Measuring:
        """Return the mix, or a generator that yields weights to have them measured, and returns the mix.

        Args:
            own: the cart's own model.
            received: at least one, of the shapes of the own model, in dtypes that its arrays hold.
        """


class SharesAggregator(Aggregator):
    """An average whose shares follow from each model alone: one gives ``weight``."""

    def mix(self, own: Contribution, received: Sequence[Contribution]) -> Mix:
        """Return the average. When all weights are 0, all models get the same share."""
        from .weighted_average import average  # noqa: PLC0415 - imports NumPy

        weights = [self.weight(model, own) for model in (own, *received)]
        shares = weights if sum(weights) > 0 else [1.0] * len(weights)
        return Mix(average([own.weights, *(model.weights for model in received)], shares))

    @abstractmethod
    def weight(self, model: Contribution, own: Contribution) -> float:
        """Return the weight of one model, at least 0; ``own`` is the cart's own model."""
