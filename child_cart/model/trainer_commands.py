"""What a trainer does with models and rows, as steps: each asks for a computation, and is given its result.

The steps read and write models, check what peers have sent, and decide what is measured and kept. Whoever takes them
computes: a trainer process with its one model at once, the laboratory for many carts together.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from cart_common.process.json_values import Json

from .aggregation.base import Contribution
from .aggregation.registry import load_aggregator
from .arrays import Array, TensorSpec, Tree, Weights, bytes_of, joined, rows_in, specs_of, widened
from .csv_rows import sample_rows
from .failure_words import reason_in
from .layout import Layout
from .mixing import Judge, Measured, PredictAll, mixed
from .model_files import ModelFiles
from .paired_test import is_worse
from .partition import Partition
from .personal_layers import completed, personal_in, shared_part
from .proportion import REFUSED_RATIO, largest_ratio
from .rehearsal import drawn_rows, with_labels
from .row_faults import Faults, array_faults, found_faults, measuring_faults
from .row_losses import alike
from .task import Row, Task
from .task_metrics import TaskMetric
from .verdict import VerdictReason, weights_problem
from .weights_file import WeightsError

T = TypeVar("T")

MOST_JUDGING_ROWS: Final = 200


@dataclass(frozen=True)
class Train:
    """Train these weights on these rows; the result is the new weights."""

    weights: Weights
    inputs: Tree
    targets: Tree
    sample_weights: Array | None = None


@dataclass(frozen=True)
class Predict:
    """Predict with these weights; the result is what the model says of each row: (rows, ...)."""

    weights: Weights
    inputs: Tree


@dataclass(frozen=True)
class Summarise:
    """Make the task's summary of a model; the result is JSON."""

    weights: Weights


Computation = Train | Predict | PredictAll | Summarise
Steps = Generator[Computation, Any, T]


