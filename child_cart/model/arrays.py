"""The array types of the model package, and the shapes that a model's weights must have."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Weights = Sequence[Array]
Tree = Any
"""An array (rows, ...), or several in a dict, list or tuple, as Keras takes inputs and gives outputs."""


@dataclass(frozen=True)
class TensorSpec:
    """Dtype and shape of one array of a model."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class StoredArray:
    """What a weights file says of one array: what it is, and the personal layer that it is of; empty if it is sent."""

    spec: TensorSpec
    personal_layer: str = ""


def fit(weights: Weights, expected: Sequence[TensorSpec]) -> bool:
    """Return whether the arrays have the expected shapes, and the expected dtypes hold their numbers exactly."""
    found = specs_of(weights)
    return len(found) == len(expected) and all(
        one.shape == other.shape and _holds(other.dtype, one.dtype) for one, other in zip(found, expected, strict=True)
    )


def widened(weights: Weights, expected: Sequence[TensorSpec]) -> list[Array]:
    """Convert arrays that ``fit`` to the expected dtypes, without needless copies; return others unchanged."""
    if not fit(weights, expected):
        return list(weights)
    return [np.asarray(array, spec.dtype) for array, spec in zip(weights, expected, strict=True)]


def _holds(wide: str, narrow: str) -> bool:
    one, other = np.dtype(wide), np.dtype(narrow)
    rounds = one.kind == "f" and other.kind in "iu" and other.itemsize >= one.itemsize  # NumPy calls <i8 in <f8 safe
    return np.can_cast(other, one, "safe") and not rounds


def specs_of(weights: Weights) -> tuple[TensorSpec, ...]:
    """Return dtype and shape of each array, in order."""
    return tuple(TensorSpec(array.dtype.str, tuple(array.shape)) for array in weights)


def bytes_of(specs: Sequence[TensorSpec]) -> int:
    """Return the bytes that arrays of these specs take in memory."""
    return sum(math.prod(spec.shape) * np.dtype(spec.dtype).itemsize for spec in specs)


def rows_in(tree: Tree) -> int:
    """Return the number of rows of a tree: of its first array."""
    while isinstance(tree, dict | list | tuple):
        tree = next(iter(tree.values() if isinstance(tree, dict) else tree))
    return len(tree)


def mapped(change: Callable[[Array], Any], tree: Tree) -> Any:
    """Return a tree of the same form with each array changed."""
    if isinstance(tree, dict):
        return {name: mapped(change, part) for name, part in tree.items()}
    if isinstance(tree, list | tuple):
        return tuple(mapped(change, part) for part in tree)
    return change(tree)


def leaves(tree: Tree) -> list[Array]:
    """Return the arrays of a tree, in order."""
    found: list[Array] = []
    mapped(found.append, tree)
    return found


def joined(first: Sequence[Tree], second: Sequence[Tree]) -> Sequence[Tree]:
    """Return trees of the same form with the rows of both; the first ones if there are no second ones."""
    if not second:
        return first
    added = iter(leaves(tuple(second)))
    together: Sequence[Tree] = mapped(lambda array: np.concatenate([array, next(added)]), tuple(first))
    return together
