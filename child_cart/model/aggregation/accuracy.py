"""Weight models by the accuracy that they reach on this cart."""

from __future__ import annotations

from .base import AggregationRule, ModelFacts


class AccuracyRule(AggregationRule):
    """The better a model, the larger its share."""

    name = "accuracy"

    def weight(self, model: ModelFacts, own: ModelFacts) -> float:
        """Return the model's accuracy."""
        return model.accuracy
