"""Average models by the number of rows that they were trained on (FedAvg, McMahan et al., 2017)."""

from __future__ import annotations

from .base import Contribution, SharesAggregator


class Samples(SharesAggregator):
    """The more rows a model has learned from, the larger its share.

    A peer's count cannot be checked: it counts for at most as much as one's own, and so does a peer that tells none.
    """

    def weight(self, model: Contribution, own: Contribution) -> float:
        """Return the model's samples, limited by the own model's."""
        most = max(own.samples or 0, 1)
        return float(most if model.samples is None else max(0, min(model.samples, most)))
