"""The mean of all models at each element without the smallest and largest values (Yin et al., ICML 2018)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ..arrays import Array
from .base import Aggregator, Contribution, Mix
from .elementwise import elementwise

TRIMMED: Final = 0.25
"""Part of the values that is left out on each side."""


class TrimmedMean(Aggregator):
    """Each element is the mean of the middle half of the models' values there."""

    def mix(self, own: Contribution, received: Sequence[Contribution]) -> Mix:
        """Return the trimmed mean."""
        return Mix(elementwise([own.weights, *(model.weights for model in received)], _trimmed_mean))


def _trimmed_mean(values: Array) -> Array:
    cut = int(TRIMMED * len(values))
    return np.asarray(np.sort(values, axis=0)[cut : len(values) - cut].mean(axis=0))
