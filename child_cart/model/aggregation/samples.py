"""Weight models by the number of rows that they were trained on (FedAvg, McMahan et al. 2017)."""

from __future__ import annotations

from typing import Final

from .base import AggregationRule, ModelFacts

MAX_SAMPLES_RATIO: Final = 10
"""Most samples of a received model that count, as a multiple of the own model's: a sender's claim cannot be checked."""


class SamplesRule(AggregationRule):
    """The more rows a model has learned from, the larger its share."""

    name = "samples"

    def weight(self, model: ModelFacts, own: ModelFacts) -> float:
        """Return the model's samples, limited by the own model's."""
        return float(min(model.samples, MAX_SAMPLES_RATIO * max(own.samples, 1)))
