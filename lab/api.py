"""The laboratory in Python, for notebooks and scripts."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from child_cart.model.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from .runs.compare import Group
    from .runs.running import Stop

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """A run that has been carried out.

    Attributes:
        folder: holds configuration, tables, summary and plots.
        summary: the content of ``summary.json``.
    """

    folder: Path
    summary: dict[str, Any]

    @property
    def rounds(self) -> pd.DataFrame:
        """One line a cart and round, as ``rounds.csv`` has them."""
        import pandas as pd  # noqa: PLC0415 - takes a second

        return pd.read_csv(self.folder / "rounds.csv")

    @property
    def curve(self) -> pd.DataFrame:
        """One line a round, as ``curve.csv`` has them."""
        import pandas as pd  # noqa: PLC0415 - takes a second

        return pd.read_csv(self.folder / "curve.csv")


def run(
    out: str | Path | None = None,
    on_round: Callable[[int, float], None] | None = None,
    task: str | Task = "digits",
    **settings: object,
) -> Run:
    """Carry out one experiment; where an event loop runs, as in a notebook, in a thread of its own.

    Args:
        out: folder of the run; None for a new one among the system's temporary files.
        on_round: is called after each round with its number and the mean of what the honest carts were measured at.
        task: a name as in ``--task``, or a task itself, which its configuration then names by its class.
        settings: by the names of the flags of ``lab run``, as ``carts=100``.

    Raises:
        UserError: if a setting is wrong, or the folder cannot be used; the message is for a human.
    """
    from .config import RunConfig  # noqa: PLC0415 - importing lab stays cheap
    from .runs.run_folder import RunFolder  # noqa: PLC0415 - as above
    from .runs.running import Stop, carry_out  # noqa: PLC0415 - as above

    name = task if isinstance(task, str) else f"{type(task).__module__}:{type(task).__qualname__}"
    config = RunConfig.of({"task": name, **settings})
    folder = RunFolder(
        Path(out) if out is not None else Path(tempfile.mkdtemp(prefix=f"lab-{time.strftime('%H%M%S')}-"))
    )
    stop = Stop()
    carried_out = partial(
        carry_out,
        config,
        folder,
        lambda _: None,
        lambda result, point: on_round(result.number, point.federated) if on_round else None,
        stop,
        task=None if isinstance(task, str) else task,
    )
    return Run(folder.path, _beside_a_loop(carried_out, stop))


def compare(*runs: Run | str | Path) -> list[Group]:
    """Return runs in groups: those that differ in their seeds alone are one."""
    from .runs.compare import groups_of  # noqa: PLC0415 - as in run
    from .runs.run_folder import RunFolder  # noqa: PLC0415 - as in run

    return groups_of([RunFolder(one.folder if isinstance(one, Run) else Path(one)) for one in runs])


def _beside_a_loop(work: Callable[[], T], stop: Stop) -> T:
    """Return what the work returns: a run has an event loop, and a thread can have one only."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1, thread_name_prefix="run") as thread:
        try:
            return thread.submit(work).result()
        except KeyboardInterrupt:
            stop.asked = True  # leaving waits for the thread, which ends after its present round
            raise
