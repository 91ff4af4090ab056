"""What a person sees of a run: a bar, the learning curve in small, and at the end the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from child_cart.model.metric import Metric

from ..config import RunConfig
from ..runs.experiment import Experiment
from ..runs.results import CurvePoint, RoundResult

BLOCKS: Final = "▁▂▃▄▅▆▇█"
LABELS_CHARS: Final = 36
"""Beside a curve: its name and its newest numbers."""


class RunProgress:
    """Shows one run on a console.

    Args:
        console: where to.
        config: of the run.
    """

    def __init__(self, console: Console, config: RunConfig) -> None:
        self._console = console
        self._config = config
        self._points: list[CurvePoint] = []
        self._bar = Progress(
            TextColumn("round"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[speed]}"),
            console=console,
        )
        self._task = self._bar.add_task("", total=config.lab.rounds, speed="")
        self._live: Live | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the run while the block lasts."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._view(), console=self._console, refresh_per_second=8) as self._live:
            yield
        self._live = None

    def begin(self, experiment: Experiment, earlier: Sequence[CurvePoint]) -> None:
        """Say what runs, and go on with the curve of the rounds that were done earlier."""
        self._points += earlier
        lab = self._config.lab
        self._console.print(f"{lab.carts:,} carts learn {lab.task}, {experiment.engine_words}.")
        self._console.print(experiment.data.words)
        self._bar.update(self._task, completed=experiment.rounds_done)

    def add(self, result: RoundResult, point: CurvePoint) -> None:
        """Show a round that has ended."""
        self._points.append(point)
        speed = f"{self._config.lab.carts / point.real_s:,.0f} carts x rounds/s" if point.real_s else ""
        self._bar.update(self._task, completed=point.round, speed=speed)
        if self._live is not None:
            self._live.update(self._view())
        else:
            self._console.print(
                f"round {point.round} of {self._config.lab.rounds}: federated {point.federated:.3f} "
                f"(worst {point.federated_worst:.3f}), alone {point.alone:.3f}, all data {point.all_data:.3f}",
                highlight=False,
            )

    def _view(self) -> RenderableType:
        if not self._points:
            return self._bar
        last = self._points[-1]
        table = Table.grid(padding=(0, 2))
        for name, values, note in (
            ("all data", [point.all_data for point in self._points], ""),
            ("federated", [point.federated for point in self._points], f"worst {last.federated_worst:.3f}"),
            ("alone", [point.alone for point in self._points], f"worst {last.alone_worst:.3f}"),
        ):
            table.add_row(name, Text(curve(values, self._console.width - LABELS_CHARS)), f"{values[-1]:.3f}", note)
        return Group(self._bar, table)


def curve(values: Sequence[float], chars: int) -> str:
    """Return values as a line of this many blocks at most, the newest at its end; from 0 to 1, or to the largest."""
    chars = max(chars, 1)
    if len(values) > chars:
        values = [values[(place + 1) * len(values) // chars - 1] for place in range(chars)]
    most = max(1.0, *values) if values else 1.0
    return "".join(BLOCKS[max(0, min(int(value / most * len(BLOCKS)), len(BLOCKS) - 1))] for value in values)


def summary_table(summary: dict[str, Any], folder: Path) -> RenderableType:
    """Return the results of a run for a terminal."""
    rounds = summary["rounds"]
    table = Table(title=f"After {rounds} round{'' if rounds == 1 else 's'}", title_justify="left")
    table.add_column(f"{Metric.of(summary['metric']).title}, on rows that no cart sees")
    table.add_column("mean", justify="right")
    table.add_column("worst cart", justify="right")
    for name, found in (("alone", summary["alone"]), ("federated", summary["federated"])):
        table.add_row(name, f"{found['mean']:.3f}", f"{found['worst']:.3f}")
    table.add_row("one model on all data", f"{summary['all_data']:.3f}", "")
    end = (
        f"{summary['received_bytes_per_cart_and_round']:,.0f} bytes received a cart and round, "
        f"{summary['cart_rounds_per_s']:,.0f} carts x rounds/s.\nResults and plots are in {folder}."
    )
    return Group(table, Text(end))
