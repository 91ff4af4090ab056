"""The method ``carts``: simulated carts that run the product's own rounds on one loop with a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from cart_common.process.settings import SettingError
from child_cart.db.records import ModelVersion, RoundRecord
from child_cart.model.arrays import Weights, specs_of
from child_cart.model.partition import Partition
from child_cart.model.precision import Precision
from child_cart.model.task import Row, Task
from child_cart.model.trainer import Initial
from child_cart.model.trainer_commands import TrainerCommands, model_signature
from child_cart.model.verdict import VerdictReason
from child_cart.transfers.outgoing import Give

from ..conditions.attacks import Attack, Sight, Stale
from ..conditions.topology import Topology
from ..config import RunConfig
from .cart import SimulatedCart
from .computing import Computing, Engine
from .hostile import HostileCommands, HostileGiver
from .memory import MemoryFiles
from .method import CartEnd, MethodRound
from .relay import MemoryRelay
from .trainer import LabTrainer
from .virtual_loop import VirtualLoop

BEGINNING: Final = 801


class SimulatedFleet:
    """All carts of a run.

    Args:
        config: of the run.
        task: what is learned.
        engine: computes.
        topology: says who meets whom.
        attacks: of the hostile carts, by number.
        start_s: the virtual time at the start.
    """

    def __init__(
        self,
        config: RunConfig,
        task: Task,
        engine: Engine,
        topology: Topology,
        attacks: Mapping[int, Attack],
        start_s: float,
    ) -> None:
        lab = config.lab
        self._task = task
        self._attacks = attacks
        self._seed = lab.seed
        self._metric, self._layout = engine.metric, engine.layout
        self._has_momentum = config.cart_settings(1).momentum > 0
        self._computing = Computing(engine)
        start = engine.start()
        self._files = MemoryFiles(specs_of(start), self._layout.personal)
        self._relay = MemoryRelay(topology, self._files, lab.seed, lab.loss, lab.delay)
        self._givers: list[HostileGiver] = []
        self._carts = self._built(config, topology.size, start)
        self._loop = VirtualLoop(self._computing.flush, start_s)

    def run_round(self, number: int, rows: Mapping[int, Sequence[Row]]) -> MethodRound:
        """Let a round pass in which these carts are there and get these rows."""
        return self._loop.run_until_complete(self._round(number, rows))

    def weights(self) -> list[Weights]:
        """Return each cart's newest weights."""
        return [cart.weights for cart in self._carts]

    def virtual_s(self) -> float:
        """Return the virtual time."""
        return self._loop.time()

    def versions(self) -> list[ModelVersion]:
        """Return the record of each cart's newest version."""
        return [cart.version for cart in self._carts]

    def known(self) -> list[list[str]]:
        """Return what each cart remembers of models that it has mixed."""
        return [cart.known for cart in self._carts]

    def set_aside(self) -> list[list[int]]:
        """Return the numbers of each cart's rows that are set aside."""
        return [cart.set_aside_numbers for cart in self._carts]

    def remembered(self) -> dict[str, list[Weights]]:
        """Return what attacks keep from one round to the next, and what momentum needs of the last round."""
        stale = self._stale_attacks()
        models = {f"stale-{cart}": [attack.first] for cart, attack in stale.items() if attack.first is not None}
        if self._has_momentum:
            starts = {cart.number: cart.round_start for cart in self._carts}
            models |= {f"start-{number}": [start] for number, start in starts.items() if start is not None}
        return models

    def go_on_from(
        self,
        versions: Sequence[ModelVersion],
        models: Mapping[str, Sequence[Weights]],
        came: Mapping[int, Sequence[Row]],
        known: Sequence[Sequence[str]],
        set_aside: Sequence[Sequence[int]],
    ) -> None:
        """Take over the models of an earlier part of this run, and what had come by then."""
        for cart, version, weights in zip(self._carts, versions, models["cart"], strict=True):
            (start,) = models.get(f"start-{cart.number}", (None,))
            marks, numbers = known[cart.number], set_aside[cart.number]
            cart.go_on_from(version, weights, came.get(cart.number, ()), start, marks, numbers)
        for number, attack in self._stale_attacks().items():
            (attack.first,) = models.get(f"stale-{number}", (None,))

    def close(self) -> None:
        """End all carts."""
        self._loop.run_until_complete(_cancelled(asyncio.all_tasks(self._loop)))  # of a round that was interrupted
        self._loop.close()

    def _built(self, config: RunConfig, cluster_size: int, start: Weights) -> list[SimulatedCart]:
        settings = config.cart_settings(cluster_size)
        most = min(cluster_size, config.lab.carts - 1)
        if settings.min_peers > most:
            raise SettingError(
                f"--min-peers is {settings.min_peers}, but with --topology {config.lab.topology} each of "
                f"{config.lab.carts:,} carts asks {most}: a round could never have enough peers."
            )
        given = (self._task, Partition(), None, 0, start, self._metric, self._layout, self._files)
        honest = LabTrainer(TrainerCommands(*given), self._computing)
        hostile = LabTrainer(HostileCommands(*given), self._computing)
        carts = [
            SimulatedCart(
                number,
                settings,
                self._files,
                self._relay,
                hostile if number in self._attacks else honest,
            )
            for number in range(config.lab.carts)
        ]
        signature = model_signature(self._task.name, start, self._layout)
        initial = Initial("", signature, 0, self._metric.metric.as_json())
        for cart in carts:
            cart.begin(self._task.name, initial, start)
            give: Give = cart.sharing.offer
            if cart.number in self._attacks:
                attack, precision = self._attacks[cart.number], Precision(settings.wire_precision)
                giver = HostileGiver(cart, attack, self._honest_weights, precision, self._seed, self._layout.personal)
                self._givers.append(giver)
                give = giver.offer
            self._relay.attach(cart.cart_id, give)
        return carts

    def _honest_weights(self) -> Iterable[Weights]:
        return (cart.weights for cart in self._carts if cart.number not in self._attacks)

    def _stale_attacks(self) -> dict[int, Stale]:
        return {cart: attack for cart, attack in self._attacks.items() if isinstance(attack, Stale)}

    async def _round(self, number: int, rows: Mapping[int, Sequence[Row]]) -> MethodRound:
        loop = asyncio.get_running_loop()
        random.seed(f"{self._seed}/{number}")  # of the carts' delays before they ask again
        started_s = loop.time()
        self._relay.begin_round(number, list(rows))
        trained_on = {cart: self._carts[cart].take_rows(given) for cart, given in rows.items()}
        # Trainings take no time here, so the order in which carts begin is that in which they ask for peers.
        order = np.random.default_rng([self._seed, BEGINNING, number]).permutation(list(rows)).tolist()
        running = {cart: loop.create_task(self._carts[cart].run_round()) for cart in order}
        try:
            await asyncio.gather(*running.values())
        finally:
            await _cancelled(running.values())  # those that are left when one has met an error
        took_s = loop.time() - started_s
        ends = {cart: _end_of(running[cart].result()) for cart in rows}
        self._end_round()
        return MethodRound(took_s, trained_on, ends)

    def _end_round(self) -> None:
        """Bring everything to the state in which a resumed run begins the next round."""
        self._relay.end_round()
        for giver in self._givers:
            giver.end_round()
        for cart in self._carts:
            cart.end_round()


def try_attacks(attacks: Mapping[int, Attack], task: Task, start: Weights, rows: Sequence[Row]) -> None:
    """Raise ``SettingError`` now if an attack does not suit the task, rather than in the middle of a round."""
    for attack in list(attacks.values())[:1]:
        attack.for_cart().weights(start, Sight(start, [], np.random.default_rng(0)))
        attack.rows(rows[:1], task)


async def _cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel what still runs of these tasks, and wait for its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _end_of(record: RoundRecord) -> CartEnd:
    reasons = [verdict.reason for verdict in record.verdicts]
    return CartEnd(
        outcome=str(record.outcome),
        rows=record.rows,
        local_value=record.local_value,
        new_value=record.new_value,
        asked=len(reasons),
        accepted=reasons.count(VerdictReason.ACCEPTED),
        dropped={str(reason): reasons.count(reason) for reason in reasons if reason != VerdictReason.ACCEPTED},
        received_bytes=sum(verdict.payload_bytes or 0 for verdict in record.verdicts),
    )
