"""Personal layers where carts name the same things differently: each cart's digits have class numbers of its own code.

Carts can learn together what a picture holds, but not what it is called. Each cart's model is measured on the digits
that no cart trains on, in that cart's code. Compared are the same carts with the whole model shared, with the last
layer personal, and alone; the laboratory runs them. A tenth of the rows is held out, as everywhere in the laboratory.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from child_cart.model.arrays import Weights
from child_cart.model.digits import DIGITS, PIXELS, Digits
from child_cart.model.partition import Partition
from child_cart.model.task import Row
from child_cart.model.trainer_commands import Predict
from lab.config import RunConfig
from lab.runs.experiment import Experiment

ORDER: Final = 11
CODE: Final = 12


class CodedDigits(Digits):
    """Learn to read digits that each cart calls by other numbers.

    Args:
        carts: how many there are.
        personal_layers: of the model, whose layers are ``hidden`` and ``head``.
    """

    name = "coded-digits"

    def __init__(self, carts: int, personal_layers: Sequence[str]) -> None:
        self.carts = carts
        self.personal_layers = personal_layers

    def build_model(self) -> Any:
        """Return the network of the task ``digits``, with names for its layers."""
        import keras  # noqa: PLC0415 - the laboratory chooses the backend first

        layers = [
            keras.layers.Dense(256, activation="relu", name="hidden"),
            keras.layers.Dense(DIGITS, activation="softmax", name="head"),
        ]
        model = keras.Sequential([keras.Input((PIXELS,)), *layers])
        model.compile(optimizer=keras.optimizers.SGD(0.3), loss="sparse_categorical_crossentropy")
        return model

    def starter_rows(self, partition: Partition) -> list[Row]:
        """Return the rows of one cart in its code, or those of all."""
        rows = super().starter_rows(Partition())
        order = np.random.default_rng(ORDER).permutation(len(rows))
        carts = range(self.carts) if partition.count == 1 else [partition.index]
        return [row for cart in carts for row in coded([rows[place] for place in order[cart :: self.carts]], cart)]

    def evaluation_rows(self) -> list[Row]:
        """Return none: no rows mean the same on all carts."""
        return []


def coded(rows: Sequence[Row], cart: int) -> list[Row]:
    """Return rows with the class numbers of a cart, and the cart."""
    code = np.random.default_rng([CODE, cart]).permutation(DIGITS)
    return [{**row, "digit": int(code[row["digit"]]), "cart": cart} for row in rows]


def accuracies(experiment: Experiment, task: CodedDigits, models: Sequence[Weights]) -> list[float]:
    """Return the accuracy of each cart's model on the test rows in its code."""
    found = []
    for cart, weights in enumerate(models):
        inputs, targets = task.arrays(coded(task.test_rows(), experiment.data.rows_of(cart, 1)[0]["cart"]))
        (scores,) = experiment.engine.predict([Predict(weights, inputs)])
        found.append(experiment.engine.metric.value(scores, targets))
    return found


def means(asked: argparse.Namespace, seed: int, personal_layers: Sequence[str]) -> dict[str, float]:
    """Return the mean accuracy of the carts after a run, and of carts that learn alone from the same rows."""
    task = CodedDigits(asked.carts, personal_layers)
    settings = {"carts": asked.carts, "rounds": asked.rounds, "rows": asked.rows, "seed": seed, "partition": "own"}
    config = RunConfig.of({"task": f"{__name__}:CodedDigits", **settings})
    with Experiment(config, task=task) as experiment:
        for _ in experiment.rounds():
            pass
        models = experiment.state().models
        return {kind: float(np.mean(accuracies(experiment, task, models[kind]))) for kind in ("cart", "alone")}


def main() -> None:
    """Print the accuracies of all seeds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--carts", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--rows", type=int, default=10, help="of a cart and round")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    print(f"{'seed':>4} {'all layers shared':>18} {'head personal':>14} {'alone':>7}")
    for seed in range(1, asked.seeds + 1):
        shared, personal = means(asked, seed, ()), means(asked, seed, ("head",))
        print(f"{seed:>4} {shared['cart']:>18.3f} {personal['cart']:>14.3f} {personal['alone']:>7.3f}", flush=True)


if __name__ == "__main__":
    main()
