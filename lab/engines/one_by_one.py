"""Train and measure one model after the other with the task's own learner: for any task and library."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from child_cart.model.arrays import Array, Tree, Weights, mapped
from child_cart.model.layout import Layout
from child_cart.model.task import Task
from child_cart.model.task_metrics import metric_of
from child_cart.model.trainer_commands import Predict, Train


class OneByOne:
    """An engine with one learner.

    Args:
        task: builds it.

    Attributes:
        metric: how the task measures models.
        layout: what the weights are.
    """

    def __init__(self, task: Task) -> None:
        self._learner = task.build_learner()
        self._start = self._learner.weights()
        self.metric = metric_of(task, getattr(self._learner, "metric", None))
        self.layout: Layout = getattr(self._learner, "layout", Layout())

    def start(self) -> list[Array]:
        """Return the task's starting weights."""
        return self._start

    def train(self, wanted: Sequence[Train]) -> list[Weights]:
        """Train each model on its own rows."""
        results: list[Weights] = []
        for one in wanted:
            self._learner.set_weights(one.weights)
            more = {} if one.sample_weights is None else {"sample_weights": one.sample_weights}
            self._learner.train(one.inputs, one.targets, lambda *_: None, **more)
            results.append(self._learner.weights())
        return results

    def predict(self, wanted: Sequence[Predict]) -> list[Tree]:
        """Return the predictions of each model."""
        results = []
        for one in wanted:
            self._learner.set_weights(one.weights)
            results.append(mapped(np.asarray, self._learner.predict(one.inputs)))
        return results

    def close(self) -> None:
        """Do nothing."""
