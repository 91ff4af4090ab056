"""The model that is nearest to most others (Krum: Blanchard et al., NeurIPS 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .base import Aggregator, Contribution, Mix
from .distances import squared_distances
from .weighted_average import average


def krum_order(models: Sequence[Contribution]) -> tuple[list[int], int]:
    """Return the places of the models from the best score on, and how many hostile ones among them are reckoned with.

    A model's score is the sum of its squared distances to its n - f - 2 nearest. f is the largest number of hostile
    models for which the paper promises anything: n > 2 f + 2.
    """
    count = len(models)
    hostile = max(0, (count - 3) // 2)
    nearest = max(1, count - hostile - 2)
    distances = np.sort(squared_distances([model.weights for model in models]), axis=1)[:, 1 : 1 + nearest]
    return np.argsort(distances.sum(axis=1), kind="stable").tolist(), hostile


class Krum(Aggregator):
    """Take one model alone, the own one or a received one."""

    chosen_all_but_hostile = False

    def mix(self, own: Contribution, received: Sequence[Contribution]) -> Mix:
        """Return the model with the best score."""
        models = [own, *received]
        order, hostile = krum_order(models)
        chosen = order[: len(order) - hostile] if self.chosen_all_but_hostile else order[:1]
        left_out = tuple(place for place in range(len(received)) if place + 1 not in chosen)
        # By an average over all, which gives the dtypes of the own model.
        return Mix(
            average([model.weights for model in models], [float(place in chosen) for place in range(len(models))]),
            left_out,
        )
