"""Move towards each received model, by no more than a limit (ClippedGossip: He, Karimireddy and Jaggi, 2022)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Aggregator, Contribution, Mix
from .distances import squared_distances
from .weighted_average import average


class ClippedGossip(Aggregator):
    """Average with equal shares, after each received model was brought as near to the own one as the limit says.

    The limit is the median of the received models' distances: the paper's needs a bound of the number of hostile ones.
    """

    def mix(self, own: Contribution, received: Sequence[Contribution]) -> Mix:
        """Return the own model plus the mean of the clipped differences."""
        models = [own.weights, *(model.weights for model in received)]
        distances = np.sqrt([squared_distances([own.weights, model.weights])[0, 1] for model in received])
        limit = float(np.median(distances))
        kept = [min(1.0, limit / distance) if distance > 0 else 1.0 for distance in distances.tolist()]
        # own + sum(kept * (model - own)) / n is an average, whose shares these are.
        return Mix(average(models, [len(models) - sum(kept), *kept]))
