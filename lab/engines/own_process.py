"""Train one by one in a process of its own, where Keras runs on TensorFlow, as on a cart.

Keras takes its backend once a process. Where this process has tried the vectorised engine, that is JAX.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from child_cart.model.arrays import Array, Weights
from child_cart.model.failure_words import failure_sentence
from child_cart.model.layout import Layout
from child_cart.model.task import Task, TaskError
from child_cart.model.task_metrics import TaskMetric
from child_cart.model.trainer_commands import Predict, Train

from .one_by_one import OneByOne

_engine: OneByOne


class OwnProcess:
    """An engine with one learner, in another process.

    Args:
        task: builds the learner there.

    Attributes:
        metric: how the task measures models.
        layout: what the weights are.

    Raises:
        TaskError: if the learner cannot be built.
    """

    def __init__(self, task: Task) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
        try:
            start, metric, layout = self._pool.submit(_build, task).result()
        except BrokenProcessPool:
            self.close()
            raise TaskError(f"The process that trains {task.name!r} has ended while it built the model.") from None
        except Exception as error:  # the task is the user's, and may raise anything
            self.close()
            raise TaskError(failure_sentence(error)) from error
        self._start: list[Array] = start
        self.metric: TaskMetric = metric
        self.layout: Layout = layout

    def start(self) -> list[Array]:
        """Return the task's starting weights."""
        return self._start

    def train(self, wanted: Sequence[Train]) -> list[Weights]:
        """Train each model on its own rows."""
        return self._pool.submit(_train, wanted).result()

    def predict(self, wanted: Sequence[Predict]) -> list[Array]:
        """Return the scores of each model."""
        return self._pool.submit(_predict, wanted).result()

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown(cancel_futures=True)


def _build(task: Task) -> tuple[list[Array], TaskMetric, Layout]:
    global _engine  # noqa: PLW0603 - one a process
    os.environ["KERAS_BACKEND"] = "tensorflow"
    _engine = OneByOne(task)
    return _engine.start(), _engine.metric, _engine.layout


def _train(wanted: Sequence[Train]) -> list[Weights]:
    return _engine.train(wanted)


def _predict(wanted: Sequence[Predict]) -> list[Array]:
    return _engine.predict(wanted)
