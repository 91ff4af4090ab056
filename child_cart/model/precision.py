"""Precision of sent weights: unchanged, or single precision as half (IEEE 754 binary16). Pure NumPy."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

import numpy as np

from .arrays import Array, Weights

LARGEST: Final = float(np.finfo(np.float16).max)
SMALLEST_NORMAL: Final = float(np.finfo(np.float16).smallest_normal)


class Precision(StrEnum):
    """The choices of the setting ``wire_precision``."""

    HALF = "half"
    FULL = "full"

    @property
    def codec(self) -> str:
        """The name by which carts ask for it and offer it."""
        return CODECS[self]


CODECS: Final = {Precision.HALF: "float16", Precision.FULL: "float32"}
"""The codecs that this cart writes and reads; every cart reads that of full precision."""


def chosen(preferred: Precision, read_by_peer: Collection[str]) -> Precision:
    """Return how a model is sent to a peer that reads these codecs: as preferred if it can, else in full precision."""
    return preferred if preferred.codec in read_by_peer else Precision.FULL


def as_sent(weights: Weights, precision: Precision) -> Weights:
    """Return the weights as they are sent to peers."""
    return halved(weights) if precision is Precision.HALF else weights


def halved(weights: Weights) -> list[Array]:
    """Return the weights with float32 arrays as float16, where little precision is lost.

    The error of an element is at most 2**-11 of the array's largest element. An array whose largest element is above
    65,504 or below 2**-14 would lose more, and stays as it is; so do arrays of other dtypes.
    """
    return [array.astype(np.float16) if array.dtype == np.float32 and _holds(array) else array for array in weights]


def _holds(array: Array) -> bool:
    largest = max(-float(array.min()), float(array.max())) if array.size else 0.0
    return largest == 0 or SMALLEST_NORMAL <= largest <= LARGEST