class TrainerCommands:
    """The commands of a trainer; each is a method that gives steps, and its result is JSON.

    Args:
        task: what the model learns.
        partition: this cart's part of the starter rows.
        data: a CSV file of the user's own rows instead of the task's starter rows, or None.
        starter_limit: most starter rows to train on.
        initial: the task's starting weights.
        metric: measures models.
        layout: what the weights are.
        files: where models lie.
    """

    def __init__(
        self,
        task: Task,
        partition: Partition,
        data: Path | None,
        starter_limit: int,
        initial: Weights,
        metric: TaskMetric,
        layout: Layout,
        files: ModelFiles,
    ) -> None:
        self._task = task
        self._partition = partition
        self._data = data
        self._starter_limit = starter_limit
        self._initial = initial
        self._metric = metric
        self._layout = layout
        self._files = files
        self._specs = specs_of(initial)
        self._common_rows = task.evaluation_rows()

    def initialise(self, target: str) -> Steps[Json]:
        """Write the starting weights; return their digest, the model's signature and size, and its metric."""
        yield from ()
        return {
            "digest": self._files.write(Path(target), self._initial, self._layout.personal),
            "signature": model_signature(self._task.name, self._initial, self._layout),
            "parameters": sum(array.size for array in self._initial),
            "metric": self._metric.metric.as_json(),
        }

    def train(
        self,
        base: Json,
        rows: list[Row],
        own_rows: list[Row],
        target: str,
        old_rows: Sequence[Row] = (),
        labelled: int = 0,
        seed: int = 0,
    ) -> Steps[Json]:
        """Train the base model on these rows, with a rehearsal beside them, and write it to the target.

        It writes the base again if the training has ruined it.

        Rows that spoil the training are left out, and named as ``faults``: their places count the rows, then the own
        rows, then the old rows, with a reason for each. What is rehearsed is not counted as ``rows``.
        """
        before: Weights = self.base(base)
        weights, found, beside = before, Faults(), 0
        if rows:
            labels = yield from self._labelled(before, drawn_rows(self._common_rows, labelled, seed))
            weights, found = yield from self._trained(before, [*rows, *old_rows], labels)
            beside = len(old_rows) - sum(place >= len(rows) for place in found)
            beside += rows_in(labels) if labels else 0
        faults = {place: reason for place, reason in found.items() if place < len(rows)}
        named = faults | {len(own_rows) + place: found[place] for place in found.keys() - faults.keys()}
        if own_rows:
            own_faults = yield from measuring_faults(self._task, own_rows, self._attempts(weights))
            named |= {len(rows) + place: reason for place, reason in own_faults.items()}
            own_rows = _without(own_faults, own_rows)
        taught = _without(faults, rows)
        ruined = (yield from self.ruin(before, weights, taught, own_rows)) if taught else None
        written = yield from self._written(weights if ruined is None else before, own_rows, target)
        return {
            **written,
            "rows": len(taught),
            "rehearsed": beside,
            "faults": [{"place": place, "reason": named[place]} for place in sorted(named)],
            "ruined_value": ruined,
        }

    def start(self, base: Json, own_rows: list[Row], target: str) -> Steps[Json]:
        """Train the base model on the starter rows and write it to the target; name those that are left out."""
        starter = self.starter_rows()
        result = yield from self.train(base, starter.rows, own_rows, target)
        return {**result, "left_out": starter.left_out(result.pop("faults"))}

    def starter_rows(self) -> StarterRows:
        """Return the rows that this cart starts from."""
        if self._data is None:
            rows = self._task.starter_rows(self._partition)[: self._starter_limit]
            return StarterRows(rows, [f"starter row {number}" for number in range(1, len(rows) + 1)])
        # Carts that are given one file draw other rows of it.
        found = sample_rows(self._task, self._data, self._starter_limit, seed=self._partition.index)
        wrong = [f"line {wrong.number}: {wrong.reason}" for wrong in found.wrong]
        return StarterRows(found.rows, [f"line {number}" for number in found.lines], wrong)

    def score(self, base: Json, path: str) -> Steps[Json]:
        """Check a received payload beside the base model, and measure it on the common evaluation rows, if any.

        Its personal arrays are those of the base model.
        """
        own, statistics = self.base(base), self._layout.statistics
        weights = self._received(path, own)
        reason = weights_problem(weights, self._specs, statistics)
        if reason is None and largest_ratio(weights, own, statistics) > REFUSED_RATIO:
            reason = VerdictReason.OUT_OF_PROPORTION
        if reason is not None:
            return {"reason": str(reason)}
        value = yield from self._value(weights, [])
        if value is not None and not math.isfinite(value):
            return {"reason": str(VerdictReason.NOT_FINITE)}
        return {"value": value}

    def adopt(self, base: Json, path: str, target: str) -> Steps[Json]:
        """Write a received payload, which ``score`` has passed, to the target, in the dtypes of the task's model.

        It must not be worse than the base model on the common evaluation rows, or else on this cart's starter rows.
        """
        own = self.base(base)
        weights = self._received(path, own)
        judge = self._judge([] if self._common_rows else self.starter_rows().rows[:MOST_JUDGING_ROWS])
        if judge is not None:
            before, after = yield from judge.measured([own, weights])
            if not math.isfinite(after.value) or is_worse(after.losses, before.losses):
                return {"value": _told(after), "own_value": _told(before)}
        return {"written": (yield from self._written(weights, [], target))}

    def mix(
        self,
        base: Json,
        received: list[Json],
        own_rows: list[Row],
        target: str,
        aggregator: str,
        momentum: float,
        earlier: list[Json] | None,
    ) -> Steps[Json]:
        """Mix the base model with received payloads, and write the result to the target if it is not worse."""
        own = self.base(base)
        models = [Contribution(self._received(entry["path"], own), entry["samples"]) for entry in received]
        starts = [self._with_own_layers(self.base(one), own) for one in earlier] if earlier else None
        kept = yield from mixed(
            load_aggregator(aggregator),
            Contribution(own, base["samples"]),
            models,
            self._judge(own_rows),
            (starts[0], starts[1]) if starts else None,
            momentum,
            self._layout.statistics,
        )
        del models  # the payloads are mapped: let their files go before the slower part
        answer: dict[str, Any] = {
            "left_out": list(kept.left_out),
            "value": _told(kept.mix),
            "own_value": _told(kept.own),
        }
        if kept.weights is not None:
            weights = self._with_own_layers(kept.weights, own)  # exactly, where an average rounds
            answer["written"] = yield from self._written(weights, own_rows, target)
        return answer

    def ruin(
        self, before: Weights, after: Weights, taught: Sequence[Row], own_rows: Sequence[Row]
    ) -> Steps[float | None]:
        """Return the value after a training on these rows that has ruined the model; None if it has not.

        Rows of few classes make an honest model forget the others, which the next average brings back. So a training
        is a ruin only if the model knew something, and knows nothing now, not even of what it was taught.
        """
        judge = self._judge(own_rows)
        if judge is None:
            return None
        old: Measured
        old, new = yield from judge.measured([before, after])
        if old.knows_nothing or not new.knows_nothing or not math.isfinite(new.value):
            return None
        of_taught = alike(self._metric, judge.targets, self._task.arrays(taught)[1])
        losses = new.losses[of_taught]
        ruined = is_worse(losses, old.losses[of_taught]) and float(losses.mean()) >= new.guess
        return new.value if ruined else None

    def base(self, base: Json) -> list[Array]:
        """Return the weights that a command starts from.

        Raises:
            WeightsError: if they cannot be read, or are of another model.
        """
        path = Path(base["path"])
        weights = self._files.read(path, base["digest"])
        if specs_of(weights) != self._specs:
            raise WeightsError(
                "The stored model has other shapes than the task's. Reset the model to start with these."
            )
        if personal_in(self._files.arrays(path)) != self._layout.personal:
            raise WeightsError(
                "The stored model has other personal layers than the task's. Reset the model to start with these."
            )
        return weights

    def _received(self, path: str, own: Weights) -> list[Array]:
        """Return the model in a received payload, with the personal arrays of the own one.

        It is in the dtypes of the task's model, if these hold its numbers.
        """
        most_bytes = bytes_of(shared_part(self._specs, self._layout.personal))
        shared = self._files.payload(Path(path), most_bytes)
        return widened(completed(shared, own, self._layout.personal), self._specs)

    def _with_own_layers(self, weights: Weights, own: Weights) -> list[Array]:
        return completed(shared_part(weights, self._layout.personal), own, self._layout.personal)

    def _trained(self, weights: Weights, rows: Sequence[Row], beside: Sequence[Tree]) -> Steps[tuple[Weights, Faults]]:
        """Train on these rows; if that fails, on those that do not spoil it. Return the weights and the others."""
        attempts = replace(self._attempts(weights), beside=beside)
        outcome = yield from attempts.outcome(rows)
        if not isinstance(outcome, Exception):
            return outcome, {}
        faults = yield from found_faults(self._task, rows, attempts)
        again = (yield from attempts.outcome(_without(faults, rows))) if faults else outcome
        if isinstance(again, Exception):  # it is not the rows
            raise outcome
        return again, faults

    def _labelled(self, weights: Weights, rows: Sequence[Row]) -> Steps[Sequence[Tree]]:
        """Return the arrays of these rows, with what these weights say of them as targets; none if they cannot."""
        if not rows:
            return ()
        arrays = self._task.arrays(rows)
        return with_labels(self._metric, arrays, (yield Predict(weights, arrays[0])))

    def _attempts(self, weights: Weights) -> _Attempts:
        return _Attempts(self._task, weights, self._specs, self._layout)

    def _written(self, weights: Weights, own_rows: Sequence[Row], target: str) -> Steps[Json]:
        _usable(weights, self._specs, self._layout)
        value = yield from self._value(weights, own_rows)
        if value is not None and not math.isfinite(value):
            raise WeightsError(f"The new weights cannot be used: the {self._metric.metric.name} is {value}.")
        return {
            "value": value,
            "metric": self._metric.metric.as_json(),
            "summary": (yield Summarise(weights)),
            "digest": self._files.write(Path(target), weights, self._layout.personal),
        }

    def _value(self, weights: Weights, own_rows: Sequence[Row]) -> Steps[float | None]:
        """Return the value on the rows that measure models; None without any."""
        judge = self._judge(own_rows)
        if judge is None:
            return None
        return self._metric.value((yield Predict(weights, judge.inputs)), judge.targets)

    def _judge(self, own_rows: Sequence[Row]) -> Judge | None:
        """Return what measures models: the common evaluation rows, or else these own ones; None without any."""
        if self._common is not None:
            return self._judge_of(self._common, is_common=True)
        sound = _without(array_faults(self._task, own_rows), own_rows) if own_rows else []
        return self._judge_of(self._task.arrays(sound), is_common=False) if sound else None

    def _judge_of(self, arrays: Sequence[Tree], *, is_common: bool) -> Judge:
        inputs, targets = arrays[:2]  # what else the task gives is of trainings
        return Judge(inputs, targets, self._metric, is_common)

    @cached_property
    def _common(self) -> Sequence[Tree] | None:
        return self._task.arrays(self._common_rows) if self._common_rows else None


