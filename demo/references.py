"""Compare the carts' models with models that were trained alone. The only module of the demo that imports TensorFlow.

Runs in its own process of low priority, ``python -m demo.references FOLDER TASK CARTS STARTER_ROWS``, beside the carts:
training blocks, and an interrupted demo must end at once. It reads the carts' folders and never changes them. Each line
of standard input is a ``Request``; a JSON line answers it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

from child_cart.db.records import ModelVersion, Origin, Outcome
from child_cart.db.sqlite import SqliteStore
from child_cart.model.arrays import Weights
from child_cart.model.csv_rows import read_rows
from child_cart.model.learner import Learner, accuracy
from child_cart.model.shopping import Shopping, purchases
from child_cart.model.task import Row, Task, load_task
from child_cart.model.weights_file import WeightsError, read_weights

from .fleet import cart_folder
from .own_rows import measured_file, starter_rows

PLENTY: Final = 1_000_000
TEST_ROWS: Final = 2000
TEST_SEED: Final = 2024  # a seed that no cart's starter or evaluation rows use
NICE: Final = 5
"""A third of a cart's share of a busy processor. At 19 it stands still wherever other programs are busy."""
BUSY_S: Final = 5.0


@dataclass(frozen=True)
class Request:
    """What to measure: these carts after their last common round, or, as the last request, all that carts have."""

    carts: list[int]
    is_last: bool = False


@dataclass(frozen=True)
class Point:
    """The mean of some carts after a round; accuracies are 0 to 1, and None where there is nothing to measure."""

    round: int
    carts: int
    alone: float | None
    federated: float | None
    together: float | None
    test_rows: int


@dataclass(frozen=True)
class CartResult:
    """One cart's result; accuracies are 0 to 1, and None without a model."""

    number: int
    rows: int
    rounds: int
    averaged: int
    alone: float | None
    federated: float | None


@dataclass(frozen=True)
class KeptResult:
    """What a cart's folder holds, up to its last round that has ended.

    Attributes:
        batches: the rows of each training, by the round; the starter rows are of round 0.
        averaged: how many rounds ended with an average.
        ended: the number of the last round that has ended; 0 before the first.
        trained_to: the last row of the batches, counted from 1.
        models: the weights after each round whose file is still there.
    """

    batches: Mapping[int, tuple[Row, ...]]
    averaged: int
    ended: int
    trained_to: int
    models: Mapping[int, Weights]

    def weights(self, after: int) -> Weights | None:
        """Return the weights after a round; None if the file is gone. A round without a new model keeps the earlier."""
        reached = [number for number in self.models if number <= after]
        return self.models[max(reached)] if reached else None


def kept_by(folder: Path, starter: Sequence[Row], known_rows: int = 0) -> KeptResult:
    """Read a cart's folder, while it runs or after, without changing it.

    Args:
        folder: the cart's data folder.
        starter: the rows that the cart started from.
        known_rows: number of its first rows to leave out; they are of trainings that are known already.
    """
    with tempfile.TemporaryDirectory() as copy:
        _copy_store(folder / "cart.db", Path(copy) / "cart.db")
        with closing(SqliteStore(Path(copy) / "cart.db")) as store:
            versions = store.versions(PLENTY)[::-1]
            rounds = [record for record in store.rounds(PLENTY) if record.outcome is not None]
            # In the copy: the rows after the newest version are those that wait.
            store.forget_model()
            store.load_versions([replace(version, trained_to=known_rows) for version in versions[-1:]])
            rows = store.waiting_rows(PLENTY)
    ended = max((record.number for record in rounds), default=0)
    versions = [version for version in versions if version.round_number <= ended]
    batches = {}
    for version in versions:
        # Sequence numbers count from 1 without gaps.
        spent = rows[max(0, version.trained_from - known_rows) : max(0, version.trained_to - known_rows)]
        batch = starter if version.origin is Origin.STARTER else [entry.row for entry in spent if not entry.held_out]
        if batch:
            batches[version.round_number] = tuple(batch)
    return KeptResult(
        batches,
        sum(record.outcome is Outcome.AGGREGATED for record in rounds),
        ended,
        versions[-1].trained_to if versions else 0,
        _models(folder, {version.round_number: version for version in versions}),
    )


def _models(folder: Path, last_of_rounds: Mapping[int, ModelVersion]) -> dict[int, Weights]:
    models: dict[int, Weights] = {}
    for number, version in last_of_rounds.items():
        path = folder / "models" / version.file_name
        if path.exists():
            with suppress(WeightsError):  # removed meanwhile
                models[number] = read_weights(path, version.digest)
    return models


def _copy_store(path: Path, target: Path) -> None:
    """Copy the store as it is at one moment, while its cart may be writing."""
    if path.exists():
        address = f"{path.absolute().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(address, uri=True, timeout=BUSY_S)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)


