"""Compare the carts' models with models that were trained alone. The only module of the demo that imports TensorFlow.

Runs in its own process of low priority, ``python -m demo.references FOLDER TASK CARTS STARTER_ROWS``, beside the carts:
training blocks, and an interrupted demo must end at once. It reads the carts' folders and never changes them. Each line
of standard input is a ``MeasuringRequest``; a JSON line answers it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from child_cart.model.arrays import Weights
from child_cart.model.csv_rows import read_rows
from child_cart.model.learner import Learner
from child_cart.model.metric import ACCURACY
from child_cart.model.task import Row, Task, load_task
from child_cart.model.task_metrics import metric_of

from .fleet import cart_folder
from .kept import KeptResult, kept_by
from .own_rows import measured_file, starter_rows

NICE: Final = 5
"""A third of a cart's share of a busy processor. At 19 it stands still wherever other programs are busy."""


@dataclass(frozen=True)
class MeasuringRequest:
    """What to measure: these carts after their last common round, or, as the last request, all that carts have."""

    carts: list[int]
    is_last: bool = False


@dataclass(frozen=True)
class Point:
    """The mean of some carts after a round: values of the metric, None where there is nothing to measure."""

    round: int
    carts: int
    alone: float | None
    federated: float | None
    together: float | None
    test_rows: int
    metric: dict[str, Any] = field(default_factory=ACCURACY.as_json)


@dataclass(frozen=True)
class CartResult:
    """One cart's result: values of the metric, None without a model."""

    number: int
    rows: int
    rounds: int
    averaged: int
    alone: float | None
    federated: float | None


def rows_never_seen(task: Task) -> list[Row]:
    """Return the rows to measure on: the task's test rows if it has some, else its evaluation rows."""
    test_rows = getattr(task, "test_rows", task.evaluation_rows)
    rows: list[Row] = test_rows()
    return rows


def rows_to_measure_on(folder: Path, task: Task) -> list[Row]:
    """Return the rows of the user's CSV file that no cart gets, or else the task's own that no cart has seen."""
    own = measured_file(folder)
    return read_rows(task, own) if own.exists() else rows_never_seen(task)


@dataclass
class _Reference:
    """A model that learns what some carts learn, without averaging.

    Attributes:
        carts: the numbers of these carts.
        weights: of the model, so far.
        known: the round and the cart of each batch that it has learned.
    """

    carts: Sequence[int]
    weights: Weights
    known: set[tuple[int, int]] = field(default_factory=set)


@dataclass
class _Followed:
    """A cart as it was seen last, and all its batches."""

    starter: list[Row]
    batches: dict[int, tuple[Row, ...]] = field(default_factory=dict)
    kept: KeptResult = KeptResult({}, 0, 0, 0, {})


