"""Runs of the laboratory over some seeds, and what comes out of them in short."""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from child_cart.db.records import Outcome
from child_cart.model.digits import Digits
from child_cart.model.task import Row
from lab.config import RunConfig
from lab.runs.experiment import Experiment
from lab.runs.results import CartRound


class DigitsWithoutCommonRows(Digits):
    """Digits for carts that have no rows in common to measure models on."""

    def evaluation_rows(self) -> list[Row]:
        """Return no rows."""
        return []


Settings = Mapping[str, object]


@dataclass(frozen=True)
class Figures:
    """The end of a run, or of some in the mean.

    Attributes:
        mean: accuracy of the honest carts on the test rows.
        worst: that of the worst honest cart.
        received_kb: what a cart receives in a round.
        kept_own: rounds of honest carts that ended with their own model.
        worse: averages that were kept though they are worse on the common evaluation rows than the model before.
    """

    mean: float
    worst: float
    received_kb: float
    kept_own: float
    worse: float


def figures_of(settings: Settings) -> Figures:
    """Carry out one run in this process."""
    with Experiment(RunConfig.of(settings)) as experiment:
        rounds = [result.carts for result in experiment.rounds()]
    honest = [cart for carts in rounds for cart in carts if not cart.hostile]
    last = [cart.test_value for cart in rounds[-1] if not cart.hostile]
    return Figures(
        fmean(last),
        min(last),
        fmean(cart.received_bytes for cart in honest) / 1000,
        sum(cart.outcome == Outcome.KEPT_OWN for cart in honest),
        sum(map(_is_worse, honest)),
    )


def over_seeds(runs: Sequence[Settings], seeds: int) -> Iterator[Figures]:
    """Carry out each run with seeds from 0 on, two at a time; give the means over the seeds, run by run."""
    wanted = [{**settings, "seed": seed} for settings in runs for seed in range(seeds)]
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as processes:
        found = processes.map(figures_of, wanted)
        for _ in runs:
            part = [vars(next(found)).values() for _ in range(seeds)]
            yield Figures(*(fmean(values) for values in zip(*part, strict=True)))


def _is_worse(cart: CartRound) -> bool:
    if cart.outcome != Outcome.AGGREGATED or cart.local_value is None or cart.new_value is None:
        return False
    return cart.new_value < cart.local_value
