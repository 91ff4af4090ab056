"""Methods of the literature, on equal work: the same rows, the same local trainings, the same precision on the wire.

They are synchronous, trust every model, and know no loss, delay or hostile cart.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from cart_common.process.settings import SettingError
from child_cart.db.records import ModelVersion, Outcome
from child_cart.model.aggregation import average
from child_cart.model.arrays import Weights, bytes_of, specs_of, widened
from child_cart.model.codec import decode
from child_cart.model.personal_layers import completed, shared_part
from child_cart.model.precision import Precision, payload_of
from child_cart.model.task import Row, Task
from child_cart.model.trainer_commands import Train

from ..carts.computing import Engine
from ..carts.method import CartEnd, MethodRound
from ..conditions.data import trained_rows
from ..conditions.topology import Topology
from ..config import CART, RunConfig

SENDING: Final = 801
UNKNOWN: Final = tuple(entry.name for entry in CART if entry.name != "wire_precision")
"""The settings of a cart that no baseline has: each has shares of its own, and takes every model at once."""


class Baseline(ABC):
    """A synchronous method: all carts train, then models are mixed.

    Args:
        config: of the run.
        task: what is learned.
        engine: computes.
        topology: says who meets whom.

    Raises:
        SettingError: if the configuration asks for what a baseline does not know.
    """

    def __init__(self, config: RunConfig, task: Task, engine: Engine, topology: Topology) -> None:
        lab = config.lab
        if lab.hostile or lab.loss or lab.delay:
            raise SettingError(
                f"--method is {lab.method!r}, which knows no --hostile, --loss or --delay: only 'carts' does."
            )
        values, defaults = config.values(), RunConfig().values()
        changed = [name for name in UNKNOWN if values[name] != defaults[name]]
        if changed:
            flags = ", ".join(f"--{name.replace('_', '-')}" for name in changed)
            raise SettingError(f"--method is {lab.method!r}, which would ignore {flags}: leave it out, or use 'carts'.")
        self._task = task
        self._engine = engine
        self._seed = lab.seed
        self._precision = Precision(config.cart_settings(1).wire_precision)
        self._models: list[Weights] = [engine.start()] * lab.carts
        self._row_counts = [0] * lab.carts
        self.topology = topology

    def run_round(self, number: int, rows: Mapping[int, Sequence[Row]]) -> MethodRound:
        """Train all carts that are there, then mix."""
        there = list(rows)
        trained_on = {cart: self._not_held_out(cart, rows[cart]) for cart in there}
        wanted = [Train(self._models[cart], *self._task.arrays(trained_on[cart])) for cart in there]
        trained = dict(zip(there, self._engine.train(wanted), strict=True))
        sent = {cart: self._as_received(weights) for cart, weights in trained.items()}
        mixed = self.mixed(trained, sent, {cart: len(given) for cart, given in trained_on.items()}, number)
        personal = self._engine.layout.personal
        payload_bytes = len(payload_of(shared_part(self._models[0], personal), self._precision))
        for cart, (weights, _) in mixed.items():
            own = trained.get(cart, self._models[cart])
            self._models[cart] = completed(shared_part(weights, personal), own, personal)
        ends = {
            cart: CartEnd(
                outcome=str(Outcome.AGGREGATED),
                rows=len(trained_on[cart]),
                asked=mixed[cart][1],
                accepted=mixed[cart][1],
                received_bytes=payload_bytes * mixed[cart][1],
            )
            for cart in there
        }
        return MethodRound(0.0, trained_on, ends)

    @abstractmethod
    def mixed(
        self, trained: Mapping[int, Weights], sent: Mapping[int, Weights], rows: Mapping[int, int], number: int
    ) -> dict[int, tuple[Weights, int]]:
        """Return each cart's mixed model, and how many models it has received for that.

        Those that were there have one; others keep theirs, unless they have one here too.

        Args:
            trained: each cart's own model.
            sent: the same as others receive it.
            rows: how many each has trained on.
            number: of the round.
        """

    def weights(self) -> list[Weights]:
        """Return each cart's newest weights."""
        return list(self._models)

    def virtual_s(self) -> float:
        """Return 0: no time passes."""
        return 0.0

    def versions(self) -> list[ModelVersion]:
        """Return nothing: no records are kept."""
        return []

    def set_aside(self) -> list[list[int]]:
        """Return nothing."""
        return []

    def known(self) -> list[list[str]]:
        """Return nothing."""
        return []

    def remembered(self) -> dict[str, list[Weights]]:
        """Return nothing."""
        return {}

    def go_on_from(
        self,
        versions: Sequence[ModelVersion],
        models: Mapping[str, Sequence[Weights]],
        came: Mapping[int, Sequence[Row]],
        known: Sequence[Sequence[str]],
        set_aside: Sequence[Sequence[int]],
    ) -> None:
        """Take over the models of an earlier part of this run."""
        self._models = list(models["cart"])
        self._row_counts = [len(came.get(cart, ())) for cart in range(len(self._models))]

    def close(self) -> None:
        """Let go of the models."""
        self._models.clear()

    def _not_held_out(self, cart: int, rows: Sequence[Row]) -> list[Row]:
        first = self._row_counts[cart] + 1
        self._row_counts[cart] += len(rows)
        return trained_rows(rows, first)

    def _as_received(self, weights: Weights) -> Weights:
        specs = specs_of(weights)
        return widened(decode(payload_of(weights, self._precision), bytes_of(specs)), specs)


