"""Keep received weights in proportion to the own ones: what no training gives is made smaller, or refused.

A unit that sleeps, with huge incoming weights and outgoing ones of zero, changes nothing that a model says. In an
average it meets the outgoing weights of other models and ruins it. So what counts is the norm of each unit, not how
good the model is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence, Set
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


def largest_ratio(received: Weights, own: Weights, statistics: Set[int] = frozenset()) -> float:
    """Return the largest norm of a unit of a received model, in proportion to the own model and to its other units.

    It is a multiple of the largest unit of the same own array, or of the median one of the received array where that is
    larger: a whole array may have grown. A unit is a row or a column of a matrix, or a channel of a convolution.

    Args:
        received: the arrays of the received model.
        own: those of the own model.
        statistics: the places of arrays that measure rows: they may be as large as what they measure.
    """
    scale = _scale(own, statistics)
    largest = 0.0
    for place, (array, own_array) in enumerate(zip(received, own, strict=True)):
        if place not in statistics and array.dtype.kind == "f" and array.ndim > 1 and array.size:
            for axis in (-1, -2):
                norms = _unit_norms(array, axis)
                usual = max(_reference(own_array, axis, scale), float(np.median(norms)))
                largest = max(largest, float(norms.max()) / usual if usual else 0.0)
    return largest


def in_proportion(received: Sequence[Weights], own: Weights, statistics: Set[int] = frozenset()) -> list[Weights]:
    """Return the received models with units scaled down that are too large.

    The most is a multiple of the largest unit of the own array, or of that of the median received model where that is
    larger: a cart that has learned little learns from the others. Arrays in which nothing is too large stay the same
    objects.
    """
    scale = _scale(own, statistics)
    if scale == 0:  # an own model of zeros has no proportions yet
        return list(received)
    places = [
        list(arrays[1:]) if place in statistics else _bounded(list(arrays[1:]), arrays[0], scale)
        for place, arrays in enumerate(zip(own, *received, strict=True))
    ]
    return [list(model) for model in zip(*places, strict=True)] if received else []


def out_of_step(received: Sequence[Weights], own: Weights, statistics: Set[int] = frozenset()) -> frozenset[int]:
    """Return the places of the received models with a unit that differs from the own one far more than is usual.

    What is usual for an array is the largest difference of a unit in the median model.
    """
    found: set[int] = set()
    for number, tensors in enumerate(zip(own, *received, strict=True)):
        if number in statistics:
            continue
        for axis, most in _limits(tensors[0], MOST_CHANGE, MOST_VECTOR_CHANGE):
            changes = [_largest_change(tensor, tensors[0], axis) for tensor in tensors[1:]]
            usual = _lower_median(changes)
            found |= {place for place, change in enumerate(changes) if usual > 0 and change > most * usual}
    return frozenset(found)


def _limits(array: Array, of_units: float, of_elements: float) -> tuple[tuple[int, float], ...]:
    """Return the axes along which an array has units, with the limit of each; a vector's units are its elements."""
    return ((-1, of_units), (-2, of_units)) if array.ndim > 1 else ((-1, of_elements),)


def _largest_change(array: Array, own: Array, axis: int) -> float:
    if array.dtype.kind != "f" or array.size == 0 or array.ndim == 0:
        return 0.0
    return float(_unit_norms(np.asarray(array, np.float64) - own, axis).max())


def _bounded(arrays: list[Array], own: Array, scale: float) -> list[Array]:
    if own.dtype.kind != "f" or own.size == 0 or own.ndim == 0:
        return arrays
    for axis, ratio in _limits(own, MOST_RATIO, MOST_VECTOR_RATIO):
        norms = [_unit_norms(array, axis) for array in arrays]
        most = ratio * max(_reference(own, axis, scale), _lower_median([float(found.max()) for found in norms]))
        arrays = [
            array if float(found.max()) <= most else _scaled(array, most / np.maximum(found, most), axis)
            for array, found in zip(arrays, norms, strict=True)
        ]
    return arrays


def _scaled(array: Array, factors: Array, axis: int) -> Array:
    shape = [-1 if place == array.ndim + axis else 1 for place in range(array.ndim)]
    return np.asarray(array * factors.reshape(shape), array.dtype)


def _lower_median(values: Sequence[float]) -> float:
    """Return the median, of an even number of values the lower one of both in the middle; of one value 0.

    Models that are fewer than the others do not decide about it.
    """
    return sorted(values)[(len(values) - 1) // 2] if len(values) > 1 else 0.0


def _unit_norms(array: Array, axis: int) -> Array:
    """Return the norm of each unit along an axis, in double precision."""
    others = tuple(place for place in range(array.ndim) if place != array.ndim + axis)
    return np.asarray(np.sqrt(np.square(array, dtype=np.float64).sum(axis=others)))


def _reference(own: Array, axis: int, scale: float) -> float:
    """Return the norm of the largest own unit; of an array of zeros what a unit of the model's scale would have."""
    elements = own.size // own.shape[axis]
    return max(float(_unit_norms(own, axis).max()), scale * math.sqrt(elements))


def _scale(own: Sequence[Array], statistics: Set[int]) -> float:
    """Return the root mean square of the own matrices' elements, or of all arrays' where there are none."""
    learned = [array for place, array in enumerate(own) if place not in statistics]
    floats = [array for array in learned if array.dtype.kind == "f" and array.size]
    counted = [array for array in floats if array.ndim > 1] or floats
    squares = sum(float(np.square(array, dtype=np.float64).sum()) for array in counted)
    return math.sqrt(squares / max(1, sum(array.size for array in counted)))
