"""What every aggregation rule is: facts about models in, shares out. Pure values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class ModelFacts:
    """What a cart knows about a model when it decides how much of it goes into the average.

    Attributes:
        quality: measured on this cart, at least 0, larger is better: the accuracy, or the inverse of the error.
        samples: rows that the model was trained on; of a received model its sender's claim, which cannot be checked, or
            None where the sender tells nothing.
    """

    quality: float
    samples: int | None


class AggregationRule(ABC):
    """Decides the shares of the cart's own model and of the received ones.

    A rule gives ``name`` and ``weight``. One that has to compare the models with each other overrides ``shares``.

    Attributes:
        name: the value of the setting ``weighting`` that selects the rule.
    """

    name: ClassVar[str]

    def shares(self, own: ModelFacts, received: Sequence[ModelFacts]) -> list[float]:
        """Return one share a model, the own one first; each at least 0, of any scale, and never all 0.

        When all weights are 0, as while no model gets anything right yet, all models get the same share.
        """
        weights = [self.weight(model, own) for model in (own, *received)]
        return weights if sum(weights) > 0 else [1.0] * len(weights)

    @abstractmethod
    def weight(self, model: ModelFacts, own: ModelFacts) -> float:
        """Return the weight of one model, at least 0; ``own`` is the cart's own model."""
