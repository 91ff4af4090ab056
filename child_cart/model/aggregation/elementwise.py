"""Mix models element by element with a function of their values at that element."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..arrays import Array, Weights
from .weighted_average import STACK_ELEMENTS


def elementwise(models: Sequence[Weights], reduce: Callable[[Array], Array]) -> list[Array]:
    """Return arrays of the dtypes of the first model.

    Args:
        models: arrays of the same shapes for each model.
        reduce: takes values (models, elements) in double precision, and returns (elements,).
    """
    return [_reduced(tensors, reduce) for tensors in zip(*models, strict=True)]


def _reduced(tensors: Sequence[Array], reduce: Callable[[Array], Array]) -> Array:
    result = np.empty_like(tensors[0], order="C")
    flat_result = result.reshape(-1)
    flat = [np.ascontiguousarray(tensor).reshape(-1) for tensor in tensors]
    block = max(1, STACK_ELEMENTS // len(flat))
    for start in range(0, flat_result.size, block):
        values = np.stack([np.asarray(tensor[start : start + block], np.float64) for tensor in flat])
        found = reduce(values)
        flat_result[start : start + block] = np.rint(found) if result.dtype.kind in "iu" else found
    return result
