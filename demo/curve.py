"""The learning so far as text: carts alone, federated, and one model on all data, after each round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.text import Text

Json = dict[str, Any]
MODELS: Final = {"alone": "alone", "federated": "federated", "together": "all data"}
"""What is compared: the name in a point, and the name that people see."""
STYLES: Final = {"alone": "yellow", "federated": "bold green", "together": "cyan"}
STEPS: Final = " ▁▂▃▄▅▆▇█"
LEAST_WIDE: Final = 100
"""Columns from which a longer past is shown."""
PAST: Final = 8
LONG_PAST: Final = 16


def learning_line(points: Sequence[Json], width: int) -> Text:
    """Return one line: the newest accuracy of each kind of model behind its past; empty without points."""
    line = Text(no_wrap=True, overflow="ellipsis")
    shown = points[-(LONG_PAST if width >= LEAST_WIDE else PAST) :]
    for kind, name in MODELS.items() if points else ():
        line.append(f"{name} ", style="dim")
        line.append(bars([point[kind] for point in shown]), style=STYLES[kind])
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
    return f"Accuracy after {after}, {carts}, on {newest['test_rows']:,} rows never seen:"


def plain_line(point: Json) -> str:
    """Return a point as a line for a log."""
    values = ", ".join(f"{name} {figure(point[kind])}" for kind, name in MODELS.items())
    return f"{learning_caption([point])} {values}" if point["test_rows"] else learning_caption([point])


def bars(values: Sequence[float | None]) -> str:
    """Return one bar a value, from 0 to 1; a blank where there is none."""
    return "".join(
        STEPS[0] if value is None else STEPS[1 + round(min(max(value, 0.0), 1.0) * (len(STEPS) - 2))]
        for value in values
    )


def figure(value: float | None) -> str:
    """Return an accuracy as people read it."""
    return "-" if value is None else f"{value:.3f}"
