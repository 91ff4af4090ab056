"""The steps from received models to one that the cart keeps: bound, mix, move on, and judge."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence, Set
from dataclasses import dataclass

from .aggregation.base import Aggregator, Contribution, Mix, Quality
from .aggregation.registry import WITHOUT_MEASURING, load_aggregator
from .arrays import Array, Tree, Weights
from .metric import Metric
from .momentum import with_momentum
from .paired_test import is_worse
from .proportion import in_proportion, out_of_step
from .row_losses import guess_loss, row_losses
from .task_metrics import TaskMetric


@dataclass(frozen=True)
class PredictAll:
    """Predict with each of these weights; the result is what the model says of each row, for each: (rows, ...).

    The sequence may make the weights while it is gone through.
    """

    models: Sequence[Weights]
    inputs: Tree


@dataclass(frozen=True)
class Measured:
    """What one model says of the judging rows.

    Attributes:
        losses: of each row: (rows,).
        value: of the task's metric; not finite where what the model says is not.
        guess: the mean loss from which on a model knows nothing.
    """

    losses: Array
    value: float
    guess: float

    @property
    def loss(self) -> float:
        """The mean loss."""
        return float(self.losses.mean())

    @property
    def knows_nothing(self) -> bool:
        """Whether the model is not better than a guess."""
        return self.loss >= self.guess


@dataclass(frozen=True)
class Judge:
    """Rows that measure models.

    Attributes:
        inputs: (rows, ...).
        targets: (rows, ...).
        metric: how the task measures models.
        is_common: whether they are the task's common evaluation rows, and not the cart's own.
    """

    inputs: Tree
    targets: Tree
    metric: TaskMetric
    is_common: bool

    def measured(self, models: Sequence[Weights]) -> Generator[PredictAll, list[Tree], list[Measured]]:
        """Measure models."""
        found = yield PredictAll(models, self.inputs)
        return [
            Measured(
                row_losses(self.metric, predictions, self.targets),
                self.metric.value(predictions, self.targets),
                guess_loss(self.metric, predictions, self.targets),
            )
            for predictions in found
        ]


@dataclass(frozen=True)
class Kept:
    """What mixing has led to.

    Attributes:
        weights: the new weights, or None if the cart keeps its own, which also is so where no model took part.
        left_out: places of the received models that took no part.
        mix: what the judging rows say of the mix, and
        own: of the own model; None without such rows.
    """

    weights: Weights | None
    left_out: tuple[int, ...]
    mix: Measured | None
    own: Measured | None


def mixed(
    aggregator: Aggregator,
    own: Contribution,
    received: Sequence[Contribution],
    judge: Judge | None,
    earlier: tuple[Weights, Weights] | None,
    momentum: float,
    statistics: Set[int] = frozenset(),
) -> Generator[PredictAll, list[Tree], Kept]:
    """Mix the own model with received ones, and keep the mix unless it is worse.

    Common rows judge by a paired test. Own rows show ruin alone: on these an honest average of uneven data looks worse.

    Args:
        aggregator: mixes; where nothing can be measured, ``uniform`` does instead of one that measures.
        own: the cart's own model.
        received: at least one.
        judge: the rows that measure; None if there are none.
        earlier: the weights at the start of this round and of the one before; None for no momentum.
        momentum: part of that round's change which is added.
        statistics: the places of arrays that measure rows; they have no proportions.
    """
    refused = out_of_step([one.weights for one in received], own.weights, statistics)
    places = [place for place in range(len(received)) if place not in refused]
    in_bounds = in_proportion([received[place].weights for place in places], own.weights, statistics)
    bounded = [Contribution(weights, received[place].samples) for weights, place in zip(in_bounds, places, strict=True)]
    common = judge if judge is not None and judge.is_common else None
    if aggregator.measures and common is None:
        aggregator = load_aggregator(WITHOUT_MEASURING)
    mix = yield from _mix_of(aggregator, own, bounded, common)
    left_out = tuple(sorted({*refused, *(places[place] for place in mix.left_out)}))
    if len(left_out) == len(received):
        (alone,) = (yield from judge.measured([own.weights])) if judge is not None else (None,)
        return Kept(None, left_out, None, alone)
    candidates = [mix.weights]
    if earlier is not None and momentum > 0:
        candidates.insert(0, with_momentum(mix.weights, *earlier, momentum))
    if judge is None:
        return Kept(candidates[0], left_out, None, None)
    own_measured, *measured = yield from judge.measured([own.weights, *candidates])
    worse = _is_worse if judge.is_common else _is_ruin
    for weights, found in zip(candidates, measured, strict=True):
        if not worse(found, own_measured):
            return Kept(weights, left_out, found, own_measured)
    return Kept(None, left_out, measured[-1], own_measured)


def _mix_of(
    aggregator: Aggregator, own: Contribution, received: Sequence[Contribution], judge: Judge | None
) -> Generator[PredictAll, list[Tree], Mix]:
    steps = aggregator.mix(own, received)
    if isinstance(steps, Mix):
        return steps
    qualities: Sequence[Quality] | None = None
    try:
        while True:
            wanted = steps.send(qualities) if qualities is not None else next(steps)
            assert judge is not None  # else there is an aggregator that measures nothing
            qualities = [_quality(found, judge.metric.metric) for found in (yield from judge.measured(wanted))]
    except StopIteration as end:
        mix: Mix = end.value
        return mix
    finally:
        steps.close()


def _quality(found: Measured, metric: Metric) -> Quality:
    return Quality(found.loss, metric.weight(found.value) if math.isfinite(found.value) else 0.0)


def _is_worse(mix: Measured, own: Measured) -> bool:
    return not math.isfinite(mix.value) or is_worse(mix.losses, own.losses)


def _is_ruin(mix: Measured, own: Measured) -> bool:
    if not math.isfinite(mix.value):
        return True
    return mix.knows_nothing and not own.knows_nothing and is_worse(mix.losses, own.losses)
