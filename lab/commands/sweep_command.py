"""``lab sweep``: carry out the runs of a sweep, and compare them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from cart_common.process.settings import CommandLine, SettingError
from child_cart.model.task import load_task

from ..config import RunConfig, RunFlags
from ..runs.results import CurvePoint, RoundResult
from ..runs.running import Stop, carry_out
from ..runs.sweep import PlannedRun, planned, variations
from ..runs.sweep_cluster import carry_out_in_cluster
from ..runs.sweep_processes import carry_out_in_processes
from .compare_command import show
from .start import lab_command


def sweep_command(argv: Sequence[str], console: Console) -> int:
    """Carry out ``lab sweep``; return the exit status."""
    line = CommandLine(RunFlags, "LAB", "Run each combination of settings with several seeds, and compare the runs.")
    line.prog = f"{lab_command()} sweep"
    line.add_argument(
        "--vary", action="append", default=[], metavar="SETTING=A,B", help="values of a setting; may be repeated"
    )
    line.add_argument("--seeds", type=int, default=3, metavar="N", help="seeds of each combination (default: 3)")
    line.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs at a time, each in a process of its own (default: 1)"
    )
    line.add_argument("--out", required=True, metavar="FOLDER", help="folder of all runs; complete ones run only once")
    line.add_argument("--config", metavar="FILE", help="TOML file with the settings that do not vary")
    given, values = line.read_given(argv, os.environ)
    if given.seeds < 1:
        raise SettingError(f"--seeds is {given.seeds}; it must be at least 1.")
    base = RunConfig.of_flags(values, Path(given.config) if given.config else None)
    runs = planned(base, variations(given.vary), given.seeds, Path(given.out))
    for task in dict.fromkeys(run.config.lab.task for run in runs):
        load_task(task)  # so that a wrong name among several is told now, and not after the runs before it
    if given.jobs < 1:
        raise SettingError(f"--jobs is {given.jobs}; it must be at least 1.")
    on_ray = base.lab.engine == "ray"
    if on_ray and given.jobs > 1:
        raise SettingError(
            "--jobs is of one machine without Ray: with --engine ray, the cluster's cores take the runs."
        )
    stop = Stop()
    with stop.on_interrupt(), _progress(console) as progress:
        left = [run for run in runs if not run.folder.is_complete]
        if on_ray:
            _show_ended(carry_out_in_cluster(left, base.lab.ray_address, stop), runs, progress)
        elif given.jobs > 1 and left:
            _show_ended(carry_out_in_processes(left, given.jobs, stop), runs, progress)
        else:
            _carry_out_all(runs, progress, stop)
    if stop.asked:
        console.print("Stopped. The same command goes on.")
        return 130
    show([run.folder for run in runs], console, Path(given.out))
    return 0


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _carry_out_all(runs: Sequence[PlannedRun], progress: Progress, stop: Stop) -> None:
    """Carry out the runs one after the other."""
    rounds = progress.add_task("rounds", total=sum(run.config.lab.rounds for run in runs))
    for number, run in enumerate(runs, 1):
        if run.folder.is_complete:
            progress.advance(rounds, run.config.lab.rounds)
            continue
        progress.update(rounds, description=f"run {number} of {len(runs)}, {run.name}")

        def advance(_: RoundResult, point: CurvePoint) -> None:
            progress.advance(rounds)

        summary = carry_out(run.config, run.folder, lambda _: None, advance, stop, resume=run.folder.is_begun)
        if stop.asked:
            return
        _say(run, summary, progress)


def _show_ended(ended: Iterator[PlannedRun], runs: Sequence[PlannedRun], progress: Progress) -> None:
    """Show the runs that are carried out side by side, each when it has ended."""
    done = progress.add_task("runs", total=len(runs), completed=sum(run.folder.is_complete for run in runs))
    for run in ended:
        progress.advance(done)
        _say(run, run.folder.summary(), progress)


def _say(run: PlannedRun, summary: dict[str, Any], progress: Progress) -> None:
    found = summary["federated"]
    progress.console.print(f"{run.name}: federated {found['mean']:.3f} (worst {found['worst']:.3f})", highlight=False)
