"""Arrays as small whole numbers and one scale a channel: 8 or 4 bits a weight (after Krishnamoorthi, 2018). Pure NumPy.

A channel is what shares a place on the last axis: the weights of one unit of a dense layer, one filter of a
convolution. A number is its code times its channel's scale. A scale takes 2 bytes, the upper half of a float32.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .arrays import Array

BITS: Final = {"int8": 8, "int4": 4}
LEAST_CHANNEL: Final = 16
"""Arrays with fewer weights a channel are not quantised: their scales would take much of what is saved."""
SCALE_BYTES: Final = 2
LARGEST: Final = 2.0**96
"""Numbers beyond this are not quantised; scales beyond it are refused, so no product overflows."""
_SMALLEST_SCALE: Final = 2.0**-126
# Codes are multiplied in blocks that stay in the cache.
_BLOCK_BYTES: Final = 256 * 1024
_PAIRS: Final = np.array([(low, high) for high in range(16) for low in range(16)], np.int8)
_DECODED_PAIRS: Final = np.ascontiguousarray((_PAIRS ^ 8) - 8).view(np.int16).reshape(-1)
"""The two codes of each byte, as one number of 2 bytes: the low four bits are the first code."""


class QuantisationError(ValueError):
    """Numbers that are no quantised array."""


@dataclass(frozen=True)
class Quantised:
    """An array as it is sent.

    Attributes:
        kind: a key of ``BITS``.
        shape: of the array.
        channels: how many scales there are. Elements stand in C order; each belongs to the next channel, in turn.
        packed: bytes: the scales, then the codes; of two codes of 4 bits in a byte, the first is the low one.
    """

    kind: str
    shape: tuple[int, ...]
    channels: int
    packed: NDArray[np.uint8]

    @property
    def decoded_bytes(self) -> int:
        """The bytes of the array in single precision."""
        return 4 * math.prod(self.shape)

    def check(self) -> None:
        """Raise ``QuantisationError`` unless the parts fit each other. Takes no memory for the array."""
        elements = math.prod(self.shape)
        if not 1 <= self.channels <= elements or elements % self.channels:
            raise QuantisationError(f"{elements} elements do not make {self.channels} channels")
        if self.packed.nbytes != SCALE_BYTES * self.channels + _code_bytes(elements, self.kind):
            raise QuantisationError("its codes and scales are not as many as its elements and channels")

    def array(self) -> NDArray[np.float32]:
        """Return the array in single precision.

        Raises:
            QuantisationError: if a scale is not a number above 0 and at most ``LARGEST``.
        """
        scales = _unpacked_scales(self.packed[: SCALE_BYTES * self.channels])
        if not np.all((scales > 0) & (scales <= LARGEST)):  # NaN is neither
            raise QuantisationError("a scale is not a number above 0 that is small enough")
        elements = math.prod(self.shape)
        codes = self.packed[SCALE_BYTES * self.channels :]
        unpacked = codes.view(np.int8) if BITS[self.kind] == 8 else _DECODED_PAIRS[codes].view(np.int8)[:elements]
        result = np.empty((elements // self.channels, self.channels), np.float32)
        by_channel = unpacked.reshape(result.shape)
        rows = max(_BLOCK_BYTES // (4 * self.channels), 1)
        for start in range(0, len(result), rows):
            block = result[start : start + rows]
            block[...] = by_channel[start : start + rows]
            block *= scales
        return result.reshape(self.shape)


def can_be_quantised(array: Array) -> bool:
    """Return whether an array is quantised.

    It is if its numbers are floats of 4 or 8 bytes, finite and at most ``LARGEST``, it has two axes or more, and a
    channel has ``LEAST_CHANNEL`` weights. So biases, statistics and whole numbers are not.
    """
    if array.dtype.str not in ("<f4", "<f8") or array.ndim < 2 or not array.size:
        return False
    if array.size // _channels(array.shape) < LEAST_CHANNEL:
        return False
    return max(-float(array.min()), float(array.max())) <= LARGEST  # False for NaN


def quantised(array: Array, kind: str) -> Quantised:
    """Return an array as codes and scales; each number is then off by at most half of its channel's scale.

    A scale is the channel's largest number divided by 127 (by 7 with 4 bits), rounded up to two bytes: by at most a
    128th part.

    Args:
        array: one that ``can_be_quantised``.
        kind: a key of ``BITS``.
    """
    most = 2 ** (BITS[kind] - 1) - 1
    channels = _channels(array.shape)
    by_channel = np.ascontiguousarray(array).reshape(-1, channels)
    largest = np.maximum(by_channel.max(axis=0), -by_channel.min(axis=0))
    packed_scales = _packed_scales(largest / most)
    scales = _unpacked_scales(packed_scales)
    codes = np.empty(by_channel.shape, np.int8)
    rows = max(_BLOCK_BYTES // (4 * channels), 1)
    for start in range(0, len(codes), rows):
        block = np.rint(by_channel[start : start + rows] / scales)
        codes[start : start + rows] = np.clip(block, -most, most, out=block)
    flat = codes.reshape(-1).view(np.uint8)
    packed_codes = flat if BITS[kind] == 8 else _packed_pairs(flat)
    return Quantised(kind, tuple(array.shape), channels, np.concatenate([packed_scales, packed_codes]))


def _channels(shape: tuple[int, ...]) -> int:
    # A depthwise kernel, (height, width, channels, 1), has its channels on the axis before the last.
    return shape[-2] if shape[-1] == 1 and len(shape) > 2 else shape[-1]


def _code_bytes(elements: int, kind: str) -> int:
    return -(-elements * BITS[kind] // 8)


def _packed_pairs(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    packed = np.bitwise_and(codes[::2], np.uint8(15))
    packed[: codes.size // 2] |= codes[1::2] << np.uint8(4)
    return packed


def _packed_scales(scales: Array) -> NDArray[np.uint8]:
    """Return scales rounded up to the upper half of a float32, as bytes."""
    bits = scales.astype(np.float32).clip(_SMALLEST_SCALE).view(np.uint32)
    return ((bits + 0xFFFF) >> 16).astype("<u2").view(np.uint8)


def _unpacked_scales(packed: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (np.frombuffer(packed.tobytes(), "<u2").astype(np.uint32) << 16).view(np.float32)