class FederatedAveraging(Baseline):
    """FedAvg: a server averages all models, weighted by rows, and gives the result to all (McMahan et al., 2017).

    All carts of a round start from the server's model. So it is that of the carts that were away, too: they fetch it
    when they come back.
    """

    def mixed(
        self, trained: Mapping[int, Weights], sent: Mapping[int, Weights], rows: Mapping[int, int], number: int
    ) -> dict[int, tuple[Weights, int]]:
        """Return one average for all carts, as they receive it; each receives that one model."""
        merged = self._as_received(average(list(sent.values()), [float(rows[cart]) for cart in sent]))
        return dict.fromkeys(range(len(self._models)), (merged, 1))


class Gossip(Baseline):
    """Each cart averages its own model with those that it gets, all with the same share."""

    def mixed(
        self, trained: Mapping[int, Weights], sent: Mapping[int, Weights], rows: Mapping[int, int], number: int
    ) -> dict[int, tuple[Weights, int]]:
        """Return the averages."""
        sources = self.sources(list(trained), number)
        return {
            cart: (average([own, *(sent[other] for other in given)], [1.0] * (len(given) + 1)), len(given))
            for (cart, own), given in zip(trained.items(), sources.values(), strict=True)
        }

    @abstractmethod
    def sources(self, there: Sequence[int], number: int) -> Mapping[int, Sequence[int]]:
        """Return whose models each cart gets in a round."""


class DecentralisedSgd(Gossip):
    """D-PSGD: average with fixed neighbours after each local training (after Lian et al., 2017).

    Lian et al. average the models from before the step, and add the step to that; here the trained models are averaged.
    All shares of an average are equal. On a ring, whose carts have as many neighbours each, they form a doubly
    stochastic matrix while all carts are there; with carts away they do not, and the mean of all models may move.

    Args:
        config, task, engine, topology: as of any baseline.

    Raises:
        SettingError: if the topology has no fixed neighbours, too.
    """

    def __init__(self, config: RunConfig, task: Task, engine: Engine, topology: Topology) -> None:
        super().__init__(config, task, engine, topology)
        if topology.peers(0, 1) is None:
            raise SettingError("--method is 'dpsgd', which needs a --topology with fixed neighbours, such as ring.")

    def sources(self, there: Sequence[int], number: int) -> Mapping[int, Sequence[int]]:
        """Return the neighbours of the topology that are there."""
        present = frozenset(there)
        return {cart: [peer for peer in self.topology.peers(cart, number) or () if peer in present] for cart in there}


class EpidemicLearning(Gossip):
    """Epidemic Learning: each cart sends its model to some carts at random (EL-Local; de Vos et al., NeurIPS 2023)."""

    def sources(self, there: Sequence[int], number: int) -> Mapping[int, Sequence[int]]:
        """Return the carts that have sent to each."""
        draws = np.random.default_rng([self._seed, SENDING, number])
        found: dict[int, list[int]] = {cart: [] for cart in there}
        for place, sender in enumerate(there):
            # Drawn among all but the sender: those behind it are one place further on.
            for drawn in draws.choice(len(there) - 1, min(self.topology.size, len(there) - 1), replace=False).tolist():
                found[there[drawn + (drawn >= place)]].append(sender)
        return found


BASELINES: Final[dict[str, type[Baseline]]] = {
    "fedavg": FederatedAveraging,
    "dpsgd": DecentralisedSgd,
    "epidemic": EpidemicLearning,
}
