"""Try a task: all that a cart will do with it, with a few rows, in a folder that is removed. Each part is named."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from cart_common.process.json_values import Json

from .aggregation.registry import DEFAULT_AGGREGATOR
from .arrays import TensorSpec, specs_of
from .failure_words import OUT_OF_MEMORY, failure_sentence
from .personal_layers import sent_part
from .precision import Precision, payload_of
from .task import Row, Task, TaskError
from .trainer import MixingRule
from .weights_file import read_weights, stored_arrays

TRIED_ROWS: Final = 32
TRIED_RULE: Final = MixingRule(DEFAULT_AGGREGATOR)

CarryOut = Callable[[str, Json], Json]


@dataclass
class TrialReport:
    """What a trial has found.

    Attributes:
        weights: dtypes and shapes of the model's arrays.
        result: of the training, as a trainer answers.
        dropped: why a peer would drop the model; empty if it would not.
        sent_bytes: the size of the model as it is sent, by its precision.
        training_s: how long the last training on these rows took.
        exports: the size of each file of the model, or the sentence that says why there is none.
        export_s: how long each took.
        tried_s: how long all else took.
    """

    weights: Sequence[TensorSpec] = ()
    result: Json = field(default_factory=dict)
    dropped: str = ""
    sent_bytes: dict[str, int] = field(default_factory=dict)
    training_s: float = 0.0
    exports: dict[str, int | str] = field(default_factory=dict)
    export_s: dict[str, float] = field(default_factory=dict)
    tried_s: float = 0.0


class CommandRunner(Protocol):
    """What carries out the commands of a trainer."""

    def carry_out(self, name: str, arguments: Json, report: Callable[[Json], None]) -> Json:
        """Carry out the command of this name; return its result."""


def try_task(
    commands: CommandRunner, rows: Sequence[Row], trainings: int = 1, export_kinds: Sequence[str] = ()
) -> TrialReport:
    """Train, measure, summarise, send, receive, mix and export a task's model.

    Args:
        commands: of a trainer with this task.
        rows: to train on; a task without any is tried with its starting weights alone.
        trainings: how many; the last one is timed.
        export_kinds: files of the model to make; a cart that starts makes none, to start sooner.

    Raises:
        TaskError: naming the part that fails, and the place in the user's code.
    """
    report, began = TrialReport(), time.perf_counter()

    def carry_out(name: str, **arguments: object) -> Json:
        return commands.carry_out(name, arguments, lambda _: None)

    with tempfile.TemporaryDirectory(prefix="trial-") as name:
        folder, own = Path(name), list(rows[:TRIED_ROWS])
        with _part("write its starting weights"):
            base = _stored(folder / "0.h5", carry_out("initialise", target=str(folder / "0.h5")))
        first = folder / "1.h5"
        with _part("train, measure and summarise its model"):
            for _ in range(trainings):  # the last one is timed: the first one also traces the model
                started = time.perf_counter()
                report.result = carry_out("train", base=base, rows=list(rows), own_rows=own, target=str(first))
                report.training_s = time.perf_counter() - started
        with _part("send and receive its model"):
            weights = read_weights(first, report.result["digest"])
            report.weights = specs_of(weights)
            sent = sent_part(weights, stored_arrays(first))
            for precision in Precision:
                (folder / precision).write_bytes(payload_of(sent, precision))
                report.sent_bytes[precision] = (folder / precision).stat().st_size
            received = str(folder / Precision.HALF)
            report.dropped = carry_out("score", base=base, path=received).get("reason", "")
            offer = {"path": received, "samples": None}
            own_model = {**base, "samples": len(rows)}
            given = {"received": [offer], "own_rows": own, "target": str(folder / "2"), **TRIED_RULE.named()}
            carry_out("mix", base=own_model, **given)
        report.tried_s = time.perf_counter() - began
        for kind in export_kinds:
            target, started = folder / f"model.{kind}", time.perf_counter()
            try:
                carry_out("export", base=_stored(first, report.result), kind=kind, target=str(target))
                report.exports[kind] = target.stat().st_size
            except Exception as error:  # a task may do without: its pages say why there is no file
                report.exports[kind] = failure_sentence(error)
            report.export_s[kind] = time.perf_counter() - started
    return report


def trial_rows(task: Task, starter_rows: Callable[[], Sequence[Row]]) -> Sequence[Row]:
    """Return rows to try a task with: its starter rows, else its evaluation rows.

    Raises:
        TaskError: naming the part that fails.
    """
    with _part("give its rows"):
        return starter_rows() or task.evaluation_rows()


def _stored(path: Path, written: Json) -> Json:
    return {"path": str(path), "digest": written["digest"]}


@contextmanager
def _part(words: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the task is the user's, and may raise anything
        if type(error).__name__ in OUT_OF_MEMORY:
            raise
        raise TaskError(f"The task was tried and cannot {words}: {failure_sentence(error)}") from error
