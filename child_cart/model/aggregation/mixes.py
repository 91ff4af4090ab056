"""Many averages of the same models, of which some at a time are made when they are looked at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, overload

import numpy as np

from ..arrays import Array, Weights
from .weighted_average import normalised

BLOCK_BYTES: Final = 8 * 1024 * 1024
"""Bytes of averages that are in memory at a time, but one average at least."""


class Mixes(Sequence[Weights]):
    """Averages of models, one for each list of shares.

    They are to be measured: floats are summed in their own precision.

    Args:
        models: arrays of the same shapes for each model.
        shares: lists of one share a model, of any scale.
    """

    def __init__(self, models: Sequence[Weights], shares: Sequence[Sequence[float]]) -> None:
        self._models = models
        self._shares = np.array([normalised(parts) for parts in shares])

    def __len__(self) -> int:
        """Return the number of averages."""
        return len(self._shares)

    @overload
    def __getitem__(self, place: int) -> Weights: ...

    @overload
    def __getitem__(self, place: slice) -> list[Weights]: ...

    def __getitem__(self, place: int | slice) -> Weights | list[Weights]:
        """Make an average, or several."""
        if isinstance(place, slice):
            return self._made(self._shares[place])
        return self._made(self._shares[place][np.newaxis])[0]

    def __iter__(self) -> Iterator[Weights]:
        """Make all, a block at a time."""
        block = max(1, BLOCK_BYTES // max(1, sum(array.nbytes for array in self._models[0])))
        for start in range(0, len(self), block):
            yield from self[start : start + block]

    def _made(self, shares: Array) -> list[Weights]:
        arrays = [_averages(tensors, shares) for tensors in zip(*self._models, strict=True)]
        return [[array[place] for array in arrays] for place in range(len(shares))]


def _averages(tensors: Sequence[Array], shares: Array) -> Array:
    dtype = tensors[0].dtype
    exact = np.dtype(np.float64) if dtype.kind in "iu" else np.result_type(dtype, np.float32)
    stacked = np.stack([np.asarray(tensor, exact).reshape(-1) for tensor in tensors])
    made = np.asarray(shares, exact) @ stacked
    whole = np.rint(made) if dtype.kind in "iu" else made
    return np.asarray(whole, dtype).reshape(len(shares), *tensors[0].shape)
