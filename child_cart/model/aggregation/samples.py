"""Weight models by the number of rows that they were trained on (FedAvg, McMahan et al. 2017)."""

from __future__ import annotations

from .base import AggregationRule, ModelFacts


class SamplesRule(AggregationRule):
    """The more rows a model has learned from, the larger its share, up to that of the own model.

    What a sender tells of its rows cannot be checked: it counts at most as the cart's own, and so does a model whose
    sender tells nothing.
    """

    name = "samples"

    def weight(self, model: ModelFacts, own: ModelFacts) -> float:
        """Return the model's samples, limited by the own model's."""
        most = own.samples or 0
        return float(most if model.samples is None else min(model.samples, most))
