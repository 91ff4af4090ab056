"""Keep received weights in proportion to the own ones: what no training gives is made smaller, or refused.

A unit that sleeps, with huge incoming weights and outgoing ones of zero, changes nothing that a model says. In an
average it meets the outgoing weights of other models and ruins it. So what counts is the norm of each unit, not how
good the model is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from .arrays import Array, Weights

MOST_RATIO: Final = 2.0
"""Most norm of a unit of a received model, as a multiple of the largest of the own array."""
MOST_VECTOR_RATIO: Final = 10.0
"""The same for an element of a vector: biases and statistics differ more among honest carts than units do."""
MOST_CHANGE: Final = 3.0
"""Most change of a unit of a received model against the own one, as a multiple of the usual among the received."""
MOST_VECTOR_CHANGE: Final = 6.0
"""The same for an element of a vector."""
REFUSED_RATIO: Final = 100.0
"""A received model with a unit beyond this is not taken at all."""


def largest_ratio(received: Weights, own: Weights) -> float:
    """Return the largest norm of a unit of a received model, as a multiple of the largest of the same own array.

    A unit is a row or a column of a matrix, or a channel of a convolution. Vectors do not count here.
    """
    scale = _scale(own)
    return max(
        (
            float(norms.max(initial=0.0)) / _reference(own_array, axis, scale)
            for array, own_array in zip(received, own, strict=True)
            if array.dtype.kind == "f" and array.ndim > 1 and array.size
            for axis in (-1, -2)
            for norms in (_unit_norms(array, axis),)
        ),
        default=0.0,
    )


def in_proportion(received: Weights, own: Weights) -> list[Array]:
    """Return a received model whose units that are too large are scaled down to the most that is allowed.

    Arrays in which nothing is too large are the same objects.
    """
    scale = _scale(own)
    return [_bounded(array, own_array, scale) for array, own_array in zip(received, own, strict=True)]


def out_of_step(received: Sequence[Weights], own: Weights) -> frozenset[int]:
    """Return the places of the received models with a unit that differs from the own one far more than is usual.

    What is usual for an array is the largest difference of a unit in the median model, of an even number the lower one
    of both in the middle: models that are fewer than the others do not decide about it.
    """
    if len(received) < 2:
        return frozenset()
    found = set()
    for tensors in zip(own, *received, strict=True):
        for axis, most in (
            ((-1, MOST_CHANGE), (-2, MOST_CHANGE)) if tensors[0].ndim > 1 else ((-1, MOST_VECTOR_CHANGE),)
        ):
            changes = np.array([_largest_change(tensor, tensors[0], axis) for tensor in tensors[1:]])
            usual = np.sort(changes)[(len(changes) - 1) // 2]
            found |= {place for place, change in enumerate(changes) if usual > 0 and change > most * usual}
    return frozenset(found)


def _largest_change(array: Array, own: Array, axis: int) -> float:
    if array.dtype.kind != "f" or array.size == 0 or array.ndim == 0:
        return 0.0
    return float(_unit_norms(np.asarray(array, np.float64) - own, axis).max())


def _bounded(array: Array, own: Array, scale: float) -> Array:
    if array.dtype.kind != "f" or array.size == 0 or array.ndim == 0:
        return array
    if array.ndim == 1:
        most = MOST_VECTOR_RATIO * max(float(np.abs(own).max()), scale)
        return array if float(np.abs(array).max()) <= most else np.clip(array, -most, most)
    for axis in (-1, -2):
        most = MOST_RATIO * _reference(own, axis, scale)
        norms = _unit_norms(array, axis)
        if float(norms.max()) > most:
            factors = np.minimum(1.0, most / np.maximum(norms, np.finfo(np.float64).tiny))
            array = np.asarray(array * _along(factors, axis, array.ndim), array.dtype)
    return array


def _unit_norms(array: Array, axis: int) -> Array:
    """Return the norm of each unit along an axis, in double precision."""
    others = tuple(place for place in range(array.ndim) if place != array.ndim + axis)
    return np.asarray(np.sqrt(np.square(array, dtype=np.float64).sum(axis=others)))


def _along(factors: Array, axis: int, dimensions: int) -> Array:
    return factors.reshape([-1 if place == dimensions + axis else 1 for place in range(dimensions)])


def _reference(own: Array, axis: int, scale: float) -> float:
    """Return the norm of the largest own unit; of an array of zeros what a unit of the model's scale would have."""
    elements = own.size // own.shape[axis]
    return max(float(_unit_norms(own, axis).max()), scale * math.sqrt(elements))


def _scale(own: Sequence[Array]) -> float:
    """Return the root mean square of the own matrices' elements, or of all arrays' where there are none."""
    floats = [array for array in own if array.dtype.kind == "f" and array.size]
    counted = [array for array in floats if array.ndim > 1] or floats
    squares = sum(float(np.square(array, dtype=np.float64).sum()) for array in counted)
    return max(math.sqrt(squares / max(1, sum(array.size for array in counted))), 1e-12)
