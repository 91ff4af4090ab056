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


def specs_of(weights: Weights) -> tuple[TensorSpec, ...]:
    """Return dtype and shape of each array, in order."""
    return tuple(TensorSpec(np.dtype(array.dtype).str, tuple(array.shape)) for array in weights)
