"""Choose the engine of a run."""

from __future__ import annotations

from child_cart.model.arrays import Tree
from child_cart.model.task import Task

from ..carts.computing import Engine
from ..config import LabSettings
from .local import local_engine
from .ray_engine import RayEngine


def engine_for(settings: LabSettings, task: Task, sample: tuple[Tree, ...]) -> tuple[Engine, str]:
    """Return the engine, and what it is in words; raises as ``local_engine``.

    Args:
        settings: of the run.
        task: what is learned.
        sample: inputs and targets of a few rows, for the trial.
    """
    if settings.engine == "ray":
        engine = RayEngine(settings.ray_address, task, sample)
        return engine, engine.words
    return local_engine(settings.engine, task, sample)
