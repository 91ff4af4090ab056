"""Send models in half and in full precision: compare the bytes on the wire and the final accuracy of a fleet.

Each cart trains on its own rows and averages with all others after each training; there is no network between them.
Each task runs twice from the same weights and in the same order of rows, so that only the precision differs. Prints
the payload's bytes, the mean accuracy of the carts on rows that no cart trained on, and milliseconds of encoding.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.machine import medians_s
from child_cart.model.aggregation import average
from child_cart.model.arrays import Array, Weights
from child_cart.model.codec import decode, encode
from child_cart.model.learner import Learner
from child_cart.model.partition import Partition
from child_cart.model.precision import Precision, as_sent
from child_cart.model.task import Row, Task, load_task
from child_cart.model.task_metrics import ClassAccuracy
from demo.references import rows_never_seen

CARTS = 4
SEEDS = 5
REPEATS = 11


def payload_of(weights: Weights, precision: Precision) -> bytes:
    """Return the payload that a cart sends."""
    return encode(as_sent(weights, precision))


def rounds_of(task: Task, number: int, rounds: int, seed: int) -> list[list[Row]]:
    """Return a cart's rows, shuffled with this seed and divided among its rounds."""
    rows = task.starter_rows(Partition(number, CARTS))
    rows = [rows[place] for place in np.random.default_rng(seed).permutation(len(rows))]
    return [rows[place::rounds] for place in range(rounds)]


def federate(task: Task, learner: Learner, precision: Precision, rounds: int, seed: int) -> float:
    """Return the mean accuracy of the carts after some rounds that start from the learner's weights."""
    models: list[Weights] = [learner.weights()] * CARTS
    rows = [rounds_of(task, number, rounds, seed) for number in range(CARTS)]
    for number_of_round in range(rounds):
        trained = []
        for number, model in enumerate(models):
            learner.set_weights(model)
            learner.train(*task.arrays(rows[number][number_of_round]), lambda *_: None)
            trained.append(learner.weights())
        sent = [decode(payload_of(model, precision)) for model in trained]
        models = [
            average([own, *(model for place, model in enumerate(sent) if place != number)], [1.0] * CARTS)
            for number, own in enumerate(trained)
        ]
    inputs, targets = task.arrays(rows_never_seen(task))
    return statistics.mean(accuracy_of(learner, model, inputs, targets) for model in models)


def accuracy_of(learner: Learner, weights: Weights, inputs: Array, targets: Array) -> float:
    """Return a model's accuracy on these rows."""
    learner.set_weights(weights)
    return ClassAccuracy().value(learner.predict(inputs), targets)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6, help="rounds of each fleet (default: 6)")
    rounds = parser.parse_args().rounds
    print(
        f"{'task':>9} {'precision':>10} {'payload bytes':>14} {'of full':>8} {'encode ms':>10} "
        f"{'accuracy':>9} {'from':>7} {'to':>7}"
    )
    for name in ("shopping", "digits"):
        task = load_task(name)
        full_bytes = 0
        for precision in (Precision.FULL, Precision.HALF):
            found = []
            for seed in range(SEEDS):
                learner = task.build_learner()
                found.append(federate(task, learner, precision, rounds, seed))
            weights = learner.weights()
            size = len(payload_of(weights, precision))
            full_bytes = full_bytes or size
            encoding = medians_s({"encode": partial(payload_of, weights, precision)}, REPEATS)
            print(
                f"{name:>9} {precision:>10} {size:>14,} {size / full_bytes:>8.3f} {1000 * encoding['encode']:>10.2f} "
                f"{statistics.mean(found):>9.4f} {min(found):>7.4f} {max(found):>7.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
