"""What a trainer does with models and rows, as steps: each asks for a computation, and is given its result.

The steps read and write models, check what peers have sent, and decide what is measured and kept. Whoever takes them
computes: a trainer process with its one model at once, the laboratory for many carts together.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from cart_common.process.json_values import Json

from .aggregation import average
from .arrays import Array, Tree, Weights, specs_of, widened
from .csv_rows import read_rows
from .layout import Layout
from .model_files import ModelFiles
from .partition import Partition
from .task import Row, Task
from .task_metrics import TaskMetric
from .verdict import VerdictReason, weights_problem
from .weights_file import WeightsError

T = TypeVar("T")


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


Computation = Train | Predict | Summarise
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
            "digest": self._files.write(Path(target), self._initial),
            "signature": model_signature(self._task.name, self._initial, self._layout.base),
            "parameters": sum(array.size for array in self._initial),
            "metric": self._metric.metric.as_json(),
        }

    def train(self, base: Json, rows: list[Row], own_rows: list[Row], target: str) -> Steps[Json]:
        """Train the base model on these rows and write it to the target."""
        weights: Weights = self.base(base)
        if rows:
            weights = yield Train(weights, *self._task.arrays(rows))
        written = yield from self._written(weights, own_rows, target)
        return {**written, "rows": len(rows)}

    def start(self, base: Json, own_rows: list[Row], target: str) -> Steps[Json]:
        """Train the base model on the starter rows and write it to the target."""
        rows = read_rows(self._task, self._data) if self._data else self._task.starter_rows(self._partition)
        return (yield from self.train(base, rows[: self._starter_limit], own_rows, target))

    def score(self, path: str) -> Steps[Json]:
        """Check a received payload, and measure it on the common evaluation rows, if the task has some."""
        weights = widened(self._files.payload(Path(path)), self._specs)
        reason = weights_problem(weights, self._specs, self._layout.statistics)
        if reason is not None:
            return {"reason": str(reason)}
        value = yield from self._value(weights, self._common)
        if value is not None and not math.isfinite(value):
            return {"reason": str(VerdictReason.NOT_FINITE)}
        return {"value": value}

    def adopt(self, path: str, own_rows: list[Row], target: str) -> Steps[Json]:
        """Write a received payload, which ``score`` has passed, to the target, in the dtypes of the task's model."""
        weights = widened(self._files.payload(Path(path)), self._specs)
        return (yield from self._written(weights, own_rows, target))

    def average(self, base: Json, received: list[Json], own_rows: list[Row], target: str) -> Steps[Json]:
        """Average the base model with received payloads by their shares, and write the result to the target."""
        models: list[Weights] = [self.base(base)]
        models += [self._files.payload(Path(entry["path"])) for entry in received]
        merged = average(models, [base["share"], *(entry["share"] for entry in received)])
        del models  # the payloads are mapped: let their files go before the slower part
        return (yield from self._written(merged, own_rows, target))

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
        wrong = weights_problem(weights, self._specs, self._layout.statistics)
        if wrong is not None:  # weights that are not finite would spoil this cart for good, and those that average them
            raise WeightsError(f"The new weights cannot be used ({wrong}): a row may hold an extreme number.")
        own = self._task.arrays(own_rows) if own_rows else None
        value = yield from self._value(weights, self._common or own)
        if value is not None and not math.isfinite(value):
            raise WeightsError(f"The new weights cannot be used: the {self._metric.metric.name} is {value}.")
        return {
            "value": value,
            "metric": self._metric.metric.as_json(),
            "summary": (yield Summarise(weights)),
            "digest": self._files.write(Path(target), weights),
        }

    def _value(self, weights: Weights, rows: Sequence[Tree] | None) -> Steps[float | None]:
        """Return the value on these rows (inputs, targets and what else the task gives); None without any."""
        if rows is None:
            return None
        inputs, targets = rows[:2]
        return self._metric.value((yield Predict(weights, inputs)), targets)

    @cached_property
    def _common(self) -> Sequence[Tree] | None:
        return self._task.arrays(self._common_rows) if self._common_rows else None


def model_signature(task_name: str, weights: Weights, base: str = "") -> str:
    """Return the signature that two models must share to be averaged: 16 bytes of SHA-256, in hexadecimal.

    Args:
        task_name: of the task.
        weights: what carts exchange.
        base: the digest of what they do not, and compute with; empty for a model without such.
    """
    shapes = [[spec.dtype, list(spec.shape)] for spec in specs_of(weights)]
    told = [task_name, shapes, base] if base else [task_name, shapes]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:32]
