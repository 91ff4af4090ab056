"""How this laboratory was started: the words that begin its commands, for usage lines and advice."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

INSTALLED: Final = "federated-carts"
MAIN_WORDS: Final = ("main.py", "lab")
"""What ``main.py`` makes of the name of the program."""


def started_as_installed() -> bool:
    """Return whether the installed command was called."""
    return Path(sys.argv[0]).name == INSTALLED


def lab_command() -> str:
    """Return the words that start the laboratory as it was started now; ``python -m lab`` from Python."""
    if started_as_installed():
        return f"{INSTALLED} lab"
    script, _, word = sys.argv[0].rpartition(" ")
    if (Path(script).name, word) == MAIN_WORDS:
        return f"{python_command()} {shlex.quote(script)} lab"
    return f"{python_command()} -m lab"


def resume_command(folder: Path) -> str:
    """Return the command that goes on with a run."""
    return f"{lab_command()} run --resume {shlex.quote(str(folder))}"


def python_command() -> str:
    """Return how this Python is called in the current folder."""
    path = Path(sys.executable)
    is_found = shutil.which(path.name) == str(path)
    return path.name if is_found else shlex.quote(short(path))


def short(path: Path) -> str:
    """Return a path as it is named in the current folder, if it lies there."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
