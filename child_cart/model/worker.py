"""The trainer process: reads commands as lines of JSON, answers with lines of JSON for progress and result.

It is the only process of a cart that imports TensorFlow, and the only one that decodes the bytes of peers. Each command
names all that it needs, so killing the process costs that command and no more.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import math
import mmap
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from cart_common.process.json_values import Json

from . import codec
from .aggregation import average
from .arrays import Array, Weights, specs_of, widened
from .csv_rows import read_rows
from .failure_words import failure_sentence
from .learner import EpochCallback, accuracy
from .partition import Partition
from .task import Row, Task, load_task
from .verdict import weights_problem
from .weights_file import WeightsError, read_weights, write_weights

log = logging.getLogger("trainer")

Report = Callable[[Json], None]


class Worker:
    """The commands of the trainer process; each is a method, and its result is JSON.

    Args:
        task: what the model learns.
        partition: this cart's part of the starter rows.
        data: a CSV file of the user's own rows instead of the task's starter rows, or None.
        starter_limit: most starter rows to train on.
    """

    def __init__(self, task: Task, partition: Partition, data: Path | None, starter_limit: int) -> None:
        self._task = task
        self._partition = partition
        self._data = data
        self._starter_limit = starter_limit
        self._learner = task.build_learner()
        self._initial = self._learner.weights()
        self._specs = specs_of(self._initial)
        self._common_rows = task.evaluation_rows()

    def initialise(self, target: str, report: Report) -> Json:
        """Write the starting weights; return their digest and the model's signature and size."""
        return {
            "digest": write_weights(Path(target), self._initial),
            "signature": model_signature(self._task.name, self._initial),
            "parameters": sum(array.size for array in self._initial),
        }

    def train(self, base: Json, rows: list[Row], own_rows: list[Row], target: str, report: Report) -> Json:
        """Train the base model on these rows and write it to the target."""
        self._learner.set_weights(self._base(base))
        if rows:
            inputs, targets = self._task.arrays(rows)
            self._learner.train(inputs, targets, _epochs_to(report))
        return {**self._written(self._learner.weights(), own_rows, target), "rows": len(rows)}

    def start(self, base: Json, own_rows: list[Row], target: str, report: Report) -> Json:
        """Train the base model on the starter rows and write it to the target."""
        rows = read_rows(self._task, self._data) if self._data else self._task.starter_rows(self._partition)
        return self.train(base, rows[: self._starter_limit], own_rows, target, report)

    def score(self, path: str, own_rows: list[Row], report: Report) -> Json:
        """Check a received payload and measure its accuracy."""
        with _Payload(path) as received:
            weights = widened(received.weights, self._specs)
            reason = weights_problem(weights, self._specs)
            if reason is not None:
                return {"reason": str(reason)}
            self._learner.set_weights(weights)
        return {"accuracy": self._accuracy(own_rows)}

    def adopt(self, path: str, own_rows: list[Row], target: str, report: Report) -> Json:
        """Write a received payload, which ``score`` has passed, to the target, in the dtypes of the task's model."""
        with _Payload(path) as received:
            return self._written(widened(received.weights, self._specs), own_rows, target)

    def average(self, base: Json, received: list[Json], own_rows: list[Row], target: str, report: Report) -> Json:
        """Average the base model with received payloads by their shares, and write the result to the target."""
        payloads = [_Payload(entry["path"]) for entry in received]
        try:
            models: list[Weights] = [self._base(base)]
            models += [payload.weights for payload in payloads]
            merged = average(models, [base["share"], *(entry["share"] for entry in received)])
        finally:
            for payload in payloads:
                payload.close()
        return self._written(merged, own_rows, target)

    def export(self, base: Json, kind: str, target: str, report: Report) -> Json:
        """Write the base model to the target as ``keras`` or ``tflite``."""
        self._learner.set_weights(self._base(base))
        self._learner.export(kind, Path(target))
        return {}

    def _base(self, base: Json) -> list[Array]:
        weights = read_weights(Path(base["path"]), base["digest"])
        if specs_of(weights) != self._specs:
            raise WeightsError(
                "The stored model has other shapes than the task's. Reset the model to start with these."
            )
        return weights

    def _written(self, weights: Weights, own_rows: list[Row], target: str) -> Json:
        wrong = weights_problem(weights, self._specs)
        if wrong is not None:  # weights that are not finite would spoil this cart for good, and those that average them
            raise WeightsError(f"The new weights cannot be used ({wrong}): a row may hold an extreme number.")
        self._learner.set_weights(weights)
        return {
            "accuracy": self._accuracy(own_rows),
            "summary": self._task.summary(self._learner.predict),
            "digest": write_weights(Path(target), weights),
        }

    def _accuracy(self, own_rows: list[Row]) -> float:
        rows = [*self._common_rows, *own_rows]
        return accuracy(self._learner, *self._task.arrays(rows)) if rows else 0.0


class _Payload:
    """A received payload, mapped: its arrays are views of the file."""

    def __init__(self, path: str) -> None:
        with open(path, "rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.weights: list[Array] = codec.decode(memoryview(self._mapped))

    def close(self) -> None:
        """Drop the arrays. The mapping ends with the last view of it."""
        self.weights = []

    def __enter__(self) -> _Payload:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def model_signature(task_name: str, weights: Weights) -> str:
    """Return the signature that two models must share to be averaged: 16 bytes of SHA-256, in hexadecimal."""
    shapes = [[spec.dtype, list(spec.shape)] for spec in specs_of(weights)]
    return hashlib.sha256(json.dumps([task_name, shapes]).encode()).hexdigest()[:32]


def _epochs_to(report: Report) -> EpochCallback:
    def tell(epoch: int, epochs: int, loss: float) -> None:
        report({"epoch": epoch, "epochs": epochs, "loss": loss if math.isfinite(loss) else None})

    return tell


def serve(build: Callable[[], Worker], commands: IO[str], answers: IO[str]) -> None:
    """Build the worker, and carry out commands, one a line, until the input ends."""

    def say(answer: Json) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        worker = build()
    except Exception as error:  # the task is the user's, and may raise anything
        log.exception("the task cannot be used")
        say({"error": type(error).__name__, "sentence": failure_sentence(error)})
        return
    say({"ready": True})
    for line in commands:
        command = json.loads(line)
        name, arguments = command["command"], command["arguments"]
        try:
            result = getattr(worker, name)(**arguments, report=lambda progress: say({"progress": progress}))
            say({"result": result})
        except Exception as error:
            log.exception("command %s failed", name)
            say({"error": type(error).__name__, "sentence": failure_sentence(error)})


def _die_with_parent() -> None:
    """Let the kernel kill this process when the cart's process ends for any reason (Linux)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):
        log.debug("this system has no prctl; the process ends when its input does")


def main() -> None:
    """Run the trainer process; its one argument is its setup, as JSON."""
    _die_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    setup = json.loads(sys.argv[1])
    if setup["memory_bytes"]:
        # Not RLIMIT_AS: TensorFlow maps 1.5 GB of addresses, and uses 0.4 GB of memory.
        resource.setrlimit(resource.RLIMIT_DATA, (setup["memory_bytes"], setup["memory_bytes"]))
    # Standard output carries the answers; what libraries print there goes to standard error instead.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    data = Path(setup["data"]) if setup["data"] else None

    def build() -> Worker:
        return Worker(load_task(setup["task"]), Partition(*setup["partition"]), data, setup["starter_rows"])

    serve(build, sys.stdin, answers)


if __name__ == "__main__":
    main()
