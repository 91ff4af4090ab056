"""The trainer process: reads commands as lines of JSON, answers with lines of JSON for progress and result.

It is the only process of a cart that imports TensorFlow, and the only one that decodes the bytes of peers. Each command
names all that it needs, so killing the process costs that command and no more.
"""

from __future__ import annotations

import ctypes
import json
import logging
import math
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

from cart_common.process.json_values import Json

from .arrays import Tree, Weights
from .failure_words import OUT_OF_MEMORY, failure_sentence
from .layout import Layout
from .learner import EpochCallback
from .mixing import PredictAll
from .model_description import describe
from .model_files import DISK
from .partition import Partition
from .plain_json import plain_json
from .task import KerasTask, Task, TaskError, load_task
from .task_metrics import TaskMetric, metric_of
from .trainer_commands import Computation, Predict, Steps, Summarise, Train, TrainerCommands
from .trial import TRIED_ROWS, trial_rows, try_task

log = logging.getLogger("trainer")

Report = Callable[[Json], None]


class Worker:
    """Carries out the commands of a trainer with one learner, one command after the other.

    Args:
        task: what the model learns.
        commands: makes the commands of this cart, from the starting weights, the metric, and the layout of the weights.

    Attributes:
        commands: those.
    """

    def __init__(self, task: Task, commands: Callable[[Weights, TaskMetric, Layout], TrainerCommands]) -> None:
        self._task = task
        self._learner = task.build_learner()
        initial = self._learner.weights()
        if not initial:
            raise TaskError(
                f"The model of the task {task.name!r} has no weights before its first training: begin it with "
                "keras.Input, so that every cart starts from the same."
            )
        self.commands = commands(
            initial,
            metric_of(task, getattr(self._learner, "metric", None)),
            getattr(self._learner, "layout", Layout()),
        )
        self._held: Weights | None = None

    def carry_out(self, name: str, arguments: Json, report: Report) -> Json:
        """Carry out the command of this name; return its result."""
        if name == "export":
            return self._export(**arguments)
        steps: Steps[Json] = getattr(self.commands, name)(**arguments)
        try:
            wanted = next(steps)
            while True:
                try:
                    result = self._compute(wanted, report)
                except Exception as error:  # the steps may find out which rows have caused it
                    self._held = None
                    if type(error).__name__ in OUT_OF_MEMORY:
                        raise
                    wanted = steps.throw(error)
                else:
                    wanted = steps.send(result)
        except StopIteration as end:
            return dict(end.value)
        finally:
            steps.close()
            self._held = None

    def _compute(self, wanted: Computation, report: Report) -> object:
        if not isinstance(wanted, PredictAll):
            self._hold(wanted.weights)
        match wanted:
            case Train(inputs=inputs, targets=targets, sample_weights=sample_weights):
                more = {} if sample_weights is None else {"sample_weights": sample_weights}
                self._learner.train(inputs, targets, _epochs_to(report), **more)
                self._held = self._learner.weights()
                return self._held
            case Predict(inputs=inputs):
                return self._learner.predict(inputs)
            case PredictAll(models=models, inputs=inputs):
                return [self._predicted(weights, inputs) for weights in models]
            case Summarise():
                return plain_json(self._task.summary(self._learner.predict))

    def _predicted(self, weights: Weights, inputs: Tree) -> Tree:
        self._hold(weights)
        return self._learner.predict(inputs)

    def _hold(self, weights: Weights) -> None:
        if weights is not self._held:
            self._learner.set_weights(weights)
            self._held = weights

    def _export(self, base: Json, kind: str, target: str) -> Json:
        """Write the base model to the target as ``keras`` or ``tflite``."""
        self._learner.set_weights(self.commands.base(base))
        self._learner.export(kind, Path(target))
        if isinstance(self._task, KerasTask) and self._task.input_fields:
            describe(Path(target), self._task)
        return {}


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
            say({"result": worker.carry_out(name, arguments, lambda progress: say({"progress": progress}))})
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
        task, partition = load_task(setup["task"]), Partition(*setup["partition"])
        worker = Worker(
            task,
            lambda initial, metric, layout: TrainerCommands(
                task, partition, data, setup["starter_rows"], initial, metric, layout, DISK
            ),
        )
        if setup["is_tried"]:
            rows = trial_rows(task, lambda: worker.commands.starter_rows().rows)
            try_task(worker, rows[:TRIED_ROWS])
        return worker

    serve(build, sys.stdin, answers)


if __name__ == "__main__":
    main()
