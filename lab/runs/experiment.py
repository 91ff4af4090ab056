"""Run a configuration: give carts rows round by round, and measure what they have learned beside the bounds."""

from __future__ import annotations

import copy
import gc
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import numpy as np

from cart_common.process.settings import SettingError
from child_cart.model.arrays import Weights, specs_of
from child_cart.model.codec import encode
from child_cart.model.task import Row, Task, load_task

from ..carts.fleet import SimulatedFleet, try_attacks
from ..carts.method import AWAY, Method, MethodRound
from ..conditions.attacks import Absent, hostile_of
from ..conditions.data import data_of
from ..conditions.topology import topology_of
from ..config import RunConfig
from ..engines.choice import engine_for
from ..engines.quiet import quiet
from .baselines import BASELINES
from .references import References, test_values
from .results import CartRound, RoundResult
from .state import RunState
from .task_errors import told_as_sentences

ABSENCE: Final = 501
# A run makes millions of short-lived objects, and few that form circles.
GARBAGE_THRESHOLD: Final = 200_000


class Experiment:
    """One run.

    Args:
        config: what to run.
        state: where to go on; None for the beginning.
        task: what is learned; None for the one that the configuration names.

    Attributes:
        data: the rows of the run.
        engine: computes.
        engine_words: what it is, as a person reads it.
        start_digest: of the starting weights; the same for runs that start from the same model.
        metric: what is measured.
        rounds_done: rounds that have ended.

    Raises:
        SettingError, TaskError, CsvError: if the configuration cannot be run.
    """

    def __init__(self, config: RunConfig, state: RunState | None = None, task: Task | None = None) -> None:
        with told_as_sentences(), ExitStack() as opened:
            self._build(config, state, task, opened)
            self._opened = opened.pop_all()

    def _build(self, config: RunConfig, state: RunState | None, task: Task | None, opened: ExitStack) -> None:
        lab = config.lab
        self.config = config
        self._task = with_seed(task or load_task(lab.task), lab.seed)
        topology = topology_of(lab.topology, lab.carts, lab.seed)
        self._attacks = hostile_of(lab.hostile, lab.carts, lab.seed)
        self.data = data_of(lab, self._task)
        with quiet():
            self.engine, self.engine_words = engine_for(lab, self._task, self.data.sample(lab.rows))
        opened.callback(self.engine.close)
        self.metric = self.engine.metric.metric
        start = self.engine.start()
        self.start_digest = hashlib.sha256(encode(start)).hexdigest()[:16]
        try_attacks(self._attacks, self._task, start, self.data.pool.rows)
        self._method: Method
        if lab.method == "carts":
            start_s = state.virtual_s if state else 0.0
            self._method = SimulatedFleet(config, self._task, self.engine, topology, self._attacks, start_s)
        else:
            self._method = BASELINES[lab.method](config, self._task, self.engine, topology)
        opened.callback(self._method.close)
        honest = sorted(set(range(lab.carts)) - set(self._attacks))
        self._references = References(self.engine, self.data, start, honest)
        self.rounds_done = 0
        if state is not None:
            self._go_on_from(state, start)
        opened.callback(gc.set_threshold, *gc.get_threshold())
        gc.set_threshold(GARBAGE_THRESHOLD)

    def __enter__(self) -> Experiment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def rounds(self) -> Iterator[RoundResult]:
        """Run the rounds that are left, one with each step."""
        while self.rounds_done < self.config.lab.rounds:
            number = self.rounds_done + 1
            with told_as_sentences():
                ended = self._method.run_round(number, self._rows_of(number))
                self._references.learn(ended.trained_on)
                result = self._result(number, ended)
            self.rounds_done = number
            yield result

    def state(self) -> RunState:
        """Return where the run is, between two rounds."""
        models = {"cart": self._method.weights(), **self._references.models(), **self._method.remembered()}
        method = self._method
        return RunState(
            self.rounds_done, method.virtual_s(), method.versions(), models, method.known(), method.set_aside()
        )

    def close(self) -> None:
        """End all carts, and the engine."""
        self._opened.close()

    def _go_on_from(self, state: RunState, start: Weights) -> None:
        lab = self.config.lab
        honest = lab.carts - len(self._attacks)
        if not state.fits(lab.carts, specs_of(start)) or len(state.models.get("alone", ())) != honest:
            raise SettingError("The run cannot go on: its state is of another configuration or another model.")
        came: dict[int, list[Row]] = {}
        for number in range(1, state.rounds_done + 1):
            for cart, rows in self._rows_of(number).items():
                came.setdefault(cart, []).extend(rows)
        self._method.go_on_from(state.versions, state.models, came, state.known, state.set_aside)
        self._references.go_on_from(state.models)
        self.rounds_done = state.rounds_done

    def _rows_of(self, round_number: int) -> dict[int, list[Row]]:
        """Return the rows that each cart gets which is there in a round."""
        lab = self.config.lab
        draws = np.random.default_rng([lab.seed, ABSENCE, round_number])
        away = set(draws.permutation(lab.carts)[: min(round(lab.churn * lab.carts), lab.carts - 2)].tolist())
        rows = {}
        for cart in range(lab.carts):
            attack = self._attacks.get(cart)
            if cart not in away and not isinstance(attack, Absent):
                given = self.data.rows_of(cart, round_number)
                rows[cart] = list(attack.rows(given, self._task)) if attack else given
        return rows

    def _result(self, number: int, ended: MethodRound) -> RoundResult:
        alone, measured = self._references.alone(), test_values(self.engine, self.data, self._method.weights())
        carts = []
        for cart, value in enumerate(measured):
            end = ended.ends.get(cart, AWAY)
            carts.append(
                CartRound(
                    round=number,
                    cart=cart,
                    hostile=cart in self._attacks,
                    test_value=value,
                    alone_value=alone.get(cart),
                    **vars(end),
                )
            )
        return RoundResult(number, ended.virtual_s, carts, self._references.all_data())


def with_seed(task: Task, seed: int) -> Task:
    """Return a copy of the task with other starting weights and orders; for seed 0 the task as it is."""
    if not seed or not hasattr(task, "seed"):
        return task
    seeded = copy.copy(task)  # the object is the user's, who may run it again
    # Libraries take seeds below 2**32.
    seeded.seed = int(np.random.SeedSequence([seeded.seed, seed]).generate_state(1)[0])
    return seeded
