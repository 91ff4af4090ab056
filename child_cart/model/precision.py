"""Precision of sent weights, and the codecs that carry it: a giver takes one that the receiver reads. Pure NumPy."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

import numpy as np

from .arrays import Array, Weights
from .codec import encode
from .quantisation import Quantised, can_be_quantised, quantised

LARGEST: Final = float(np.finfo(np.float16).max)
SMALLEST_NORMAL: Final = float(np.finfo(np.float16).smallest_normal)


class Precision(StrEnum):
    """The choices of the setting ``wire_precision``."""

    FULL = "full"
    HALF = "half"
    INT8 = "int8"
    INT4 = "int4"

    @property
    def codec(self) -> str:
        """The name by which carts ask for it and offer it."""
        return CODECS[self]


CODECS: Final = {
    Precision.INT4: "int4",
    Precision.INT8: "int8",
    Precision.HALF: "float16",
    Precision.FULL: "float32",
}
"""The codecs that this cart writes and reads, the smallest first; every cart reads that of full precision."""
BITS: Final = {Precision.FULL: 32, Precision.HALF: 16, Precision.INT8: 8, Precision.INT4: 4}
"""Bits of most weights, of single precision in the model."""


def chosen(preferred: Precision, read_by_peer: Collection[str]) -> Precision:
    """Return how a model is sent to a peer that reads these codecs: as preferred if it can, else in more bits."""
    wide_enough = (one for one in CODECS if BITS[one] >= BITS[preferred] and one.codec in read_by_peer)
    return next(wide_enough, Precision.FULL)


def payload_of(weights: Weights, precision: Precision) -> bytes:
    """Return the weights as the bytes that a peer gets; raises ``CodecError`` for a dtype that cannot be sent."""
    return encode(as_sent(weights, precision))


def as_sent(weights: Weights, precision: Precision) -> list[Array | Quantised]:
    """Return the weights as they are sent to peers.

    With 8 or 4 bits, arrays that ``can_be_quantised`` are, and the others are halved.
    """
    match precision:
        case Precision.FULL:
            return list(weights)
        case Precision.HALF:
            return [_halved(array) for array in weights]
        case _:
            kind = str(precision)
            return [quantised(array, kind) if can_be_quantised(array) else _halved(array) for array in weights]


def _halved(array: Array) -> Array:
    """Return a float32 array as float16, where little precision is lost.

    The error of an element is at most 2**-11 of the array's largest element. An array whose largest element is above
    65,504 or below 2**-14 would lose more, and stays as it is; so do arrays of other dtypes.
    """
    return array.astype(np.float16) if array.dtype == np.float32 and _holds(array) else array


def _holds(array: Array) -> bool:
    largest = max(-float(array.min()), float(array.max())) if array.size else 0.0
    return largest == 0 or SMALLEST_NORMAL <= largest <= LARGEST
