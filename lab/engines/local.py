"""The engine of this machine: chosen for the task and tried, so that what it cannot compute shows before a round."""

from __future__ import annotations

import sys

import numpy as np

from cart_common.process.settings import SettingError
from child_cart.model.arrays import Tree
from child_cart.model.task import KerasTask, Task
from child_cart.model.trainer_commands import Predict, Train

from ..carts.computing import Engine
from .one_by_one import OneByOne
from .own_process import OwnProcess
from .vectorised import CannotVectorise, Vectorised


def local_engine(name: str, task: Task, sample: tuple[Tree, ...]) -> tuple[Engine, str]:
    """Return an engine that computes in this process, or in one beside it, and what it is in words.

    Args:
        name: ``vectorised``, ``one-by-one`` or ``auto``.
        task: what is learned.
        sample: inputs and targets of a few rows, for the trial.

    Raises:
        SettingError: if the one that was asked for cannot train this task.
        Exception: what the task raises, if no engine can train it.
    """
    words = "one-by-one"
    if name != "one-by-one":
        try:
            return _vectorised(task, sample), "vectorised"
        except CannotVectorise as error:
            words = f"one-by-one ({error})"
            if name == "vectorised":
                raise SettingError(
                    f"--engine is 'vectorised', but {task.name!r} cannot be trained so: {error}."
                ) from None
    engine = OwnProcess(task) if _runs_on_jax() and isinstance(task, KerasTask) else OneByOne(task)
    try:
        _try(engine, sample)
    except BaseException:
        engine.close()
        raise
    return engine, words


def _vectorised(task: Task, sample: tuple[Tree, ...]) -> Vectorised:
    if not isinstance(task, KerasTask):
        raise CannotVectorise("it is not a KerasTask")
    if not all(isinstance(part, np.ndarray) for part in sample):
        raise CannotVectorise("its rows are several arrays")
    engine = Vectorised(task)
    try:
        _try(engine, sample)
    except Exception as error:  # the model's code is the user's: JAX may not be able to trace it
        engine.close()
        raise CannotVectorise.by(error) from error
    return engine


def _try(engine: Engine, sample: tuple[Tree, ...]) -> None:
    (weights,) = engine.train([Train(engine.start(), *sample)])
    engine.predict([Predict(weights, sample[0])])


def _runs_on_jax() -> bool:
    keras = sys.modules.get("keras")
    return keras is not None and keras.backend.backend() != "tensorflow"
