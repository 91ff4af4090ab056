"""The command check-task: try a task in this process, and print what it is and what a round of it costs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ..config import CartSettings
from ..model.arrays import TensorSpec
from ..model.metric import Metric
from ..model.partition import Partition
from ..model.task import Task, load_task
from ..model.trainer_commands import StarterRows, TrainerCommands
from ..model.trial import TrialReport, trial_rows, try_task

EXPORTS = ("keras", "tflite")
MOST_NAMED = 10
TRAININGS = 2  # the first one also traces the model


def check_task(name: str, settings: CartSettings) -> None:
    """Try a task of this name with its rows, and print what was found.

    Raises:
        TaskError, CsvError: if a part of it fails, or its rows cannot be read.
    """
    os.environ |= {"KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}  # as a cart's trainer has them
    logging.disable(logging.WARNING)
    from ..model.model_files import DISK  # noqa: PLC0415
    from ..model.worker import Worker  # noqa: PLC0415

    task, partition = load_task(name), Partition.parse(settings.share)
    data = Path(settings.data) if settings.data else None
    with _silence():
        worker = Worker(
            task,
            lambda initial, metric, layout: TrainerCommands(
                task, partition, data, settings.starter_rows, initial, metric, layout, DISK
            ),
        )
        starter = worker.commands.starter_rows() if data else None  # what is wrong in a file is not the task's fault
        starter = starter or StarterRows(list(trial_rows(task, lambda: worker.commands.starter_rows().rows)), ())
        report = try_task(worker, starter.rows, TRAININGS, EXPORTS)
    _print(task, starter, report)


@contextmanager
def _silence() -> Iterator[None]:
    """Drop what TensorFlow prints in the block, also from C++; exceptions pass."""
    kept = [(number, os.dup(number)) for number in (1, 2)]
    with open(os.devnull, "wb") as nothing:
        for number, _ in kept:
            os.dup2(nothing.fileno(), number)
    try:
        yield
    finally:
        sys.stdout.flush()  # what was printed there by Python goes with the rest
        for number, copy in kept:
            os.dup2(copy, number)
            os.close(copy)


def _print(task: Task, starter: StarterRows, report: TrialReport) -> None:
    console = Console(soft_wrap=True)
    table = Table(show_header=False, box=None)
    for name, words in _lines(task, starter, report):
        table.add_row(name, words)
    console.print(f"The task {task.name} works:", markup=False)
    console.print(table)
    names = starter.names or [f"row {number}" for number in range(1, len(starter.rows) + 1)]
    left_out = StarterRows(starter.rows, names, starter.wrong).left_out(
        [fault for fault in report.result["faults"] if fault["place"] < len(starter.rows)]
    )
    if left_out:
        count = "1 row is" if len(left_out) == 1 else f"{len(left_out)} rows are"
        console.print(f"{count} not learned from:", markup=False)
    for sentence in left_out[:MOST_NAMED]:
        console.print(f"  {sentence}", markup=False)
    if not starter.rows:
        console.print("It has no rows to try: give some with --data rows.csv.", markup=False)


def _lines(task: Task, starter: StarterRows, report: TrialReport) -> list[tuple[str, str]]:
    rows = len(starter.rows)
    lines = [("rows", f"{rows:,}")]
    if rows:
        faulty = {fault["place"] for fault in report.result["faults"]}
        sound = next(row for place, row in enumerate(starter.rows) if place not in faulty)
        inputs, targets = task.arrays([sound])[:2]
        lines += [("inputs of a row", _shape(inputs)), ("target of a row", _shape(targets))]
    parameters = sum(_size(spec) for spec in report.weights)
    sent = ", ".join(f"{size:,} bytes as {precision}" for precision, size in report.sent_bytes.items())
    lines += [
        ("parameters", f"{parameters:,} in {len(report.weights)} arrays"),
        ("arrays", " ".join(f"{spec.dtype}{list(spec.shape)}" for spec in report.weights)),
        ("sent to a peer", sent),
        ("a training", f"{report.training_s:.2f} s on these rows, after the first one"),
        ("measured then", Metric.of(report.result["metric"]).words(report.result["value"])),
        ("summary", str(report.result["summary"])[:200] or "none"),
    ]
    if report.dropped:
        lines.append(("peers", f"would drop it: {report.dropped}"))
    for kind, found in report.exports.items():
        words = f"{found:,} bytes" if isinstance(found, int) else found
        lines.append((f"{kind} file", f"{words} ({report.export_s[kind]:.1f} s)"))
    lines.append(("all but the files", f"{report.tried_s:.1f} s"))
    return lines


def _size(spec: TensorSpec) -> int:
    size = 1
    for length in spec.shape:
        size *= length
    return size


def _shape(arrays: object) -> str:
    if isinstance(arrays, dict):
        return ", ".join(f"{name}: {_shape(array)}" for name, array in arrays.items())
    if isinstance(arrays, list | tuple):
        return ", ".join(map(_shape, arrays))
    return f"{getattr(arrays, 'dtype', arrays)} {list(getattr(arrays, 'shape', ()))[1:]}"
