"""What all carts want computed, collected until nothing else can go on, and then computed together by an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

from child_cart.model.arrays import Array, Weights
from child_cart.model.layout import Layout
from child_cart.model.mixing import PredictAll
from child_cart.model.task_metrics import TaskMetric
from child_cart.model.trainer_commands import Predict, Train


class Engine(Protocol):
    """Computes for many carts at once."""

    @property
    def metric(self) -> TaskMetric:
        """How the task measures models."""

    @property
    def layout(self) -> Layout:
        """What the weights are."""

    def start(self) -> list[Array]:
        """Return the task's starting weights, of this run's seed."""

    def train(self, wanted: Sequence[Train]) -> list[Weights]:
        """Train each of these models on its own rows; return their new weights, in order."""

    def predict(self, wanted: Sequence[Predict]) -> list[Array]:
        """Return the scores of each of these models, in order: (rows, ...) each."""

    def close(self) -> None:
        """Let go of what the engine holds."""


class Computing:
    """Collects what is wanted; ``flush`` computes it.

    Args:
        engine: computes.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._trainings: list[tuple[Train, asyncio.Future[Weights]]] = []
        self._predictions: list[tuple[Predict, asyncio.Future[Array]]] = []
        self._series: list[tuple[PredictAll, asyncio.Future[list[Array]]]] = []

    def result(
        self, wanted: Train | Predict | PredictAll
    ) -> asyncio.Future[Weights] | asyncio.Future[Array] | asyncio.Future[list[Array]]:
        """Return a future that gets the result when everything else waits."""
        loop = asyncio.get_running_loop()
        if isinstance(wanted, Train):
            new_weights: asyncio.Future[Weights] = loop.create_future()
            self._trainings.append((wanted, new_weights))
            return new_weights
        if isinstance(wanted, PredictAll):
            all_scores: asyncio.Future[list[Array]] = loop.create_future()
            self._series.append((wanted, all_scores))
            return all_scores
        scores: asyncio.Future[Array] = loop.create_future()
        self._predictions.append((wanted, scores))
        return scores

    def flush(self) -> bool:
        """Compute everything that is wanted now; return whether there was anything."""
        trainings, self._trainings = self._trainings, []
        predictions, self._predictions = self._predictions, []
        series, self._series = self._series, []
        self._train([(wanted, future) for wanted, future in trainings if not future.done()])
        self._predict([(wanted, future) for wanted, future in predictions if not future.done()])
        self._predict_all([(wanted, future) for wanted, future in series if not future.done()])
        return bool(trainings or predictions or series)

    def _train(self, wanted: Sequence[tuple[Train, asyncio.Future[Weights]]]) -> None:
        try:
            results = self._engine.train([one for one, _ in wanted]) if wanted else []
        except Exception as error:
            _fail([future for _, future in wanted], error)
            return
        for (_, future), weights in zip(wanted, results, strict=True):
            future.set_result(weights)

    def _predict(self, wanted: Sequence[tuple[Predict, asyncio.Future[Array]]]) -> None:
        try:
            scores = self._scores([one for one, _ in wanted])
        except Exception as error:
            _fail([future for _, future in wanted], error)
            return
        for (_, future), found in zip(wanted, scores, strict=True):
            future.set_result(found)

    def _predict_all(self, wanted: Sequence[tuple[PredictAll, asyncio.Future[list[Array]]]]) -> None:
        """Predict with the models of all, where they are there; with those that are made on the way cart by cart.

        Mixes are made to be measured, and forgotten. So many carts have no more of them in memory than one has.
        """
        there = [(one, future) for one, future in wanted if isinstance(one.models, list)]
        made = [(one, future) for one, future in wanted if not isinstance(one.models, list)]
        for series in (there, *([one] for one in made)):
            try:
                found = iter(self._scores([Predict(model, one.inputs) for one, _ in series for model in one.models]))
            except Exception as error:
                _fail([future for _, future in series], error)
                continue
            for one, future in series:
                future.set_result([next(found) for _ in range(len(one.models))])

    def _scores(self, wanted: Sequence[Predict]) -> list[Array]:
        # A model that many carts have received is measured once on the rows that they share.
        distinct: dict[tuple[int, ...], Predict] = {}
        for one in wanted:
            distinct.setdefault(_key(one), one)
        found = dict(zip(distinct, self._engine.predict(list(distinct.values())) if distinct else [], strict=True))
        return [found[_key(one)] for one in wanted]


def _key(wanted: Predict) -> tuple[int, ...]:
    return (id(wanted.inputs), *map(id, wanted.weights))


def _fail(futures: Sequence[asyncio.Future[Any]], error: Exception) -> None:
    for future in futures:
        future.set_exception(error)
