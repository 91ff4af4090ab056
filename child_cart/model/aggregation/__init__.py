"""How received models are mixed with the cart's own: one file a rule, and the average that applies its shares.

A rule's shares need no NumPy, so it is loaded with the average, when that is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .weighted_average import STACK_ELEMENTS, AggregationError, average, normalised

__all__ = ["STACK_ELEMENTS", "AggregationError", "average", "normalised"]


def __getattr__(name: str) -> Any:
    """Load what the average exports when it is first used."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import weighted_average  # noqa: PLC0415 - imports NumPy

    return getattr(weighted_average, name)
