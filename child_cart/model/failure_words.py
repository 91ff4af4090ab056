"""What a failed command of the trainer is called: one line of the error, and the place in the user's own code. Pure."""

from __future__ import annotations

import os
import re
import sysconfig
import traceback
from pathlib import Path
from typing import Final

MOST_WORDS: Final = 300
OUT_OF_MEMORY: Final = {"MemoryError", "_ArrayMemoryError", "ResourceExhaustedError"}
"""What Python, NumPy and TensorFlow raise when they are given no memory."""
_PACKAGES: Final = ("child_cart.", "cart_common.")
_ANSI: Final = re.compile(r"\x1b\[[0-9;]*m")
# HDF5 puts the system's reason into the middle of its own words.
_ERRNO: Final = re.compile(r"\berrno = (\d+)")
# What Keras and TensorFlow write around the reason: the arguments after it, and graph, stack and node before or behind.
_ARGUMENTS: Final = re.compile(r"^\s*Arguments received by ", re.MULTILINE)
_AROUND: Final = re.compile(
    r'^(?:File "|\[\[|<stack traces|Detected at node |Graph execution error|Exception encountered when calling |'
    r"Traceback \(|During handling of |The above exception |Original stack trace |Stack trace for op |\d+ root error|"
    r"\(\d+\) |0 successful |\^+$|[~^]+$)"
)
_OPERATION: Final = re.compile(r"\s*\[Op:[^\]]*\]\s*(?:name:.*)?$")
_PLACE: Final = re.compile(r'File "([^"\n]+)", line (\d+)')
_CODE_OF_OTHERS: Final = tuple(
    str(Path(folder)) + os.sep
    for folder in (
        Path(__file__).parents[1],  # child_cart
        Path(__file__).parents[2] / "cart_common",
        Path(__file__).parents[2] / "lab",
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib"),
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
    )
)


def failure_sentence(error: BaseException) -> str:
    """Return why a command has failed, as one sentence: the reason, and the file and line of the user's code.

    An error of the cart's own says it all; of a library's, the last line that gives a reason is taken.
    """
    if f"{type(error).__module__}.".startswith(_PACKAGES):
        return _ANSI.sub("", str(error))
    place = _own_place(error)
    where = f" in {place[0]}, line {place[1]}" if place else ""
    return f"The task failed{where} ({type(error).__name__}: {reason_in(str(error))})."


def reason_in(text: str) -> str:
    """Return the last line of an error's text that gives a reason."""
    system = _ERRNO.search(text)
    if system is not None:
        return os.strerror(min(int(system[1]), 1 << 30))
    told = _ARGUMENTS.split(_ANSI.sub("", text), 1)[0]
    lines = told.splitlines()
    reasons = [
        line.strip()
        for before, line in zip(["", *lines], lines, strict=False)
        if line.strip() and not _AROUND.match(line.strip()) and not _PLACE.search(before)
    ]
    reason = _OPERATION.sub("", reasons[-1] if reasons else "").strip().rstrip(".") or "no reason was given"
    reason = "".join(letter if letter.isprintable() else " " for letter in reason)
    return reason if len(reason) <= MOST_WORDS else f"{reason[:MOST_WORDS]}…"


def _own_place(error: BaseException) -> tuple[str, int] | None:
    """Return file and line of the user's code that was last on the way to the error, or None."""
    frames = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    # TensorFlow traces a model's code once, and names its places in the text of later errors.
    frames += [(file, int(line)) for file, line in _PLACE.findall(str(error))]
    own = [place for place in frames if _is_own(place[0])]
    return own[-1] if own else None


def _is_own(file: str) -> bool:
    is_made = file.startswith("<") or "__autograph_generated_file" in file
    return not is_made and not os.path.abspath(file).startswith(_CODE_OF_OTHERS) and "-packages" + os.sep not in file
