"""``lab compare``: a table for the terminal, a CSV file and a plot."""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from itertools import count, product
from pathlib import Path
from string import ascii_uppercase
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cart_common.process.settings import SettingError

from ..runs.compare import Group, difference, groups_of
from ..runs.plots import draw_groups
from ..runs.run_folder import CONFIG, RunFolder
from .start import lab_command

COLUMNS: Final = ("federated", "federated_worst", "alone", "all_data", "received_bytes")
COMPARE_COLUMNS: Final = (
    "group",
    "seeds",
    "rounds",
    *(f"{name}{part}" for name in COLUMNS for part in ("", "_margin")),
)


def compare_command(argv: Sequence[str], console: Console) -> int:
    """Carry out ``lab compare``; return the exit status."""
    line = argparse.ArgumentParser(
        prog=f"{lab_command()} compare",
        description="Compare runs. Those that differ in their seeds alone are one line, with a 95 % interval.",
        allow_abbrev=False,
    )
    line.add_argument("runs", nargs="+", metavar="RUN", help="folder of a run, or one that holds several")
    line.add_argument("--out", metavar="FOLDER", help="where to write compare.csv, compare.svg and compare.png")
    given = line.parse_args(list(argv))
    show(folders_in(given.runs), console, Path(given.out) if given.out else None)
    return 0


def folders_in(names: Sequence[str]) -> list[RunFolder]:
    """Return the runs that these folders are or hold.

    Raises:
        SettingError: if one is not there, or holds none.
    """
    found = []
    for name in names:
        path = Path(name)
        runs = [path] if RunFolder(path).is_begun else sorted(p.parent for p in path.glob(f"*/{CONFIG}"))
        if not runs:
            raise SettingError(f"{name} is no run, and holds none: a run has a file {CONFIG}.")
        found += [RunFolder(run) for run in runs]
    return found


def show(folders: Sequence[RunFolder], console: Console, out: Path | None) -> None:
    """Print the comparison; write it to a folder, too, if there is one."""
    groups = groups_of(folders)
    for letter, group in zip(_letters(), groups, strict=False):
        console.print(f"{letter}  {group.name}", highlight=False)
    metric = groups[0].metric.title
    title = f"{metric[:1].upper()}{metric[1:]} on rows that no cart sees, {_when(groups)} (± 95 % over seeds)"
    console.print(title, style="italic", highlight=False)
    console.print(_table(groups))
    for folder in folders:
        done, planned = len(folder.curve()), folder.config().lab.rounds
        if done < planned:
            console.print(f"{folder.path} has stopped after round {done} of {planned}.", highlight=False)
    for letter, other in zip(_letters(), groups, strict=False):
        found = difference(groups[0], other)
        if other is not groups[0] and found is not None and found.margin is not None:
            sure = "" if abs(found.mean) > found.margin else " (no certain difference)"
            console.print(f"{letter} - A: {found.mean:+.3f} ± {found.margin:.3f}{sure}", highlight=False)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        _write_csv(groups, out / "compare.csv")
        draw_groups(groups, out)
        console.print(f"Table and plots are in {out}.")


def _table(groups: Sequence[Group]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("", "seeds", "federated", "worst cart", "alone", "all data", "KB"):
        table.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for letter, group in zip(_letters(), groups, strict=False):
        values = [str(group.last(name)) for name in COLUMNS[:-1]]
        table.add_row(letter, str(len(group.curves)), *values, f"{group.last('received_bytes').mean / 1000:,.0f}")
    return table


def _when(groups: Sequence[Group]) -> str:
    """Return after which round runs are compared: that which all of a group have."""
    if len({group.rounds for group in groups}) == 1:
        return f"after round {groups[0].rounds}"
    rounds = (f"{group.rounds} ({letter})" for letter, group in zip(_letters(), groups, strict=False))
    return f"after round {', '.join(rounds)}"


def _letters() -> Iterator[str]:
    """Give A to Z, AA, AB and so on."""
    for size in count(1):
        yield from map("".join, product(ascii_uppercase, repeat=size))


def _write_csv(groups: Sequence[Group], path: Path) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COMPARE_COLUMNS)
        for group in groups:
            intervals = [group.last(name) for name in COLUMNS]
            cells = [cell for one in intervals for cell in (round(one.mean, 6), one.margin and round(one.margin, 6))]
            writer.writerow([group.name, len(group.curves), group.rounds, *cells])
