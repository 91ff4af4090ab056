"""The command line of the laboratory: ``lab run`` and its siblings."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from cart_common.process.errors import UserError
from cart_common.process.settings import CommandLine, SettingError

from ..config import RunConfig, RunFlags
from .start import lab_command, resume_command

if TYPE_CHECKING:
    from ..runs.experiment import Experiment

USAGE: Final = """usage: {start} COMMAND ...

Experiments with a thousand carts on one machine: the same rounds, verdicts and averages as in a cart.

  run        run an experiment into a folder, with a plot and a summary
  compare    compare runs: table and curves, with intervals over seeds
  sweep      run each combination of settings with several seeds, and compare
  new        write a package with a task of your own, which runs as it is

{start} COMMAND --help tells more.
"""


def run_command(argv: Sequence[str], console: Console) -> int:
    """Carry out ``lab run``; return the exit status."""
    line = CommandLine(RunFlags, "LAB", "Run an experiment with simulated carts into a folder.")
    line.prog = f"{lab_command()} run"
    line.add_argument("--config", metavar="FILE", help="TOML file with settings, such as the config.toml of a run")
    line.add_argument("--out", metavar="FOLDER", help="folder of the run (default: runs/TASK-TIME)")
    line.add_argument("--resume", metavar="FOLDER", help="go on with a stopped run, on another --engine if given")
    given, values = line.read_given(argv, os.environ)
    from ..runs.run_folder import RunFolder  # noqa: PLC0415 - as above
    from ..runs.running import Stop, carry_out  # noqa: PLC0415 - as above
    from .progress import RunProgress, summary_table  # noqa: PLC0415 - a wrong flag is told at once

    if given.resume:
        if given.config or given.out:
            raise SettingError("--resume goes on in the folder of a run with its own settings: no --config, no --out.")
        folder = RunFolder(Path(given.resume))
        config = folder.config().at_places_of(values)
    else:
        config = RunConfig.of_flags(values, Path(given.config) if given.config else None)
        name = f"{config.lab.task.rpartition(':')[2].lower()}-{time.strftime('%Y%m%d-%H%M%S')}"
        folder = RunFolder(Path(given.out) if given.out else Path("runs") / name)
    progress, stop = RunProgress(console, config), Stop()

    def begin(experiment: Experiment) -> None:
        progress.begin(experiment, folder.points())

    try:
        with progress.shown(), stop.on_interrupt():
            summary = carry_out(config, folder, begin, progress.add, stop, bool(given.resume))
    except KeyboardInterrupt:
        if not folder.is_begun:
            raise
        print(
            f"lab: interrupted; from its last saved round the run goes on with {resume_command(folder.path)}",
            file=sys.stderr,
        )
        return 130
    console.print()
    console.print(summary_table(summary, folder.path))
    if summary["complete"]:
        return 0
    console.print(f"Go on with it: {resume_command(folder.path)}", markup=False, soft_wrap=True)
    return 130


def _compare(argv: Sequence[str], console: Console) -> int:
    from .compare_command import compare_command  # noqa: PLC0415 - as in run_command

    return compare_command(argv, console)


def _sweep(argv: Sequence[str], console: Console) -> int:
    from .sweep_command import sweep_command  # noqa: PLC0415 - as in run_command

    return sweep_command(argv, console)


def _new(argv: Sequence[str], console: Console) -> int:
    from .new_command import new_command  # noqa: PLC0415 - as in run_command

    return new_command(argv, console)


COMMANDS: Final[dict[str, Callable[[Sequence[str], Console], int]]] = {
    "run": run_command,
    "compare": _compare,
    "sweep": _sweep,
    "new": _new,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(start=lab_command()))
        return 0 if words else 2
    try:
        command = COMMANDS.get(words[0])
        if command is None:
            raise SettingError(f"There is no lab command {words[0]!r}: it is {', '.join(COMMANDS)}.")
        return command(words[1:], Console(highlight=False))
    except UserError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lab: interrupted", file=sys.stderr)
        return 130
