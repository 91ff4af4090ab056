"""A task: what is learned, from which rows, by which model. A user's own is given as ``package.module:Class``."""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, Protocol

from cart_common.process.errors import UserError
from cart_common.process.field_errors import FieldErrors, parsed

from .arrays import Array, Tree, leaves
from .failure_words import reason_in
from .learner import Learner
from .partition import Partition
from .task_metrics import TaskMetric

Row = dict[str, Any]
"""One observation, as plain JSON."""

BUILT_IN: Final = {
    "shopping": "child_cart.model.shopping:Shopping",
    "shopping-dense": "child_cart.model.shopping:ShoppingDense",
    "digits": "child_cart.model.digits:Digits",
}


class TaskError(UserError):
    """A task cannot be loaded, or lacks a part."""


class RowError(ValueError):
    """Fields are not a row of the task; the message names the field and its value."""


@dataclass(frozen=True)
class InputField:
    """One number of a model's input, for whoever uses a file of the model.

    Attributes:
        name: of the number.
        unit: what it counts.
        values: the allowed values and their meaning, or the lowest and the highest.
    """

    name: str
    unit: str
    values: Mapping[int, str] | tuple[float, float]


@dataclass(frozen=True)
class SoldLine:
    """One line of a bill, as a task sees it."""

    sold_on: date
    category: int
    gender: int
    amount: int


class Task(Protocol):
    """What a cart needs of a task.

    ``starter_rows``, ``evaluation_rows``, ``arrays``, ``build_learner`` and ``summary`` are called in the trainer
    process. All else is called in the cart's own process and must not import TensorFlow.
    """

    name: str

    def parse_row(self, fields: Mapping[str, object]) -> Row:
        """Check the fields of one observation (texts or numbers) and return it as a row; raises ``RowError``."""

    def sale_row(self, line: SoldLine) -> Row | None:
        """Return the row that a bill line makes, or None if this task does not learn from sales."""

    def starter_rows(self, partition: Partition, /) -> list[Row]:
        """Return the rows of this partition that come with the task, the same ones each time."""

    def evaluation_rows(self) -> list[Row]:
        """Return the small set on which every cart of the task measures models."""

    def arrays(self, rows: Sequence[Row]) -> tuple[Tree, ...]:
        """Return inputs (rows, ...) and targets (rows, ...) of the rows, and sample weights (rows,) if it has some.

        Inputs and targets are arrays, or several in a dict, list or tuple, as Keras takes them.
        """

    def build_learner(self) -> Learner:
        """Return the model with its starting weights, which are the same on every cart."""

    def summary(self, predict: Callable[[Array], Array]) -> dict[str, Any]:
        """Return what the pages show about a model, as JSON; ``predict`` maps inputs to scores (rows, classes)."""


class KerasTask:
    """Base class of tasks with a Keras model: define ``name``, ``parse_row``, ``arrays`` and ``build_model``.

    Attributes:
        name: part of the model signature, so that only carts of one task average with each other.
        seed: of the starting weights.
        epochs: passes over the waiting rows in one training.
        batch_size: rows per step.
        input_fields: describe the numbers of an input, in their order, in the model's files.
        output_names: describe those of an output.
        kept_by: for model signatures that this task had earlier, the built-in task that goes on with such a model.
        class_weight: how much rows of a class count in a training, as in ``Model.fit``; None for all alike.
        unit: of the targets where they are numbers, as pages show it; empty if it has none.
        metric: how models are measured; None to let the model's loss and output decide.
        personal_layers: the names of layers that each cart trains for itself: their arrays are never sent.
    """

    name = ""
    seed = 1
    epochs = 10
    batch_size = 32
    input_fields: Sequence[InputField] = ()
    output_names: Sequence[str] = ()
    kept_by: Mapping[str, str] = {}
    class_weight: Mapping[int, float] | None = None
    unit = ""
    metric: TaskMetric | None = None
    personal_layers: Sequence[str] = ()

    def build_model(self) -> Any:
        """Return a compiled ``keras.Model``."""
        raise NotImplementedError

    def build_learner(self) -> Learner:
        """Return the model with the starting weights of the seed."""
        from .keras_learner import KerasLearner, built, set_seed  # noqa: PLC0415 - imports TensorFlow

        set_seed(self.seed)
        model = self.build_model()
        if getattr(model, "optimizer", None) is None:
            raise TaskError(
                f"The model of the task {self.name!r} is not compiled: call its compile, with an optimizer and a loss, "
                "in build_model."
            )
        if not model.built:
            model = built(model, self.sample_inputs())
        return KerasLearner(
            model, self.epochs, self.batch_size, self.seed, self.unit, self.class_weight, self.personal_layers
        )

    def sample_inputs(self) -> Tree:
        """Return inputs of the form that ``arrays`` gives, for a model without an ``Input``.

        Raises:
            TaskError: if they do not say how many numbers a row has.
        """
        rows = self.evaluation_rows()[:1] or self.starter_rows(Partition())[:1]
        inputs = self.arrays(rows)[0]  # type: ignore[attr-defined]  # a subclass defines it
        if not rows and any(array.ndim < 2 for array in leaves(inputs)):
            raise TaskError(
                f"The model of the task {self.name!r} has no Input, and the task no rows that tell the form of its "
                "inputs: begin the model with keras.Input((...))."
            )
        return inputs

    def sale_row(self, line: SoldLine) -> Row | None:
        """Learn nothing from sales."""
        return None

    def starter_rows(self, partition: Partition, /) -> list[Row]:
        """Return no starter rows."""
        return []

    def evaluation_rows(self) -> list[Row]:
        """Return no common evaluation rows."""
        return []

    def summary(self, predict: Callable[[Array], Array]) -> dict[str, Any]:
        """Return nothing more to show."""
        return {}


