"""Compare runs: those that differ in their seeds alone count as one, with a confidence interval over the seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from child_cart.model.metric import ACCURACY, Metric

from ..config import RunConfig
from .results import CurvePoint
from .run_folder import RunFolder, RunFolderError

CONFIDENCE: Final = 0.95


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and half the width of its confidence interval; None for one seed."""

    mean: float
    margin: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" if self.margin is None else f"{self.mean:.3f}±{self.margin:.3f}"


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seeds alone.

    Attributes:
        name: the settings in which it differs from the other groups.
        curves: the points of each run, by its seed.
        metric: what they measure.
    """

    name: str
    curves: Mapping[int, Sequence[CurvePoint]]
    metric: Metric = ACCURACY

    @property
    def rounds(self) -> int:
        """Rounds that all its runs have."""
        return min(len(points) for points in self.curves.values())

    def at(self, round_number: int, name: str) -> list[float]:
        """Return a value of each run in a round, in the order of the seeds."""
        return [float(getattr(self.curves[seed][round_number - 1], name)) for seed in sorted(self.curves)]

    def last(self, name: str) -> Interval:
        """Return a value at the end of the runs."""
        return interval(self.at(self.rounds, name))


def groups_of(folders: Sequence[RunFolder]) -> list[Group]:
    """Return the runs in groups, in the order in which they were given.

    Raises:
        RunFolderError, SettingError: if a folder is no run, has no rounds, has the settings and seed of another, or has
            measured something else.
    """
    runs = [(folder.config(), folder.curve()) for folder in folders]
    metrics = {folder.metric(): folder.path for folder in folders}
    if len(metrics) > 1:
        different = ", ".join(f"{path} has {metric.title}" for metric, path in metrics.items())
        raise RunFolderError(f"These runs measure different things and cannot be compared: {different}.")
    found: dict[str, dict[int, Sequence[CurvePoint]]] = {}
    names = _names([config for config, _ in runs])
    places: dict[tuple[str, int], Path] = {}
    for folder, (config, points), name in zip(folders, runs, names, strict=True):
        place = places.setdefault((name, config.lab.seed), folder.path)
        if place is not folder.path:
            raise RunFolderError(f"{place} and {folder.path} have the same settings and seed: leave one of them out.")
        found.setdefault(name, {})[config.lab.seed] = points
    return [Group(name, curves, next(iter(metrics))) for name, curves in found.items()]


def interval(values: Sequence[float]) -> Interval:
    """Return mean and confidence interval of values of independent seeds, by Student's t."""
    if len(values) < 2:
        return Interval(fmean(values), None)
    from scipy.stats import t  # noqa: PLC0415 - takes a second

    width = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Interval(fmean(values), width * stdev(values) / math.sqrt(len(values)))


def difference(first: Group, second: Group) -> Interval | None:
    """Return by how much the second group's value is higher at the end, paired by seed; None without common seeds."""
    common = sorted(set(first.curves) & set(second.curves))
    if not common:
        return None
    rounds = min(first.rounds, second.rounds)
    return interval(
        [second.curves[seed][rounds - 1].federated - first.curves[seed][rounds - 1].federated for seed in common]
    )


def _names(configs: Sequence[RunConfig]) -> list[str]:
    values = [{k: v for k, v in config.deciding().items() if k != "seed"} for config in configs]
    differing = [name for name in values[0] if len({str(one[name]) for one in values}) > 1]
    if not differing:
        return [_name(values[0], ("task", "aggregator"))] * len(values)
    return [_name(one, differing) for one in values]


def _name(values: Mapping[str, Any], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {_shown(values[name])}" for name in names)


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value) or "none"