class Follower:
    """Follows the carts of a demo: trains the references batch after batch as the carts do, and measures all models.

    Args:
        folder: the demo's folder.
        task: what the carts learn.
        carts: number of carts.
        most_starter_rows: most rows that a cart starts from.
    """

    def __init__(self, folder: Path, task: Task, carts: int, most_starter_rows: int) -> None:
        self._folder = folder
        self._task = task
        self._learner: Learner = task.build_learner()
        self._metric = metric_of(task, getattr(self._learner, "metric", None))
        start = self._learner.weights()
        test = rows_to_measure_on(folder, task)
        self._test = task.arrays(test) if test else None
        self._test_rows = len(test)
        numbers = range(1, carts + 1)
        self._carts = {n: _Followed(starter_rows(folder, task, n, carts, most_starter_rows)) for n in numbers}
        self._alone = {n: _Reference([n], start) for n in numbers}
        self._together = _Reference(numbers, start)

    def point(self, numbers: Sequence[int]) -> Point:
        """Measure these carts after the last round that each of them has ended."""
        self._look()
        last = min((self._carts[number].kept.ended for number in numbers), default=0)
        for round_number in range(last + 1):
            self._learn(round_number)
        alone = [self._value(self._alone[number].weights) for number in numbers]
        federated = [self._value(self._carts[number].kept.weights(last)) for number in numbers]
        together = self._value(self._together.weights)
        metric = self._metric.metric.as_json()
        return Point(last, len(numbers), mean(alone), mean(federated), together, self._test_rows, metric)

    def results(self) -> Iterator[dict[str, Any]]:
        """Give a record for each completed step, and the results of all carts as the last record."""
        self._look()
        steps = max(cart.kept.ended for cart in self._carts.values()) + 1
        for round_number in range(steps):
            self._learn(round_number)
            yield {"done": round_number + 1, "of": steps}
        results = [
            CartResult(
                number,
                sum(map(len, cart.batches.values())),
                cart.kept.ended,
                cart.kept.averaged,
                self._value(self._alone[number].weights),
                self._value(cart.kept.weights(cart.kept.ended)),
            )
            for number, cart in self._carts.items()
        ]
        yield {
            "carts": [asdict(result) for result in results],
            "together": self._value(self._together.weights),
            "together_rows": sum(result.rows for result in results),
            "test_rows": self._test_rows,
            "metric": self._metric.metric.as_json(),
        }

    def _look(self) -> None:
        for number, cart in self._carts.items():
            cart.kept = kept_by(cart_folder(self._folder, number), cart.starter, cart.kept.trained_to)
            cart.batches.update(cart.kept.batches)

    def _learn(self, round_number: int) -> None:
        """Train all references with what is new to them of a round.

        Round by round, because the learner draws the order of the rows: so the figures do not depend on how often the
        carts are looked at. The rows of one round form one batch. So the model of all carts is as strong as one trained
        on all rows at once: digits 0.966 against 0.946, shopping 0.889 against 0.891.
        """
        for model in (*self._alone.values(), self._together):
            has = [number for number in model.carts if round_number in self._carts[number].batches]
            new = [number for number in has if (round_number, number) not in model.known]
            if new:
                batch = [row for number in new for row in self._carts[number].batches[round_number]]
                self._learner.set_weights(model.weights)
                inputs, targets, *weights = self._task.arrays(batch)
                more = {"sample_weights": weights[0]} if weights else {}
                self._learner.train(inputs, targets, lambda *_: None, **more)
                model.weights = self._learner.weights()
                model.known.update((round_number, number) for number in new)

    def _value(self, weights: Weights | None) -> float | None:
        if self._test is None or weights is None:
            return None
        self._learner.set_weights(weights)
        inputs, targets = self._test[:2]
        return self._metric.value(self._learner.predict(inputs), targets)


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are there; None if there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def answers(follower: Follower, request: MeasuringRequest) -> Iterator[dict[str, Any]]:
    """Give the answers to a request: a point, and to the last one also a record a step and the results."""
    yield {"point": asdict(follower.point(request.carts))}
    if request.is_last:
        yield from follower.results()


def give_way(session_nice: int) -> None:
    """Let the carts go first: their rounds must not wait for what is measured beside them.

    Where Linux shares the processor among sessions, as it does by default, the niceness of the session counts; it may
    be taken back. That of a process may not.
    """
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(session_nice))


def main() -> None:
    """Run the process."""
    folder, task, carts, most_starter_rows = sys.argv[1:]
    # Libraries print to standard output, which carries the answers here. So their output goes to standard error.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)
        follower = Follower(Path(folder), load_task(task), int(carts), int(most_starter_rows))
        os.nice(NICE)  # not before: the first round would end before this process has loaded its libraries
        give_way(NICE)
        for line in sys.stdin:
            request = MeasuringRequest(**json.loads(line))
            if request.is_last:  # the carts have stopped
                give_way(0)
            for answer in answers(follower, request):
                print(json.dumps(answer), file=output, flush=True)


if __name__ == "__main__":
    main()
