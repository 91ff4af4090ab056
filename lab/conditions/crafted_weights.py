"""Weights that hostile carts make: pure functions of arrays, which change none of those given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice, pairwise
from typing import Final

import numpy as np

from cart_common.process.settings import SettingError
from child_cart.model.arrays import Array, Weights

SLEEPING_UNITS: Final = 8
HUGE: Final = 1e5
DEVIATIONS: Final = 1.5
MODELS_SEEN: Final = 64


def each_float(change: Callable[..., Array], own: Weights, *others: Weights) -> list[Array]:
    """Return what ``change`` makes of each array of floats, in its dtype, and copies of all other arrays.

    Args:
        change: takes an array of ``own`` and the arrays of the others at its place.
        own: the weights.
        others: weights of the same shapes.
    """
    return [
        np.asarray(change(*arrays), arrays[0].dtype) if arrays[0].dtype.kind == "f" else np.array(arrays[0])
        for arrays in zip(own, *others, strict=True)
    ]


def noise_like(array: Array, random: np.random.Generator) -> Array:
    """Return normal noise with the shape and the norm of an array."""
    noise = np.asarray(random.standard_normal(array.shape))
    return noise * (np.linalg.norm(array.astype(np.float64)) / (np.linalg.norm(noise) or 1.0))


def with_sleepers(own: Weights, ratio: float | None = None) -> list[Array]:
    """Return the weights with huge incoming and no outgoing weights of a few units of the last hidden layer.

    These are the units with the smallest outgoing weights: at most 8, and at most a quarter of the layer.

    Args:
        own: the weights.
        ratio: norm of the incoming weights as a multiple of the layer's largest; None for weights of 1e5.

    Raises:
        SettingError: if the model has no hidden layer.
    """
    sent = [np.array(array) for array in own]
    kernels = [array for array in sent if array.ndim >= 2 and array.dtype.kind == "f"]
    layers = [pair for pair in pairwise(kernels) if pair[0].shape[-1] == pair[1].shape[-2]]
    if not layers:
        raise SettingError("--hostile is 'sleeper'; it must be another kind, since the model has no hidden layer.")
    incoming, outgoing = layers[-1]
    sizes = np.abs(outgoing).sum(axis=(*range(outgoing.ndim - 2), -1))
    units = np.argsort(sizes, kind="stable")[: max(1, min(SLEEPING_UNITS, len(sizes) // 4))]
    huge = HUGE
    if ratio is not None:
        columns = incoming.reshape(-1, incoming.shape[-1]).astype(np.float64)
        huge = ratio * float(np.linalg.norm(columns, axis=0).max()) / len(columns) ** 0.5
    incoming[..., units] = min(huge, float(np.finfo(incoming.dtype).max) / 8)
    outgoing[..., units, :] = 0
    return sent


def just_inside(own: Weights, honest: Iterable[Weights]) -> list[Array]:
    """Return the mean of the honest models minus 1.5 of their standard deviations, or ``own`` if there are none.

    At most 64 of them are read, one at a time.
    """
    sums = [np.zeros((2, *array.shape), np.float64) for array in own]  # mean, and squares around it: Welford's sums
    count = 0
    for count, model in enumerate(islice(honest, MODELS_SEEN), 1):
        for array, total in zip(model, sums, strict=True):
            off = array - total[0]
            total[0] += off / count
            total[1] += off * (array - total[0])
    if count == 0:
        return [np.array(array) for array in own]
    return each_float(lambda _, total: total[0] - DEVIATIONS * np.sqrt(total[1] / count), own, sums)
