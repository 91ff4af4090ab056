"""Weight all models alike."""

from __future__ import annotations

from .base import AggregationRule, ModelFacts


class UniformRule(AggregationRule):
    """Every model gets the same share."""

    name = "uniform"

    def weight(self, model: ModelFacts, own: ModelFacts) -> float:
        """Return 1."""
        return 1.0