@dataclass(frozen=True)
class StarterRows:
    """Rows to start from, their names, and sentences about what is none."""

    rows: list[Row]
    names: Sequence[str]
    wrong: Sequence[str] = ()

    def left_out(self, faults: Sequence[Json]) -> list[str]:
        """Return as sentences what is no row, and the rows with these faults."""
        return [*self.wrong, *(f"{self.names[fault['place']]}: {fault['reason']}" for fault in faults)]


@dataclass(frozen=True)
class _Attempts:
    """Trainings that may fail, from these weights."""

    task: Task
    weights: Weights
    specs: Sequence[TensorSpec]
    layout: Layout
    beside: Sequence[Tree] = ()
    """Arrays that each training takes, too."""

    def answers(self, inputs: Any) -> Steps[Any]:
        """Predict."""
        return (yield Predict(self.weights, inputs))

    def trained(self, rows: Sequence[Row]) -> Steps[Weights | str]:
        """Train on these rows; return the weights, or why there are none."""
        outcome = yield from self.outcome(rows)
        if isinstance(outcome, WeightsError):
            return "after a training with it the weights cannot be used: it may hold an extreme number"
        if isinstance(outcome, Exception):
            return f"a training with it fails ({type(outcome).__name__}: {reason_in(str(outcome))})"
        return outcome

    def outcome(self, rows: Sequence[Row]) -> Steps[Weights | Exception]:
        """Train on these rows; return the weights, or what the training has raised."""
        try:
            trained: Weights = yield Train(self.weights, *joined(self.task.arrays(rows), self.beside))
            return _usable(trained, self.specs, self.layout)
        except MemoryError:  # says nothing of the rows
            raise
        except Exception as error:  # the task is the user's, and may raise anything
            return error


