"""Weight models by what they reach on this cart: their accuracy, or the inverse of their error."""

from __future__ import annotations

from .base import AggregationRule, ModelFacts


class AccuracyRule(AggregationRule):
    """The better a model, the larger its share."""

    name = "accuracy"

    def weight(self, model: ModelFacts, own: ModelFacts) -> float:
        """Return the model's accuracy, or the inverse of its error."""
        return model.quality
