"""Draw the learning curves of runs, as SVG and PNG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, Final

from .compare import Group, interval
from .results import CurvePoint

# Colours that people with any colour vision tell apart (Okabe and Ito, 2008).
COLOURS: Final = {"all data": "#009E73", "federated": "#0072B2", "alone": "#D55E00"}
GROUP_COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SIZE_INCHES: Final = (7.0, 4.2)
PNG_DPI: Final = 160


def draw(points: Sequence[CurvePoint], folder: Path, title: str) -> None:
    """Draw accuracy by round with the bounds alone and all data."""
    axes, save = _axes(title)
    rounds = [point.round for point in points]
    axes.plot(rounds, [p.all_data for p in points], "--", color=COLOURS["all data"], label="one model on all data")
    axes.plot(rounds, [p.federated for p in points], color=COLOURS["federated"], label="federated, mean")
    axes.plot(rounds, [p.federated_worst for p in points], ":", color=COLOURS["federated"], label="federated, worst")
    axes.plot(rounds, [p.alone for p in points], color=COLOURS["alone"], label="alone, mean")
    save(folder / "accuracy")


def draw_groups(groups: Sequence[Group], folder: Path) -> None:
    """Draw the mean accuracy of several groups of runs by round, with bands of confidence and the bounds."""
    axes, save = _axes("mean of the carts; bands: 95 % over seeds")
    for group, colour in zip(groups, cycle(GROUP_COLOURS), strict=False):
        rounds = range(1, group.rounds + 1)
        found = [interval(group.at(number, "federated")) for number in rounds]
        axes.plot(rounds, [one.mean for one in found], color=colour, label=group.name)
        low = [one.mean - (one.margin or 0) for one in found]
        axes.fill_between(rounds, low, [one.mean + (one.margin or 0) for one in found], color=colour, alpha=0.15)
    bounds = groups[0]
    for name, label in (("all_data", "one model on all data"), ("alone", "alone")):
        values = [interval(bounds.at(number, name)).mean for number in range(1, bounds.rounds + 1)]
        axes.plot(range(1, bounds.rounds + 1), values, "--", color="#777777", linewidth=1)
        axes.annotate(label, (1, values[0]), fontsize=8, color="#777777", xytext=(2, 3), textcoords="offset points")
    save(folder / "compare")


def _axes(title: str) -> tuple[Any, Callable[[Path], None]]:
    """Return axes to draw on, and what writes the figure as SVG and PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - takes a second
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - as above

    figure = Figure(figsize=SIZE_INCHES, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(xlabel="round", ylabel="accuracy on rows that no cart sees", ylim=(0, 1))
    axes.set_title(title, fontsize=10)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)

    def save(path: Path) -> None:
        axes.legend(fontsize=8, loc="lower right")
        figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
        figure.savefig(path.with_suffix(".png"), dpi=PNG_DPI)

    return axes, save