def _told(measured: Measured | None) -> float | None:
    """Return the value of a model as an answer tells it; None if there is none, or none that is finite."""
    return measured.value if measured is not None and math.isfinite(measured.value) else None


def _usable(weights: Weights, specs: Sequence[TensorSpec], layout: Layout) -> Weights:
    wrong = weights_problem(weights, specs, layout.statistics)
    if wrong is not None:  # weights that are not finite would spoil this cart for good, and those that average them
        raise WeightsError(f"The new weights cannot be used ({wrong}): a row may hold an extreme number.")
    return weights


def _without(faults: Faults, rows: Sequence[Row]) -> list[Row]:
    return [row for place, row in enumerate(rows) if place not in faults]


def model_signature(task_name: str, weights: Weights, layout: Layout | None = None) -> str:
    """Return the signature that two models must share to be averaged: 16 bytes of SHA-256, in hexadecimal.

    Args:
        task_name: of the task.
        weights: what a training changes.
        layout: says which of them are personal, and what else the model computes with.
    """
    shapes = [[spec.dtype, list(spec.shape)] for spec in specs_of(weights)]
    layout = layout or Layout()
    told: list[Any] = [task_name, shapes]
    if layout.base:
        told.append(layout.base)
    if layout.personal:
        told.append(sorted(layout.personal.items()))
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
