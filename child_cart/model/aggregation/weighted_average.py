"""The weighted average of models (FedAvg, McMahan et al. 2017, applied peer to peer). Pure NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from ..arrays import Array, Weights, fit, specs_of

# Elements of all models that are averaged at a time: as float64 they stay in the cache, so the models are read from
# memory once. They take at most half of a tensor's bytes, or 8 KiB a model where that is more: in smaller blocks the
# fixed cost of each NumPy call shows.
STACK_ELEMENTS: Final = 256 * 1024
LEAST_BLOCK_ELEMENTS: Final = 1024


class AggregationError(ValueError):
    """Models that cannot be averaged."""


def average(models: Sequence[Weights], shares: Sequence[float]) -> list[Array]:
    """Return the average of the models, weighted by their shares.

    Each element is summed in float64 and rounded once, to the dtype of the first model. The models, which may be views
    of files, are read once; memory is needed for the result alone.

    Args:
        models: arrays of the same shapes for each model, in dtypes that those of the first model hold exactly.
        shares: one a model, at least 0, of any scale.

    Raises:
        AggregationError: if there are no models, the models do not fit, or a share is negative or not finite, or all
            are zero.
    """
    parts = normalised(shares)
    if not models or len(models) != len(parts):
        raise AggregationError(f"{len(models)} models cannot be averaged with {len(parts)} shares.")
    expected = specs_of(models[0])
    for place, model in enumerate(models):
        if not fit(model, expected):
            raise AggregationError(f"Model {place + 1} has other shapes or wider dtypes than the first one.")
    return [_average_tensor(tensors, parts) for tensors in zip(*models, strict=True)]


def normalised(shares: Sequence[float]) -> list[float]:
    """Return the shares scaled to sum to one.

    Raises:
        AggregationError: if one is negative or not finite, or all are zero.
    """
    if any(not math.isfinite(share) or share < 0 for share in shares):
        raise AggregationError(f"The shares {list(shares)} are not all finite and at least 0.")
    # Scaled by the largest first: the sum of huge shares would not be finite.
    largest = max(shares, default=0.0)
    if largest == 0:
        raise AggregationError("All shares are 0: there is nothing to average.")
    scaled = [share / largest for share in shares]
    total = math.fsum(scaled)
    return [share / total for share in scaled]


def _average_tensor(tensors: Sequence[Array], parts: Sequence[float]) -> Array:
    result = np.empty_like(tensors[0], order="C")
    whole_numbers = result.dtype.kind in "iu"
    flat_result = result.reshape(-1)
    flat = [np.ascontiguousarray(tensor).reshape(-1) for tensor in tensors]
    # Shares times stacked blocks: one pass makes the elements float64, a second one runs over the cache alone.
    stacked = min(STACK_ELEMENTS, flat_result.nbytes // 16)
    block = min(max(stacked // len(flat), LEAST_BLOCK_ELEMENTS), flat_result.size)
    weights, stack = np.array(parts), np.empty((len(flat), block))
    for start in range(0, flat_result.size, max(block, 1)):
        target = flat_result[start : start + block]
        for row, tensor in zip(stack, flat, strict=True):
            row[: target.size] = tensor[start : start + block]
        total = weights @ stack[:, : target.size]
        target[:] = np.rint(total) if whole_numbers else total
    return result
