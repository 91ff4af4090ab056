"""What becomes of the variables of a Keras model: one rule, for the trainer and the laboratory. Any backend of Keras.

A variable is learned if a training changes it and its average is a number of the same kind: weights that are trained,
and statistics of layers that are trained. Learned arrays are stored, and travel unless their layer is personal. Frozen
arrays and preprocessing stay, and their digest says which they are. Seeds and whole numbers, such as counters, stay
too, and begin each training anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import keras
import numpy as np

from .arrays import Array
from .layout import Layout
from .personal_layers import personal_places

PREPROCESSING: Final = "keras.src.layers.preprocessing"
WIDE: Final = {"bfloat16": np.dtype(np.float32)}
"""NumPy has no bfloat16; single precision holds its numbers exactly."""


@dataclass(frozen=True)
class KerasLayout:
    """The variables of a built model, by what becomes of them.

    Attributes:
        learned: those that a training learns or measures, in the order in which carts keep and exchange them.
        fresh: of the others, those that a training may change; each training begins with their starting values.
        layout: what the learned ones are.
    """

    learned: list[Any]
    fresh: list[Any]
    layout: Layout

    @classmethod
    def of(cls, model: Any, personal_layers: Sequence[str] = ()) -> KerasLayout:
        """Return the layout of a built model.

        Raises:
            TaskError: if a personal layer is none of the model, or no other is trained.
        """
        trained = {id(variable) for variable in model.trainable_variables}
        moving = {
            id(variable)
            for layer in model._flatten_layers()
            if layer.trainable and not _is_preprocessing(layer)
            for variable in layer._non_trainable_variables
        }
        learned, fresh, kept = [], [], []
        weights = {id(variable) for variable in model.weights}
        measuring = {id(variable) for variable in model.metrics_variables}
        for variable in model.variables:
            is_float = "float" in keras.backend.standardize_dtype(variable.dtype)
            if id(variable) in weights and is_float and (id(variable) in trained or id(variable) in moving):
                learned.append(variable)
            elif id(variable) in weights and id(variable) not in moving:
                kept.append(variable)
            elif id(variable) not in measuring:
                fresh.append(variable)
        statistics = frozenset(place for place, one in enumerate(learned) if id(one) not in trained)
        personal = personal_places(personal_layers, _places_by_layer(model, learned), len(learned))
        return cls(learned, fresh, Layout(statistics, _digest(model, kept), personal))

    def weights(self) -> list[Array]:
        """Return copies of the learned arrays, in dtypes of NumPy."""
        return [array_of(variable) for variable in self.learned]


def array_of(variable: Any) -> Array:
    """Return a copy of a variable's value, in a dtype of NumPy that holds it exactly."""
    return np.array(variable.numpy()).astype(carried_dtype(variable))


def carried_dtype(variable: Any) -> np.dtype[Any]:
    """Return the dtype in which a variable is stored and sent."""
    name = keras.backend.standardize_dtype(variable.dtype)
    return WIDE[name] if name in WIDE else np.dtype(name)


def _places_by_layer(model: Any, learned: Sequence[Any]) -> dict[str, set[int]]:
    """Return the places of the learned arrays of each layer that has some, by its name."""
    places = {id(variable): place for place, variable in enumerate(learned)}
    found: dict[str, set[int]] = {}
    for layer in model._flatten_layers(include_self=False):
        own = {places[id(variable)] for variable in layer.variables if id(variable) in places}
        if own:
            found.setdefault(layer.name, set()).update(own)
    return found


def _is_preprocessing(layer: Any) -> bool:
    return type(layer).__module__.startswith(PREPROCESSING) or hasattr(layer, "finalize_state")


def _digest(model: Any, kept: Sequence[Any]) -> str:
    """Return a digest of the arrays that stay and of the preprocessing; empty without either."""
    layers = [layer for layer in model._flatten_layers() if _is_preprocessing(layer)]
    if not kept and not layers:
        return ""
    digest = hashlib.sha256()
    for variable in kept:
        array = array_of(variable)
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    for layer in layers:
        config = {name: part for name, part in layer.get_config().items() if name != "name"}
        told = [type(layer).__name__, config]
        if hasattr(layer, "get_vocabulary"):
            told.append([str(word) for word in layer.get_vocabulary()])
        digest.update(json.dumps(told, sort_keys=True, default=str).encode())
    return digest.hexdigest()
