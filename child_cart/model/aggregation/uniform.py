"""Average all models with the same share, as gossip averaging does (Boyd et al., 2006)."""

from __future__ import annotations

from .base import Contribution, SharesAggregator


class Uniform(SharesAggregator):
    """Every model gets the same share."""

    def weight(self, model: Contribution, own: Contribution) -> float:
        """Return 1."""
        return 1.0
