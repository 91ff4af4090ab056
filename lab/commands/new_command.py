"""``lab new``: write a small package with a task to begin with."""

from __future__ import annotations

import argparse
import shlex
import shutil
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from rich.console import Console

from cart_common.process.os_errors import error_words
from cart_common.process.redaction import shown
from cart_common.process.settings import SettingError
from child_cart.model.csv_rows import read_fields

from .csv_columns import CsvColumns
from .scaffold import TaskNames, task_files
from .start import lab_command, python_command, short, started_as_installed

CLONE: Final = Path(__file__).resolve().parents[2]
CSV_DATA: Final = "csv_data.py"


def new_command(argv: Sequence[str], console: Console) -> int:
    """Carry out ``lab new``; return the exit status."""
    line = argparse.ArgumentParser(
        f"{lab_command()} new",
        description="Write a package with a task, rows, a test and a README into the current folder. It runs as it is.",
        allow_abbrev=False,
    )
    line.add_argument("name", metavar="NAME", help="of the task, as my-task; the package is then my_task")
    line.add_argument("--data", metavar="FILE", help="CSV file of your rows, which is copied (default: invented rows)")
    line.add_argument("--target", default="", metavar="COLUMN", help="column to learn (default: the last one)")
    given = line.parse_args(list(argv))
    if given.target and not given.data:
        raise SettingError(f"--target is {given.target!r}, a column of a CSV file: give the file with --data.")
    names = TaskNames.of(given.name)
    folder = Path(names.module)
    if folder.exists() or folder.with_suffix(".py").exists():
        raise SettingError(f"There is already a {names.module} in this folder: take another name, or remove it.")
    if find_spec(names.module) is not None:
        raise SettingError(f"Python has already a package {names.module}: take another name for the task.")
    commands = commands_here(started_as_installed())
    written = task_files(_template(with_csv=bool(given.data)), names, commands)
    left_out: tuple[str, ...] = ()
    if given.data:
        columns = CsvColumns.of(read_fields(Path(given.data)), given.target)
        written["fields.py"], left_out = columns.source(written["fields.py"]), columns.left_out
    _write(folder, written, given.data)
    _tell(console, names, written, commands, left_out)
    return 0


def _write(folder: Path, written: Mapping[str, str], data: str | None) -> None:
    try:
        folder.mkdir()
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
        if data:
            shutil.copyfile(data, folder / "rows.csv")
    except OSError as error:
        raise SettingError(f"The folder {folder} cannot be written: {error_words(error)}.") from None


def _tell(
    console: Console, names: TaskNames, written: Mapping[str, str], commands: Mapping[str, str], left_out: Sequence[str]
) -> None:
    say = partial(console.print, markup=False, soft_wrap=True)
    say(f"The task {names.title} is in {names.module}: {', '.join(sorted(written))}.")
    if left_out:
        say(f"Left out, since not every line has a number there: {', '.join(map(shown, left_out))}.")
    say("It runs as it is:\n")
    say(f"    {commands['python -m unittest']} {names.module}.test_{names.module}")
    say(f"    {commands['federated-carts lab']} run --task {names.module}:{names.task_class}")
    say(f"\n{names.module}/README.md goes on from there: your own rows, your own model, real carts.")


def commands_here(is_installed: bool) -> dict[str, str]:
    """Return what the commands of the template's README are in this installation, or in this clone."""
    python = python_command()
    if is_installed:
        return {
            "federated-carts lab": "federated-carts lab",
            "child-cart": "child-cart",
            "python -m unittest": f"{python} -m unittest",
        }
    start = f"{python} {shlex.quote(short(CLONE / 'main.py'))}"
    path = "" if Path.cwd() == CLONE else f"PYTHONPATH={shlex.quote(str(CLONE))} "
    return {
        "federated-carts lab": f"{start} lab",
        "child-cart": f"{start} child",
        "python -m unittest": f"{path}{python} -m unittest",
    }


def _template(with_csv: bool) -> dict[str, str]:
    """Return the files of the template; the module for a CSV file stands in for the one that invents rows."""
    folder = files("lab") / "template"
    texts = {entry.name: entry.read_text(encoding="utf-8") for entry in folder.iterdir() if entry.is_file()}
    csv_data = texts.pop(CSV_DATA)
    return {**texts, "data.py": csv_data} if with_csv else texts