def rows_never_seen(task: Task) -> list[Row]:
    """Return the rows to measure on: fresh purchases, or else the task's test rows, or else its evaluation rows."""
    if isinstance(task, Shopping):
        return purchases(TEST_ROWS, TEST_SEED)
    test_rows = getattr(task, "test_rows", task.evaluation_rows)
    rows: list[Row] = test_rows()
    return rows


def rows_to_measure_on(folder: Path, task: Task) -> list[Row]:
    """Return the rows of the user's CSV file that no cart gets, or else the task's own that no cart has seen."""
    own = measured_file(folder)
    return read_rows(task, own) if own.exists() else rows_never_seen(task)


@dataclass
class _Reference:
    """A model that learns without averaging, and the batches that it has learned: the round and the cart of each."""

    weights: Weights
    known: set[tuple[int, int]] = field(default_factory=set)


@dataclass
class _Followed:
    """A cart as it was seen last, and all its batches."""

    starter: list[Row]
    alone: _Reference
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
        start = self._learner.weights()
        test = rows_to_measure_on(folder, task)
        self._test = task.arrays(test) if test else None
        self._test_rows = len(test)
        self._together = _Reference(start)
        self._carts = {
            number: _Followed(starter_rows(folder, task, number, carts, most_starter_rows), _Reference(start))
            for number in range(1, carts + 1)
        }

    def point(self, numbers: Sequence[int]) -> Point:
        """Measure these carts after the last round that each of them has ended."""
        self._look()
        chosen = {number: self._carts[number] for number in numbers}
        last = min((cart.kept.ended for cart in chosen.values()), default=0)
        alone = [self._trained(cart.alone, [number], last) for number, cart in chosen.items()]
        federated = [self._accuracy(cart.kept.weights(last)) for cart in chosen.values()]
        together = self._trained(self._together, self._carts, last)
        return Point(last, len(chosen), mean(alone), mean(federated), together, self._test_rows)

    def results(self) -> Iterator[dict[str, Any]]:
        """Give a record for each completed step, and the results of all carts as the last record."""
        self._look()
        steps, results = len(self._carts) + 1, []
        for number, cart in self._carts.items():
            federated = self._accuracy(cart.kept.weights(cart.kept.ended))
            alone = self._trained(cart.alone, [number], cart.kept.ended)
            rows = sum(map(len, cart.batches.values()))
            results.append(CartResult(number, rows, cart.kept.ended, cart.kept.averaged, alone, federated))
            yield {"done": number, "of": steps}
        last = max(cart.kept.ended for cart in self._carts.values())
        yield {
            "carts": [asdict(result) for result in results],
            "together": self._trained(self._together, self._carts, last),
            "together_rows": sum(result.rows for result in results),
            "test_rows": self._test_rows,
        }

    def _look(self) -> None:
        for number, cart in self._carts.items():
            cart.kept = kept_by(cart_folder(self._folder, number), cart.starter, cart.kept.trained_to)
            cart.batches.update(cart.kept.batches)

    def _trained(self, model: _Reference, numbers: Iterable[int], last: int) -> float | None:
        """Train a reference with what these carts have learned up to a round and it has not; return its accuracy.

        The rows of one round form one batch. So the model of all carts is as strong as one trained on all rows at once:
        digits 0.966 against 0.946, shopping 0.889 against 0.891.
        """
        known_to_carts = {(round_, number) for number in numbers for round_ in self._carts[number].batches}
        due = sorted(entry for entry in known_to_carts - model.known if entry[0] <= last)
        self._learner.set_weights(model.weights)
        for _, entries in groupby(due, key=lambda entry: entry[0]):
            batch = [row for round_, number in entries for row in self._carts[number].batches[round_]]
            self._learner.train(*self._task.arrays(batch), lambda *_: None)
        if due:
            model.weights = self._learner.weights()
            model.known.update(due)
        return self._accuracy(model.weights)

    def _accuracy(self, weights: Weights | None) -> float | None:
        if self._test is None or weights is None:
            return None
        self._learner.set_weights(weights)
        return accuracy(self._learner, *self._test)


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are there; None if there is none."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def answers(follower: Follower, request: Request) -> Iterator[dict[str, Any]]:
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
    os.nice(NICE)
    give_way(NICE)
    # Libraries print to standard output, which carries the answers here. So their output goes to standard error.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as output:
        os.dup2(2, 1)
        follower = Follower(Path(folder), load_task(task), int(carts), int(most_starter_rows))
        for line in sys.stdin:
            request = Request(**json.loads(line))
            if request.is_last:  # the carts have stopped
                give_way(0)
            for answer in answers(follower, request):
                print(json.dumps(answer), file=output, flush=True)


if __name__ == "__main__":
    main()
