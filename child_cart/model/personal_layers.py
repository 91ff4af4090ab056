"""Personal layers: their arrays are trained and kept with a cart's versions, and never sent. Plain values.

Carts learn the other layers together, and these each for itself: Arivazhagan et al., Federated Learning with
Personalization Layers, 2019; Collins et al., Exploiting Shared Representations for Personalized Federated Learning,
2021.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import TypeVar

from .arrays import Array, StoredArray, Weights
from .task import TaskError

T = TypeVar("T")


def personal_places(names: Sequence[str], places: Mapping[str, Set[int]], count: int) -> dict[int, str]:
    """Return the places of the arrays of these layers among the weights, with the name of the layer of each.

    Args:
        names: of the personal layers.
        places: of the arrays of each layer whose arrays are trained, by its name.
        count: of all arrays.

    Raises:
        TaskError: if there is no such layer, one is within another, or no array is left to send.
    """
    if isinstance(names, str):
        raise TaskError(f"personal_layers is {names!r}, and must be a tuple of names, such as ({names!r},).")
    for name in names:
        if name not in places:
            known = ", ".join(map(repr, places))
            raise TaskError(f"personal_layers names {name!r}, but the layers that are trained are {known}.")
    found = {place: name for name in names for place in places[name]}
    if found and len(found) == count:
        raise TaskError(
            f"personal_layers names all layers that are trained ({', '.join(map(repr, names))}), so nothing would be "
            "learned together: leave out at least one."
        )
    for name in set(names) - set(found.values()):
        raise TaskError(f"personal_layers names {name!r}, which is within another layer that it names: leave it out.")
    return dict(sorted(found.items()))


def shared_part(values: Sequence[T], personal: Collection[int]) -> list[T]:
    """Return what belongs to arrays that are sent, without that of these places."""
    return [value for place, value in enumerate(values) if place not in personal]


def sent_part(weights: Weights, stored: Sequence[StoredArray]) -> list[Array]:
    """Return the arrays of a weights file that are sent."""
    return [array for array, one in zip(weights, stored, strict=True) if not one.personal_layer]


def personal_in(stored: Sequence[StoredArray]) -> dict[int, str]:
    """Return the places of the personal arrays of a weights file, with the name of the layer of each."""
    return {place: one.personal_layer for place, one in enumerate(stored) if one.personal_layer}


def completed(shared: Weights, own: Weights, personal: Collection[int]) -> list[Array]:
    """Return arrays that were sent, with those of these places of the own model between them.

    Of another number of sent arrays comes another number than the own model has.
    """
    whole = list(shared)
    for place in sorted(personal):
        whole.insert(place, own[place])
    return whole
