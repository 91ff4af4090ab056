"""Average models by what they reach on this cart, as Chen et al. weigh models (2020, "FOCUS")."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Aggregator, Contribution, Measuring, Mix
from .weighted_average import average


class Accuracy(Aggregator):
    """The better a model on the common evaluation rows, the larger its share; what a peer claims does not count.

    The share is the fraction that the task's metric says, or the inverse of its error.
    """

    measures = True

    def mix(self, own: Contribution, received: Sequence[Contribution]) -> Measuring:
        """Measure all models, and return their average; while none gets anything right, all get the same share."""
        models = [own.weights, *(model.weights for model in received)]
        weights = [quality.weight for quality in (yield models)]
        return Mix(average(models, weights if sum(weights) > 0 else [1.0] * len(models)))
