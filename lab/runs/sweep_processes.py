"""Carry out runs side by side in processes of this machine, each run as a whole in its own folder."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import Final

from cart_common.process.errors import UserError

from .running import Stop, carry_out
from .sweep import PlannedRun

POLL_S: Final = 0.2

_stopping: Event


class RunProcessError(UserError):
    """A process that carried out a run has ended; the message says how to go on."""


def carry_out_in_processes(runs: Sequence[PlannedRun], jobs: int, stop: Stop) -> Iterator[PlannedRun]:
    """Give each run when it has ended.

    When ``stop`` is asked, each run that goes on ends after its present round.

    Args:
        runs: to carry out; those that have a folder are resumed.
        jobs: most processes at a time, at least 1.
        stop: ends the sweep early.

    Raises:
        RunProcessError: if a process is killed, as by a system that has no more memory.
        Exception: what a run raises.
    """
    context = multiprocessing.get_context("spawn")
    stopping = context.Event()
    with ProcessPoolExecutor(jobs, context, _begin, (stopping,)) as pool:
        running = {pool.submit(_carry_out, run): run for run in runs}
        try:
            while running and not stop.asked:
                for ended in wait(running, POLL_S, FIRST_COMPLETED).done:
                    run = running.pop(ended)
                    _check(ended, run)
                    yield run
        finally:
            stopping.set()
            for future in running:
                future.cancel()


def _check(ended: Future[None], run: PlannedRun) -> None:
    try:
        ended.result()
    except BrokenProcessPool:
        raise RunProcessError(
            f"A process of the sweep has ended in the middle of a run ({run.name} or one beside it): there may be too "
            "little memory for so many --jobs. The same command goes on."
        ) from None


def _begin(stopping: Event) -> None:
    global _stopping  # noqa: PLW0603 - one a process
    _stopping = stopping
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all processes; the first one decides


def _carry_out(run: PlannedRun) -> None:
    stop = Stop()

    def look(*_: object) -> None:
        stop.asked = _stopping.is_set()

    carry_out(run.config, run.folder, lambda _: None, look, stop, resume=run.folder.is_begun)
