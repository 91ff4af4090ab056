"""What a figure of a model is: its name, its unit, and which direction is better. Plain values, without NumPy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final

from cart_common.process.json_values import Json

FRACTION: Final = "fraction"
"""The unit of a figure from 0 to 1, which pages show as per cent."""


class MetricDirection(StrEnum):
    """Which values of a metric are better."""

    HIGHER = "higher"
    LOWER = "lower"


@dataclass(frozen=True)
class Metric:
    """What is measured.

    Attributes:
        name: as people read it: ``accuracy``, ``mean absolute error``.
        unit: ``fraction`` for a value from 0 to 1; of an error the unit of the targets; empty if that is not known.
        direction: which values are better.
    """

    name: str
    unit: str
    direction: MetricDirection

    @classmethod
    def of(cls, body: Json) -> Metric:
        """Return the metric whose ``as_json`` is this body."""
        return cls(str(body["name"]), str(body["unit"]), MetricDirection(body["direction"]))

    def as_json(self) -> Json:
        """Return it as records, pages and programs get it."""
        return asdict(self)

    @property
    def is_higher_better(self) -> bool:
        """Whether a higher value is better."""
        return self.direction is MetricDirection.HIGHER

    def gain(self, value: float, than: float) -> float:
        """Return by how much a value is better than another, in the unit of the metric; negative if it is worse."""
        return value - than if self.is_higher_better else than - value

    def gain_points(self, value: float, than: float) -> float:
        """Return by how much a value is better than another, in points.

        A point is a hundredth of a fraction. Of any other metric it is one per cent of the larger of both values.
        """
        larger = 1.0 if self.unit == FRACTION else max(abs(value), abs(than))
        return 100 * self.gain(value, than) / larger if larger else 0.0

    def best(self, values: Iterable[float]) -> float:
        """Return the best of some values."""
        return max(values) if self.is_higher_better else min(values)

    def worst(self, values: Iterable[float]) -> float:
        """Return the worst of some values."""
        return min(values) if self.is_higher_better else max(values)

    def weight(self, value: float | None) -> float:
        """Return how much a model of this value counts beside others: its fraction, or the inverse of its error.

        A model that was not measured counts 0.
        """
        if value is None:
            return 0.0
        return max(value, 0.0) if self.is_higher_better else 1 / max(value, _LEAST_ERROR)

    def words(self, value: float | None) -> str:
        """Return the value with the metric's name and unit: ``mean absolute error 0.31 mm``."""
        return f"{self.name} {self.figure(value)}" if value is not None else f"{self.name} not measured"

    def figure(self, value: float | None) -> str:
        """Return the value with its unit, as a log shows it: a fraction as 0.905, others with four digits."""
        if value is None:
            return "not measured"
        text = f"{value:.3f}" if self.unit == FRACTION else f"{value:.4g}"
        return text if self.unit in ("", FRACTION) else f"{text} {self.unit}"

    @property
    def title(self) -> str:
        """The name with unit and direction, as the title of a column or an axis."""
        unit = f" in {self.unit}" if self.unit not in ("", FRACTION) else ""
        return f"{self.name}{unit} ({self.direction} is better)"


_LEAST_ERROR: Final = 1e-12
ACCURACY: Final = Metric("accuracy", FRACTION, MetricDirection.HIGHER)
