"""The aggregators by name, loaded when they are first used: the settings of a cart name them without NumPy."""

from __future__ import annotations

import importlib
import os
import re
import sys
from typing import Final

from cart_common.process.errors import UserError

from .base import Aggregator

DEFAULT_AGGREGATOR: Final = "subset"
WITHOUT_MEASURING: Final = "uniform"
"""What takes the place of an aggregator that measures, where a task has no common evaluation rows."""
AGGREGATORS: Final = {
    "subset": "subset:Subset",
    "uniform": "uniform:Uniform",
    "accuracy": "accuracy:Accuracy",
    "samples": "samples:Samples",
    "median": "median:Median",
    "trimmed_mean": "trimmed_mean:TrimmedMean",
    "krum": "krum:Krum",
    "multi_krum": "multi_krum:MultiKrum",
    "clipped_gossip": "clipped_gossip:ClippedGossip",
}
NAMES: Final = f"{', '.join(AGGREGATORS)}, or your own class as package.module:Class"
_OWN_CLASS: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


class AggregatorError(UserError):
    """An aggregator cannot be loaded."""


def check_aggregator(name: str) -> str | None:
    """Return what a name must be, or None if it may name an aggregator."""
    return None if name in AGGREGATORS or _OWN_CLASS.fullmatch(name) else f"one of {NAMES}"


def check_loads(name: str) -> None:
    """Raise ``AggregatorError`` if a class of one's own cannot be loaded; those of this program need no trial."""
    if name not in AGGREGATORS:
        load_aggregator(name)


def load_aggregator(name: str) -> Aggregator:
    """Return the aggregator of this name. A module of one's own may also lie in the current folder, as a task's.

    Raises:
        AggregatorError: if it cannot be loaded, or is no aggregator.
    """
    built_in = AGGREGATORS.get(name)
    module_name, _, class_name = (built_in or name).partition(":")
    try:
        if built_in is None and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        package = __package__ if built_in else None
        module = importlib.import_module(f".{module_name}" if built_in else module_name, package)
        aggregator = getattr(module, class_name)()
    except Exception as error:  # the module is the user's, and may raise anything
        raise AggregatorError(
            f"The aggregator {name!r} cannot be loaded: {type(error).__name__}: {error}. It must be one of {NAMES}."
        ) from error
    if not isinstance(aggregator, Aggregator):
        raise AggregatorError(
            f"{name!r} is no aggregator: the class must be derived from child_cart.model.aggregation.base.Aggregator."
        )
    return aggregator
