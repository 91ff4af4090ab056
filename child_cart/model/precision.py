"""How precisely weights are sent: as they are, or single precision as half (IEEE 754 binary16). Pure NumPy."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import numpy as np

from .arrays import Array, Weights

LARGEST: Final = float(np.finfo(np.float16).max)
SMALLEST_NORMAL: Final = float(np.finfo(np.float16).smallest_normal)


class Precision(StrEnum):
    """What the setting ``wire_precision`` can be."""

    HALF = "half"
    FULL = "full"


def as_sent(weights: Weights, precision: Precision) -> Weights:
    """Return the weights as they are sent to peers."""
    return halved(weights) if precision is Precision.HALF else weights


def halved(weights: Weights) -> list[Array]:
    """Return the weights with float32 arrays as float16, half as large, where that costs none of them much.

    No element of an array is then off by more than 2**-11 of the array's largest one. An array that float16 cannot
    hold so well, since its largest element is beyond 65,504 or below 2**-14, stays as it is; so do other dtypes.
    """
    return [array.astype(np.float16) if array.dtype == np.float32 and _holds(array) else array for array in weights]


def _holds(array: Array) -> bool:
    largest = max(-float(array.min()), float(array.max())) if array.size else 0.0
    return largest == 0 or SMALLEST_NORMAL <= largest <= LARGEST
