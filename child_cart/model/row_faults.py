"""Which rows a model cannot learn from, and why. Pure but for the task, which is the user's.

A learner may take what others do not, as numbers that are missing, so rows are looked at only when a training has
failed. Where every row has a fault, it is the task's or the model's, not theirs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from typing import Any, Final, Protocol

import numpy as np

from .arrays import Array, Weights, leaves
from .failure_words import reason_in
from .task import Row, Task

MOST_TRIES: Final = 200
"""Trainings on parts of the rows; then a part that spoils is not split further."""
ALONE_TRIES: Final = 8
"""Rows that may each spoil a training before any is found that does not."""
CONTEXT_ROWS: Final = 32
"""Sound rows beside a part that is tried: the statistics of a batch show what one row alone does not."""

Faults = dict[int, str]
"""Reasons by the places of rows."""

Attempt = Generator[Any, Any, Weights | str]
"""Steps of a training, whose result are the new weights, or why there are none."""


class Attempts(Protocol):
    """Computations with the model from which a training started."""

    def answers(self, inputs: Any) -> Generator[Any, Any, Any]:
        """Predict."""

    def trained(self, rows: Sequence[Row]) -> Attempt:
        """Train on these rows."""


def found_faults(task: Task, rows: Sequence[Row], attempts: Attempts) -> Generator[Any, Any, Faults]:
    """Find the rows that have spoiled a training: by their arrays, by what the model says of them, and by trying.

    Returns:
        A reason for each, by its place; none if it is not the rows that have spoiled it.
    """
    faults = array_faults(task, rows)
    sound = [place for place in range(len(rows)) if place not in faults]
    if not sound:
        return {}
    inputs, targets = task.arrays([rows[place] for place in sound])[:2]
    by_numbers = number_faults(inputs, targets)
    try:
        by_numbers = (yield from answered_faults(attempts, inputs, targets)) | by_numbers
    except Exception:  # what the model cannot predict, the tries below find
        by_numbers = dict(by_numbers)
    if len(by_numbers) == len(sound):
        return {}
    faults |= {sound[place]: reason for place, reason in by_numbers.items()}
    # The most ordinary rows come first: what is tried later is tried beside them.
    largest = _largest(inputs, targets)
    left = [sound[place] for place in np.argsort(largest, kind="stable").tolist() if place not in by_numbers]
    if faults and not isinstance((yield from attempts.trained([rows[place] for place in sorted(left)])), str):
        return faults
    return faults | (yield from _tried(rows, left, attempts))


def measuring_faults(task: Task, rows: Sequence[Row], attempts: Attempts) -> Generator[Any, Any, Faults]:
    """Return the rows that cannot measure a model; none if that is not their fault."""
    faults = array_faults(task, rows)
    sound = [place for place in range(len(rows)) if place not in faults]
    if not sound:
        return {}
    try:
        unanswered = yield from answered_faults(attempts, *task.arrays([rows[place] for place in sound])[:2])
    except Exception:  # the task is the user's, and may raise anything
        unanswered = yield from _refused(task, [rows[place] for place in sound], attempts)
    return faults | {sound[place]: reason for place, reason in unanswered.items()}


def _refused(task: Task, rows: Sequence[Row], attempts: Attempts) -> Generator[Any, Any, Faults]:
    """Return the rows on which the model fails one by one; none if it fails on all."""
    faults: Faults = {}
    for place, row in enumerate(rows):
        try:
            found = yield from answered_faults(attempts, *task.arrays([row])[:2])
            if found:
                faults[place] = found[0]
        except Exception as error:
            faults[place] = f"the model fails on it ({type(error).__name__}: {reason_in(str(error))})"
    return faults if len(faults) < len(rows) else {}


def array_faults(task: Task, rows: Sequence[Row]) -> Faults:
    """Return the rows of which the task makes no arrays, or arrays of other shapes than of most rows."""
    if _make_arrays(task, rows):
        return {}
    faults: Faults = {}
    shapes: dict[int, tuple[tuple[int, ...], ...]] = {}
    for place, row in enumerate(rows):
        try:
            shapes[place] = tuple(np.shape(leaf) for leaf in leaves(task.arrays([row])[:2]))
        except Exception as error:
            faults[place] = f"the task makes no arrays of it ({type(error).__name__}: {reason_in(str(error))})"
    if shapes:
        usual = Counter(shapes.values()).most_common(1)[0][0]
        faults |= {
            place: f"the task makes arrays of the shapes {_words(found)} of it, and of others {_words(usual)}"
            for place, found in shapes.items()
            if found != usual
        }
    return faults


def _make_arrays(task: Task, rows: Sequence[Row]) -> bool:
    try:
        return all(len(leaf) == len(rows) for leaf in leaves(task.arrays(rows)[:2]))
    except Exception:  # the task is the user's, and may raise anything
        return False


def number_faults(inputs: Any, targets: Any) -> Faults:
    """Return the rows whose arrays hold numbers that are not finite."""
    return _not_finite(inputs, "its inputs hold a number that is not finite") | _not_finite(
        targets, "its target is not finite"
    )


def answered_faults(attempts: Attempts, inputs: Any, targets: Any) -> Generator[Any, Any, Faults]:
    """Return the rows whose label the model has no output for, or of which it says nothing finite."""
    answers = yield from attempts.answers(inputs)
    faults = _not_finite(answers, "the model's answer to it is not finite: it may hold an extreme number")
    if faults and len(faults) == len(leaves(answers)[0]):
        faults = {}  # the model's own fault
    faults |= _not_finite(targets, "its target is not finite")
    for answer, target in zip(leaves(answers), leaves(targets), strict=False):
        faults |= _label_faults(answer, target)
    return faults


def _label_faults(answers: Array, targets: Array) -> Faults:
    """Return the rows with a class number below 0 or above the last one, where targets are class numbers."""
    classes = answers.shape[-1] if answers.ndim > 1 else 1
    is_column = targets.ndim == answers.ndim and targets.shape[-1] == 1
    if targets.dtype.kind not in "iu" or classes < 2 or not (is_column or targets.ndim == answers.ndim - 1):
        return {}
    labels = targets.reshape(len(targets), -1)
    wrong = (labels < 0) | (labels >= classes)
    return {
        int(place): f"its label is {labels[place][wrong[place]][0]}; the model has outputs for 0 to {classes - 1}"
        for place in np.flatnonzero(wrong.any(axis=1))
    }


def _not_finite(arrays: Any, reason: str) -> Faults:
    faults: Faults = {}
    for leaf in leaves(arrays):
        if leaf.dtype.kind in "fc" and leaf.size:
            bad = ~np.isfinite(leaf.reshape(len(leaf), -1)).all(axis=1)
            faults |= dict.fromkeys(np.flatnonzero(bad).tolist(), reason)
    return faults


def _tried(rows: Sequence[Row], order: Sequence[int], attempts: Attempts) -> Generator[Any, Any, Faults]:
    """Return the rows that spoil a training beside sound ones, by halving the parts that do."""
    faults: Faults = {}
    sound: list[int] = []
    parts, tries = [list(order)], 0
    while parts:
        part = parts.pop()
        tries += 1
        outcome = yield from attempts.trained([rows[place] for place in [*sound[-CONTEXT_ROWS:], *part]])
        if not isinstance(outcome, str):
            sound += part
        elif len(part) > 1 and tries <= MOST_TRIES:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
        else:
            faults |= dict.fromkeys(part, outcome)
            if not sound and len(faults) >= ALONE_TRIES:
                return {}
    return faults if len(faults) <= len(order) // 2 else {}


def _largest(inputs: Any, targets: Any) -> Array:
    """Return the largest size of a number in each row: (rows,)."""
    parts = [leaf.reshape(len(leaf), -1) for leaf in leaves((inputs, targets)) if leaf.dtype.kind in "iuf"]
    sizes = [np.abs(leaf.astype(np.float64)).max(axis=1, initial=0.0) for leaf in parts]
    return np.nan_to_num(np.max(sizes, axis=0)) if sizes else np.zeros(len(leaves(inputs)[0]))


def _words(shapes: Sequence[tuple[int, ...]]) -> str:
    return " and ".join(str(list(shape[1:])) for shape in shapes)
