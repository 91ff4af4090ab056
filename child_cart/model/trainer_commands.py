"""What a trainer does with models and rows, as steps: each asks for a computation, and is given its result.

The steps read and write models, check what peers have sent, and decide what is measured and kept. Whoever takes them
computes: a trainer process with its one model at once, the laboratory for many carts together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from cart_common.process.json_values import Json

from .aggregation.base import Contribution
from .aggregation.registry import load_aggregator
from .arrays import Array, Weights, specs_of, widened
from .csv_rows import read_rows
from .mixing import Judge, Measured, PredictAll, mixed
from .model_files import ModelFiles
from .paired_test import is_worse
from .partition import Partition
from .proportion import REFUSED_RATIO, largest_ratio
from .row_losses import alike
from .task import Row, Task
from .verdict import VerdictReason, weights_problem
from .weights_file import WeightsError

T = TypeVar("T")

MOST_JUDGING_ROWS: Final = 200


@dataclass(frozen=True)
class Train:
    """Train these weights on these rows; the result is the new weights."""

    weights: Weights
    inputs: Array
    targets: Array


@dataclass(frozen=True)
class Predict:
    """Predict with these weights; the result is the scores of the classes: (rows, classes)."""

    weights: Weights
    inputs: Array


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
        files: where models lie.
    """

    def __init__(
        self,
        task: Task,
        partition: Partition,
        data: Path | None,
        starter_limit: int,
        initial: Weights,
        files: ModelFiles,
    ) -> None:
        self._task = task
        self._partition = partition
        self._data = data
        self._starter_limit = starter_limit
        self._initial = initial
        self._files = files
        self._specs = specs_of(initial)
        self._common_rows = task.evaluation_rows()

    def initialise(self, target: str) -> Steps[Json]:
        """Write the starting weights; return their digest and the model's signature and size."""
        yield from ()
        return {
            "digest": self._files.write(Path(target), self._initial),
            "signature": model_signature(self._task.name, self._initial),
            "parameters": sum(array.size for array in self._initial),
        }

    def train(self, base: Json, rows: list[Row], own_rows: list[Row], target: str) -> Steps[Json]:
        """Train the base model on these rows and write it to the target."""
        weights: Weights = self.base(base)
        ruined = None
        if rows:
            before, trained_on = weights, self._task.arrays(rows)
            weights = yield Train(weights, *trained_on)
            self._check(weights)
            ruined = yield from self.ruin(before, weights, trained_on[1], own_rows)
            weights = weights if ruined is None else before
        written = yield from self._written(weights, own_rows, target)
        return {**written, "rows": len(rows), "ruined_accuracy": ruined}

    def start(self, base: Json, own_rows: list[Row], target: str) -> Steps[Json]:
        """Train the base model on the starter rows and write it to the target."""
        return (yield from self.train(base, self._starter_rows()[: self._starter_limit], own_rows, target))

    def score(self, base: Json, path: str) -> Steps[Json]:
        """Check a received payload beside the base model, and measure it on the common evaluation rows, if any."""
        weights = widened(self._files.payload(Path(path)), self._specs)
        reason = weights_problem(weights, self._specs)
        if reason is None and largest_ratio(weights, self.base(base)) > REFUSED_RATIO:
            reason = VerdictReason.OUT_OF_PROPORTION
        if reason is not None:
            return {"reason": str(reason)}
        judge = self._judge([])
        if judge is None:
            return {}
        (measured,) = yield from judge.measured([weights])
        return {"accuracy": measured.accuracy}

    def adopt(self, base: Json, path: str, target: str) -> Steps[Json]:
        """Write a received payload, which ``score`` has passed, to the target, in the dtypes of the task's model.

        It must not be worse than the base model on the common evaluation rows, or else on this cart's starter rows.
        """
        weights = widened(self._files.payload(Path(path)), self._specs)
        judge = self._judge(self._starter_rows()[:MOST_JUDGING_ROWS])
        if judge is not None:
            before, after = yield from judge.measured([self.base(base), weights])
            if is_worse(after.losses, before.losses):
                return {"accuracy": after.accuracy, "own_accuracy": before.accuracy}
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
        own = Contribution(self.base(base), base["samples"])
        models = [
            Contribution(widened(self._files.payload(Path(entry["path"])), self._specs), entry["samples"])
            for entry in received
        ]
        starts = [self.base(one) for one in earlier] if earlier else None
        kept = yield from mixed(
            load_aggregator(aggregator),
            own,
            models,
            self._judge(own_rows),
            (starts[0], starts[1]) if starts else None,
            momentum,
        )
        del models  # the payloads are mapped: let their files go before the slower part
        answer: dict[str, Any] = {
            "left_out": list(kept.left_out),
            "accuracy": kept.mix.accuracy if kept.mix else None,
            "own_accuracy": kept.own.accuracy if kept.own else None,
        }
        if kept.weights is not None:
            answer["written"] = yield from self._written(kept.weights, own_rows, target)
        return answer

    def ruin(self, before: Weights, after: Weights, taught: Array, own_rows: Sequence[Row]) -> Steps[float | None]:
        """Return the accuracy after a training with these targets that has ruined the model; None if it has not.

        Rows of few classes make an honest model forget the others, which the next average brings back. So a training
        is a ruin only if the model knew something, and knows nothing now, not even of what it was taught.
        """
        judge = self._judge(own_rows)
        if judge is None:
            return None
        old: Measured
        old, new = yield from judge.measured([before, after])
        if old.knows_nothing or not new.knows_nothing:
            return None
        of_taught = alike(judge.targets, taught)
        losses = new.losses[of_taught]
        ruined = is_worse(losses, old.losses[of_taught]) and float(losses.mean()) >= new.guess
        return new.accuracy if ruined else None

    def base(self, base: Json) -> list[Array]:
        """Return the weights that a command starts from.

        Raises:
            WeightsError: if they cannot be read, or are of another model.
        """
        weights = self._files.read(Path(base["path"]), base["digest"])
        if specs_of(weights) != self._specs:
            raise WeightsError(
                "The stored model has other shapes than the task's. Reset the model to start with these."
            )
        return weights

    def _written(self, weights: Weights, own_rows: Sequence[Row], target: str) -> Steps[Json]:
        self._check(weights)
        accuracy = yield from self._accuracy(weights, own_rows)
        summary = yield Summarise(weights)
        return {"accuracy": accuracy, "summary": summary, "digest": self._files.write(Path(target), weights)}

    def _check(self, weights: Weights) -> None:
        wrong = weights_problem(weights, self._specs)
        if wrong is not None:  # weights that are not finite would spoil this cart for good, and those that average them
            raise WeightsError(f"The new weights cannot be used ({wrong}): a row may hold an extreme number.")

    def _accuracy(self, weights: Weights, own_rows: Sequence[Row]) -> Steps[float]:
        """Return the fraction of the judging rows that is right; 0 without any."""
        judge = self._judge(own_rows)
        if judge is None:
            return 0.0
        (measured,) = yield from judge.measured([weights])
        return measured.accuracy

    def _judge(self, own_rows: Sequence[Row]) -> Judge | None:
        """Return what measures models: the common evaluation rows, or else these own ones; None without any."""
        if self._common_rows:
            return Judge(*self._common, is_common=True)
        return Judge(*self._task.arrays(own_rows), is_common=False) if own_rows else None

    def _starter_rows(self) -> list[Row]:
        return read_rows(self._task, self._data) if self._data else self._task.starter_rows(self._partition)

    @cached_property
    def _common(self) -> tuple[Array, Array]:
        return self._task.arrays(self._common_rows)


def model_signature(task_name: str, weights: Weights) -> str:
    """Return the signature that two models must share to be averaged: 16 bytes of SHA-256, in hexadecimal."""
    shapes = [[spec.dtype, list(spec.shape)] for spec in specs_of(weights)]
    return hashlib.sha256(json.dumps([task_name, shapes]).encode()).hexdigest()[:32]
