"""What computes in a process of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from child_cart.model.arrays import Array, Tree, Weights
from child_cart.model.layout import Layout
from child_cart.model.task import Task
from child_cart.model.task_metrics import TaskMetric
from child_cart.model.trainer_commands import Predict, Train

from ..packages import versions
from .local import local_engine


@dataclass(frozen=True)
class BuiltEngine:
    """An engine that a worker has.

    Attributes:
        words: what it is.
        start: the task's starting weights.
        metric: how the task measures models.
        layout: what the weights are.
        versions: of the programs there.
    """

    words: str
    start: list[Array]
    metric: TaskMetric
    layout: Layout
    versions: dict[str, str]


class RayWorker:
    """Holds an engine.

    Args:
        task: what is learned.
        sample: inputs and targets of a few rows, for a trial.
    """

    def __init__(self, task: Task, sample: tuple[Tree, ...]) -> None:
        self._task = task
        self._sample = sample

    def build(self) -> BuiltEngine:
        """Build the engine and try it."""
        self._engine, words = local_engine("auto", self._task, self._sample)
        return BuiltEngine(words, self._engine.start(), self._engine.metric, self._engine.layout, versions())

    def train(self, wanted: Sequence[Train]) -> list[Weights]:
        """Train each model on its own rows."""
        return self._engine.train(wanted)

    def predict(self, wanted: Sequence[Predict]) -> list[Array]:
        """Return the scores of each model."""
        return self._engine.predict(wanted)
