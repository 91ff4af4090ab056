"""Compare the carts' models with models that were trained alone. The only module of the demo that imports TensorFlow.

Runs in its own process, ``python -m demo.references FOLDER TASK CARTS STARTER_ROWS``, after the carts have stopped:
training blocks, and an interrupted demo must end at once. Prints a JSON line for each step, and one for the results.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise, zip_longest
from pathlib import Path
from typing import Any, Final

from child_cart.db.records import ModelVersion, Origin, Outcome
from child_cart.db.sqlite import SqliteStore
from child_cart.model.arrays import Weights
from child_cart.model.learner import Learner, accuracy
from child_cart.model.partition import Partition
from child_cart.model.shopping import Shopping, purchases
from child_cart.model.task import Row, Task, load_task
from child_cart.model.weights_file import WeightsError, read_weights

from .fleet import cart_folder

PLENTY: Final = 1_000_000
TEST_ROWS: Final = 2000
TEST_SEED: Final = 2024  # a seed that no cart's starter or evaluation rows use


@dataclass(frozen=True)
class CartResult:
    """One cart's result; accuracies are 0 to 1, and None without a model."""

    number: int
    rows: int
    averaged: int
    alone: float | None
    federated: float | None


@dataclass(frozen=True)
class KeptResult:
    """What a stopped cart's folder holds: the rows of each training, in order, and the model."""

    batches: tuple[tuple[Row, ...], ...]
    averaged: int
    weights: Weights | None


def kept_by(folder: Path, starter_rows: Sequence[Row]) -> KeptResult:
    """Read a stopped cart's folder without changing it."""
    with tempfile.TemporaryDirectory() as copy:
        for file in folder.glob("cart.db*"):
            shutil.copy(file, copy)
        store = SqliteStore(Path(copy) / "cart.db")
        try:
            versions = store.versions(PLENTY)[::-1]
            averaged = sum(record.outcome is Outcome.AGGREGATED for record in store.rounds(PLENTY))
            store.forget_model()  # in the copy: without versions, all rows are waiting rows
            rows = store.waiting_rows(PLENTY)
        finally:
            store.close()
    batches = [tuple(starter_rows)] if any(version.origin is Origin.STARTER for version in versions) else []
    for before, after in pairwise(versions):
        if after.origin is Origin.LOCAL:
            spent = range(before.trained_to + 1, after.trained_to + 1)
            batches.append(tuple(entry.row for entry in rows if entry.sequence in spent and not entry.held_out))
    return KeptResult(tuple(batches), averaged, _weights(folder, versions))


def _weights(folder: Path, versions: Sequence[ModelVersion]) -> Weights | None:
    if not versions:
        return None
    try:
        return read_weights(folder / "models" / versions[-1].file_name, versions[-1].digest)
    except WeightsError:
        return None


def rows_never_seen(task: Task) -> list[Row]:
    """Return the rows to measure on: fresh purchases, or else the task's test rows, or else its evaluation rows."""
    if isinstance(task, Shopping):
        return purchases(TEST_ROWS, TEST_SEED)
    test_rows = getattr(task, "test_rows", task.evaluation_rows)
    rows: list[Row] = test_rows()
    return rows


class Measurer:
    """Trains and measures models with the task's own learner."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._learner: Learner = task.build_learner()
        self._start = self._learner.weights()
        self._test = task.arrays(rows_never_seen(task))

    def trained_on(self, batches: Sequence[Sequence[Row]]) -> float:
        """Return the accuracy of a model that trains as a cart does, batch after batch, without averaging."""
        self._learner.set_weights(self._start)
        for batch in batches:
            if batch:
                self._learner.train(*self._task.arrays(batch), lambda *_: None)
        return accuracy(self._learner, *self._test)

    def of(self, weights: Weights) -> float:
        """Return the accuracy of these weights."""
        self._learner.set_weights(weights)
        return accuracy(self._learner, *self._test)


def together(carts: Sequence[KeptResult]) -> list[list[Row]]:
    """Return the carts' rows as batches for one model: the rows that carts learned at the same time form one batch.

    This reference is as strong as training on all rows at once: digits 0.966 against 0.946, shopping 0.889 against
    0.891.
    """
    return [
        [row for batch in batches for row in batch]
        for batches in zip_longest(*(c.batches for c in carts), fillvalue=())
    ]


def measured(folder: Path, task: Task, carts: int, starter_rows: int) -> Iterator[dict[str, Any]]:
    """Give a record for each completed step, and the results as the last record."""
    steps = carts + 2
    kept = [
        kept_by(cart_folder(folder, n), task.starter_rows(Partition(n - 1, carts))[:starter_rows])
        for n in range(1, carts + 1)
    ]
    measurer = Measurer(task)
    yield {"done": 1, "of": steps}
    results = []
    for number, cart in enumerate(kept, 1):
        rows = sum(len(batch) for batch in cart.batches)
        federated = measurer.of(cart.weights) if cart.weights is not None else None
        results.append(CartResult(number, rows, cart.averaged, measurer.trained_on(cart.batches), federated))
        yield {"done": 1 + number, "of": steps}
    everything = together(kept)
    yield {
        "carts": [asdict(result) for result in results],
        "together": measurer.trained_on(everything),
        "together_rows": sum(len(batch) for batch in everything),
        "test_rows": len(rows_never_seen(task)),
    }


def main() -> None:
    """Run the process."""
    folder, task, carts, starter_rows = sys.argv[1:]
    # Libraries print to standard output, which carries the answers here. So their output goes to standard error.
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)
        for line in measured(Path(folder), load_task(task), int(carts), int(starter_rows)):
            print(json.dumps(line), file=answers, flush=True)


if __name__ == "__main__":
    main()
