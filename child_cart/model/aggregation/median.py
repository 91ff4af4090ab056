"""The median of all models at each element (Yin et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Aggregator, Contribution, Mix
from .elementwise import elementwise


class Median(Aggregator):
    """Each element is the median of the models' values there."""

    def mix(self, own: Contribution, received: Sequence[Contribution]) -> Mix:
        """Return the median; of an even number of values the mean of the middle two."""
        models = [own.weights, *(model.weights for model in received)]
        return Mix(elementwise(models, lambda values: np.asarray(np.median(values, axis=0))))
