"""Counts of what has happened since the start, by name; for the metrics."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Name = TypeVar("Name", bound=Hashable)


class Counters(Generic[Name]):
    """A counter for each name; safe from any thread.

    Args:
        names: those that are there from the start, with 0: a rate can be told from their first event on.
    """

    def __init__(self, names: Iterable[Name] = ()) -> None:
        self._counts: Counter[Name] = Counter(dict.fromkeys(names, 0))
        self._counting = threading.Lock()

    def add(self, name: Name) -> None:
        """Count one more."""
        with self._counting:
            self._counts[name] += 1

    def counts(self) -> dict[Name, int]:
        """Return a copy of all counts."""
        with self._counting:
            return dict(self._counts)
