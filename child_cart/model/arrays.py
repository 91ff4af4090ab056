"""The array types of the model package, and the shapes that a model's weights must have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = Sequence[Array]


@dataclass(frozen=True)
class TensorSpec:
    """What one array of a model must be."""

    dtype: str
    shape: tuple[int, ...]


def fit(weights: Weights, expected: Sequence[TensorSpec]) -> bool:
    """Return whether arrays can stand for those expected: of the same shapes, and all their numbers held exactly."""
    found = specs_of(weights)
    return len(found) == len(expected) and all(
        one.shape == other.shape and np.can_cast(one.dtype, other.dtype, "safe")
        for one, other in zip(found, expected, strict=True)
    )


def with_dtypes(weights: Weights, expected: Sequence[TensorSpec]) -> list[Array]:
    """Return arrays that ``fit`` in the dtypes expected; an array that has its own already is not copied."""
    return [np.asarray(array, spec.dtype) for array, spec in zip(weights, expected, strict=True)]


def specs_of(weights: Weights) -> tuple[TensorSpec, ...]:
    """Return dtype and shape of each array, in order."""
    return tuple(TensorSpec(np.dtype(array.dtype).str, tuple(array.shape)) for array in weights)
