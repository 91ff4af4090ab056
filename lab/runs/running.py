"""Carry out a run into a folder, from its beginning or from where it was left."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from child_cart.model.task import Task

from ..config import RunConfig
from .experiment import Experiment
from .plots import draw
from .results import CurvePoint, RoundResult, point_of
from .run_folder import RunFolder
from .state import RunState
from .trackers import trackers_of

OnRound = Callable[[RoundResult, CurvePoint], None]
# Saving may take this part of the time.
SAVING_PART: Final = 0.1


class Stop:
    """Whether the user has asked to stop. A run then ends after its present round."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def on_interrupt(self) -> Iterator[None]:
        """Take the first Ctrl-C as the wish to stop after the round; the second one interrupts at once."""

        def ask(*_: object) -> None:
            if self.asked:
                raise KeyboardInterrupt
            self.asked = True

        before = signal.signal(signal.SIGINT, ask)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def carry_out(
    config: RunConfig,
    folder: RunFolder,
    on_start: Callable[[Experiment], None],
    on_round: OnRound,
    stop: Stop,
    resume: bool = False,
    task: Task | None = None,
) -> dict[str, Any]:
    """Run a configuration into a folder; return the summary, which is also written there, with the plots.

    Args:
        config: what to run.
        folder: a new one, or that of a run which was left.
        on_start: is called before the first round.
        on_round: is called after each round.
        stop: ends the run early; it can be resumed.
        resume: whether to go on in the folder.
        task: what is learned; None for the one that the configuration names.

    Raises:
        UserError: if the configuration cannot be run or the folder cannot be used.
    """
    trackers = trackers_of(config.lab)
    state: RunState | None = folder.go_on() if resume else None
    with Experiment(config, state, task) as experiment:
        if not resume:
            folder.create(config, notes_of(experiment), experiment.metric)
        on_start(experiment)
        for tracker in trackers:
            tracker.begin(folder.path, config, experiment.rounds_done)

        def track(result: RoundResult, point: CurvePoint) -> None:
            for tracker in trackers:
                tracker.add(point)
            on_round(result, point)

        _rounds(experiment, folder, track, stop)
        complete = experiment.rounds_done >= config.lab.rounds
        if not complete:
            folder.save(experiment.state())
        points = folder.points()
        summary = summary_of(config, points, experiment, complete)
    if points:
        draw(points, folder.path, _title(config), experiment.metric)
    folder.write_summary(summary)
    for tracker in trackers:
        tracker.end(complete)
    if complete:  # last, so that a kill before that leaves a run that can go on
        folder.forget_state()
    return summary


def _rounds(experiment: Experiment, folder: RunFolder, on_round: OnRound, stop: Stop) -> None:
    saving_s, saved_at = 0.0, time.perf_counter()
    started = time.perf_counter()
    for result in experiment.rounds():
        point = point_of(result, time.perf_counter() - started, experiment.metric)
        folder.add(result, point)
        on_round(result, point)
        started = time.perf_counter()
        if stop.asked:
            return
        if started - saved_at > saving_s / SAVING_PART:
            folder.save(experiment.state())
            saved_at = time.perf_counter()
            saving_s = saved_at - started


def notes_of(experiment: Experiment) -> dict[str, str]:
    """Return what a run's files say of how it is computed, from where it starts, and on which rows."""
    return {
        "engine": experiment.engine_words,
        "starting_weights": experiment.start_digest,
        "rows": experiment.data.words,
    }


def summary_of(config: RunConfig, points: list[CurvePoint], experiment: Experiment, complete: bool) -> dict[str, Any]:
    """Return the results of a run in short; values are of its metric, on the test rows, at the end."""
    last = points[-1] if points else None
    real_s = sum(point.real_s for point in points)
    cart_rounds = config.lab.carts * len(points)
    return {
        "complete": complete,
        "metric": experiment.metric.as_json(),
        "rounds": len(points),
        "federated": {"mean": last.federated, "worst": last.federated_worst} if last else None,
        "alone": {"mean": last.alone, "worst": last.alone_worst} if last else None,
        "all_data": last.all_data if last else None,
        "received_bytes_per_cart_and_round": sum(p.received_bytes for p in points) / len(points) if points else 0,
        "dropped": sum(point.dropped for point in points),
        "virtual_s": sum(point.virtual_s for point in points),
        "real_s": round(real_s, 3),
        "cart_rounds_per_s": round(cart_rounds / real_s, 1) if real_s else 0,
        **notes_of(experiment),
        "config": config.values(),
    }


def _title(config: RunConfig) -> str:
    lab = config.lab
    hostile = f", hostile {lab.hostile}" if lab.hostile else ""
    learning = f"mixed by {config.values()['aggregator']}" if lab.method == "carts" else lab.method
    return f"{lab.task}, {lab.carts:,} carts, partition {lab.partition}, {lab.topology}, {learning}{hostile}"
