"""A simulated cart: the product's own rounds, sharing and versions, over memory, an in-memory relay and an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from cart_common.process.json_values import Json
from child_cart.config import CartSettings, SettingsBook
from child_cart.db.records import ModelVersion, Origin, RoundRecord
from child_cart.learning.activity import Activity
from child_cart.learning.rounds import Rounds
from child_cart.learning.sharing import Sharing
from child_cart.learning.versions import Versions
from child_cart.model.arrays import Array
from child_cart.model.precision import Precision
from child_cart.model.trainer import Initial, Trainer

from .memory import MemoryFiles, MemoryStore
from .relay import MemoryRelay, NoAnnouncements, RelayPeers


class SimulatedCart:
    """One cart of a run.

    Args:
        number: from 0.
        settings: those of the run.
        files: where all carts' models lie.
        relay: through which it meets others.
        trainer: trains and measures.
        on_round_end: gets its number and the record of each round.
    """

    def __init__(
        self,
        number: int,
        settings: CartSettings,
        files: MemoryFiles,
        relay: MemoryRelay,
        trainer: Trainer,
        on_round_end: Callable[[int, RoundRecord], None],
    ) -> None:
        self.number = number
        self.cart_id = blake2b(str(number).encode(), digest_size=16).hexdigest()
        self._files = files
        self._store = MemoryStore(lambda record: on_round_end(number, record))
        book, activity = SettingsBook(settings, self._store), Activity()
        self._versions = Versions(self._store, Path(f"cart-{number}"), Precision(settings.wire_precision), files)
        self.sharing = Sharing(book, self._versions, NoAnnouncements())
        peers = RelayPeers(relay, self.cart_id, self.sharing)
        self._rounds = Rounds(book, self._store, self._versions, trainer, peers, self.sharing, activity)

    @property
    def version(self) -> ModelVersion:
        """The newest version of its model."""
        return self._versions.newest

    @property
    def weights(self) -> list[Array]:
        """The newest weights."""
        stored = self._versions.stored()
        return self._files.read(stored.path, stored.digest)

    @property
    def weights_before(self) -> list[Array]:
        """The weights before the newest ones."""
        before = self._store.versions(2)[-1]
        return self._files.read(self._versions.path_of(before), before.digest)

    @property
    def round_start(self) -> list[Array] | None:
        """The weights at the start of the round that has made the newest version by a mix; None if none has."""
        found = self._store.versions(3)
        if len(found) < 3 or found[0].origin is not Origin.AGGREGATED:
            return None
        return self._files.read(self._versions.path_of(found[2]), found[2].digest)

    @property
    def known(self) -> list[str]:
        """What it remembers of the models that have taken part in its mixes."""
        return list(self._rounds.known)

    def go_on_from(
        self,
        version: ModelVersion,
        weights: Sequence[Array],
        rows: Sequence[Json],
        round_start: Sequence[Array] | None,
        known: Sequence[str],
    ) -> None:
        """Take over the newest version of an earlier part of this run, and what had come by then."""
        # What the round before has trained is not needed any more: only that it has.
        earlier = [
            replace(version, number=version.number - age, origin=Origin.LOCAL, file_name=f"earlier-{age}")
            for age in (2, 1)
        ]
        self._store.go_on_from([*earlier, version] if round_start is not None else [version], rows)
        self._files.write(self._versions.path_of(version), weights)
        if round_start is not None:
            self._files.write(self._versions.path_of(earlier[0]), round_start)
        for mark in known:
            self._rounds.known.add(mark)
        self._versions.reload()

    def begin(self, task_name: str, initial: Initial, weights: Sequence[Array]) -> None:
        """Take the task's starting weights."""
        target = self._versions.new_target()
        digest = self._files.write(target, weights)
        self._versions.add_initial(task_name, target, digest, initial.signature)
        self.sharing.take_signature()

    async def run(self) -> None:
        """Go through rounds as rows come, until cancelled."""
        await self._rounds.run()

    def take_rows(self, rows: Sequence[Json]) -> list[Json]:
        """Let rows come, and begin a round with them; return those that are trained on."""
        trained_on = self._store.add_rows(rows)
        self._rounds.ask_training()
        return trained_on
