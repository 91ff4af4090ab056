"""What the current model expects to sell, from the summary that was made with it. Decides without I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..db.records import ModelVersion, Origin
from .billing import CATEGORIES


@dataclass(frozen=True)
class CategoryShare:
    """A category and its share of what is sold, 0 to 1."""

    category: int
    name: str
    share: float


@dataclass(frozen=True)
class Trending:
    """Categories, the likeliest first; without any, ``sentence`` tells the shopper why."""

    trending: tuple[CategoryShare, ...] = ()
    sentence: str = ""


@dataclass(frozen=True)
class TrendingService:
    """Tells what is trending. May be called from any thread."""

    task_name: str
    current_version: Callable[[], ModelVersion | None]

    def trending(self, month: int, gender: int) -> Trending:
        """Return what the current model expects these shoppers to buy in this month."""
        return trending_of(self.current_version(), self.task_name, month, gender)


def trending_of(version: ModelVersion | None, task_name: str, month: int, gender: int) -> Trending:
    """Return what a model version expects these shoppers to buy in this month."""
    if version is None or version.origin is Origin.INITIAL:
        return Trending(sentence="Nothing is known yet: this cart's model has not been trained.")
    for table in version.summary.get("trending", []):
        if (table["month"], table["gender"]) == (month, gender):
            shares = [
                CategoryShare(number, CATEGORIES.get(number, str(number)), share)
                for number, share in enumerate(table["shares"], 1)
            ]
            return Trending(tuple(sorted(shares, key=lambda entry: -entry.share)))
    return Trending(sentence=f"What this cart learns ({task_name}) does not tell what sells.")
