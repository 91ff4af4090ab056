"""The learning so far as text: carts alone, federated, and one model on all data, after each round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

from child_cart.model.metric import ACCURACY, Metric

Json = dict[str, Any]
MODELS: Final = {"alone": "alone", "federated": "federated", "together": "all data"}
"""What is compared: the name in a point, and the name that people see."""
STYLES: Final = {"alone": "yellow", "federated": "bold green", "together": "cyan"}
STEPS: Final = " ▁▂▃▄▅▆▇█"
LEAST_WIDE: Final = 100
"""Columns from which a longer past is shown."""
PAST: Final = 8
LONG_PAST: Final = 16
LARGE: Final = 100
"""Values from here on are shown with four digits, not with three behind the point."""


def learning_line(points: Sequence[Json], width: int) -> Text:
    """Return one line: the newest value of each kind of model behind its past; empty without points."""
    line = Text(no_wrap=True, overflow="ellipsis")
    shown = points[-(LONG_PAST if width >= LEAST_WIDE else PAST) :]
    most = max((point[kind] or 0.0 for point in shown for kind in MODELS), default=0.0)
    for kind, name in MODELS.items() if points else ():
        line.append(f"{name} ", style="dim")
        line.append(bars([point[kind] for point in shown], most), style=STYLES[kind])
        line.append(f" {figure(points[-1][kind])}   ", style=STYLES[kind])
    return line


def learning_caption(points: Sequence[Json]) -> str:
    """Return what the newest point was measured on, in words; empty without points."""
    if not points:
        return ""
    newest = points[-1]
    if not newest["test_rows"]:
        return "Nothing is measured: the task has no test_rows and no evaluation_rows."
    after = f"round {newest['round']}" if newest["round"] else "the starter rows"
    carts = "one cart" if newest["carts"] == 1 else f"mean of {newest['carts']} carts"
    metric = Metric.of(newest["metric"])
    # One line of 80 columns: the direction that people expect is not said.
    title = capital(metric.name if metric == ACCURACY else metric.title)
    return f"{title} after {after}, {carts}, on {newest['test_rows']:,} rows never seen:"


def plain_line(point: Json) -> str:
    """Return a point as a line for a log."""
    values = ", ".join(f"{name} {figure(point[kind])}" for kind, name in MODELS.items())
    return f"{learning_caption([point])} {values}" if point["test_rows"] else learning_caption([point])


def bars(values: Sequence[float | None], most: float = 1.0) -> str:
    """Return one bar a value, from 0 to 1, or to ``most`` if that is larger; a blank where there is none."""
    scale = max(most, 1.0)
    return "".join(
        STEPS[0] if value is None else STEPS[1 + round(min(max(value / scale, 0.0), 1.0) * (len(STEPS) - 2))]
        for value in values
    )


def figure(value: float | None) -> str:
    """Return a value as people read it."""
    if value is None:
        return "-"
    return f"{value:.3f}" if abs(value) < LARGE else f"{value:.4g}"


def capital(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return text[:1].upper() + text[1:]
