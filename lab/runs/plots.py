"""Draw the learning curves of runs, as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from child_cart.model.metric import FRACTION, Metric

from .compare import Group, interval
from .results import CurvePoint

# Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
COLOURS: Final = {"all data": "#009E73", "federated": "#0072B2", "alone": "#D55E00"}
GROUP_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHARED_COLOUR: Final = "#777777"
SIZE_INCHES: Final = (7.0, 4.2)
PNG_DPI: Final = 160


def draw(points: Sequence[CurvePoint], folder: Path, title: str, metric: Metric) -> None:
    """Draw the metric by round with the bounds alone and all data."""
    axes, save = _axes(title, metric)
    rounds = [point.round for point in points]
    axes.plot(rounds, [p.all_data for p in points], "--", color=COLOURS["all data"], label="one model on all data")
    axes.plot(rounds, [p.federated for p in points], color=COLOURS["federated"], label="federated, mean")
    axes.plot(rounds, [p.federated_worst for p in points], ":", color=COLOURS["federated"], label="federated, worst")
    axes.plot(rounds, [p.alone for p in points], color=COLOURS["alone"], label="alone, mean")
    save(folder / "curve")


def draw_groups(groups: Sequence[Group], folder: Path) -> None:
    """Draw the mean value of several groups of runs by round, with bands of confidence, and the bounds.

    Groups that have the same bound share one grey line; another one has the colour of its group.
    """
    axes, save = _axes("mean of the carts; bands: 95 % over seeds", groups[0].metric)
    for group, colour in zip(groups, cycle(GROUP_COLOURS), strict=False):
        rounds = range(1, group.rounds + 1)
        found = [interval(group.at(number, "federated")) for number in rounds]
        axes.plot(rounds, [one.mean for one in found], color=colour, label=group.name)
        low = [one.mean - (one.margin or 0) for one in found]
        axes.fill_between(rounds, low, [one.mean + (one.margin or 0) for one in found], color=colour, alpha=0.15)
    for name, label, style in (("all_data", "one model on all data", "--"), ("alone", "alone", ":")):
        axes.plot([], [], style, color=SHARED_COLOUR, label=label)
        for owner, values in bounds_of(groups, name):
            colour = SHARED_COLOUR if owner is None else GROUP_COLOURS[owner % len(GROUP_COLOURS)]
            axes.plot(range(1, len(values) + 1), values, style, color=colour, linewidth=1)
    save(folder / "compare")


def bounds_of(groups: Sequence[Group], name: str) -> list[tuple[int | None, list[float]]]:
    """Return each different mean of a bound by round, with the place of the group that has it alone; None for several.

    Args:
        groups: of runs.
        name: of the bound, as a point of a curve has it.
    """
    owners: dict[tuple[float, ...], list[int]] = {}
    for place, group in enumerate(groups):
        values = tuple(interval(group.at(number, name)).mean for number in range(1, group.rounds + 1))
        owners.setdefault(values, []).append(place)
    return [(places[0] if len(places) == 1 else None, list(values)) for values, places in owners.items()]


def _axes(title: str, metric: Metric) -> tuple[Any, Callable[[Path], None]]:
    """Return axes to draw on, and what writes the figure as SVG and PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - takes a second
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - as above

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel="round", ylabel=f"{metric.title},\non rows that no cart sees")
    if metric.unit == FRACTION:
        axes.set(ylim=(0, 1))
    axes.set_title(title, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)

    def save(path: Path) -> None:
        axes.legend(fontsize=8, loc="lower right" if metric.is_higher_better else "upper right")
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), dpi=PNG_DPI)

    return axes, save