def is_tried(name: str) -> bool:
    """Return whether a cart tries the task of this name before it is ready: the built-in ones were tested before."""
    return name not in BUILT_IN


def load_task(name: str) -> Task:
    """Return the task of this name: a built-in one, or ``package.module:Class``.

    The module of one's own may also lie in the current folder, where ``python -m`` looks and an installed command does
    not. It is looked at last, so that no file there stands in for a package that is installed.

    Raises:
        TaskError: if it does not exist, cannot be loaded, or is not a task.
    """
    module_name, colon, class_name = BUILT_IN.get(name, name).partition(":")
    if not colon:
        known = ", ".join(BUILT_IN)
        raise TaskError(f"There is no task {name!r}: it is {known}, or your own class as package.module:Class.")
    try:
        if name not in BUILT_IN and os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())
        task = getattr(importlib.import_module(module_name), class_name)()
    except Exception as error:  # the module is the user's, and may raise anything
        raise TaskError(f"The task {name!r} cannot be loaded: {type(error).__name__}: {error}.") from error
    missing = [part for part in _PARTS if not callable(getattr(task, part, None))]
    if missing or not isinstance(getattr(task, "name", None), str) or not task.name:
        lacking = ", ".join([*missing, *([] if getattr(task, "name", "") else ["name"])])
        raise TaskError(f"{name!r} is not a task: it lacks {lacking}.")
    loaded: Task = task
    return loaded


_PARTS: Final = tuple(part for part in vars(Task) if not part.startswith("_"))


def checked_row(task: Task, fields: Mapping[str, object]) -> Row:
    """Return the fields as a row of the task that can be stored.

    Raises:
        RowError: if the task rejects them, by any exception, or the row is not plain JSON. A number that is not finite
            is not: one such row would make every weight of the model NaN.
    """
    try:
        row = task.parse_row(fields)
    except RowError:
        raise
    except Exception as error:  # the task is the user's, and its fields may be anything
        raise RowError(f"the task does not take it ({type(error).__name__}: {reason_in(str(error))})") from error
    try:
        json.dumps(row, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RowError(f"it cannot be kept ({error})") from None
    return row


def row_parsed_by(parsers: Mapping[str, Callable[[], Any]]) -> Row:
    """Return the row whose fields these parsers return.

    Raises:
        RowError: naming every field that is wrong, not only the first.
    """
    try:
        return parsed(parsers)
    except FieldErrors as error:
        raise RowError(str(error)) from None


def whole_number(fields: Mapping[str, object], field: str, low: int, high: int) -> int:
    """Return a field as a whole number in this range.

    Raises:
        RowError: naming the field and its value.
    """
    if field not in fields:
        raise RowError(f"{field} is missing")
    value = fields[field]
    try:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise ValueError
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        number = low - 1
    if not low <= number <= high:
        raise RowError(f"{field} is {str(value)[:40]!r}; it must be a whole number from {low} to {high}")
    return int(number)
