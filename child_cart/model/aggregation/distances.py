"""Distances between models, all arrays of a model taken as one vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import Array, Weights


def squared_distances(models: Sequence[Weights]) -> Array:
    """Return the squared distance of each model to each other one: (models, models), in double precision."""
    count = len(models)
    total = np.zeros((count, count))
    for tensors in zip(*models, strict=True):
        for one in range(count):
            for other in range(one):
                off = np.asarray(tensors[one], np.float64) - tensors[other]
                total[one, other] += float(np.vdot(off, off))
    return total + total.T
