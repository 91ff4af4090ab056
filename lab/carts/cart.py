"""A simulated cart: the product's own rounds, sharing and versions, over memory, an in-memory relay and an engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

from cart_common.process.json_values import Json
from child_cart.config import CartSettings, SettingsBook
from child_cart.db.records import ModelVersion, Origin, RoundRecord
from child_cart.learning.activity import Activity, Stage
from child_cart.learning.rounds import Rounds
from child_cart.learning.sharing import Sharing
from child_cart.learning.versions import FILES_FOR_MOMENTUM, Versions
from child_cart.model.arrays import Array, Weights
from child_cart.model.precision import Precision
from child_cart.model.trainer import Initial, Trained, Trainer

from .memory import MemoryFiles, MemoryStore
from .relay import MemoryRelay, RelayLink, RelayPeers


class SimulatedCart:
    """One cart of a run.

    Args:
        number: from 0.
        settings: those of the run.
        files: where all carts' models lie.
        relay: through which it meets others.
        trainer: trains and measures.
    """

    def __init__(
        self,
        number: int,
        settings: CartSettings,
        files: MemoryFiles,
        relay: MemoryRelay,
        trainer: Trainer,
    ) -> None:
        self.number = number
        self.cart_id = blake2b(str(number).encode(), digest_size=16).hexdigest()
        self._files = files
        self._files_kept = FILES_FOR_MOMENTUM if settings.momentum else 1
        self._number_at_start = 0
        self._store = MemoryStore()
        book, activity = SettingsBook(settings, self._store), Activity()
        self._versions = Versions(self._store, Path(f"cart-{number}"), Precision(settings.wire_precision), files)
        self.sharing = Sharing(book, self._versions, RelayLink(relay, self.cart_id))
        peers = RelayPeers(relay, self.cart_id, self.sharing)
        activity.move_to(Stage.SERVING)
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
    def newest_training(self) -> tuple[int, Weights, Weights]:
        """The version that this round's training has made, and the weights before and after it.

        Where nothing was trained, the newest version, and its weights twice.
        """
        newest, *earlier = self._store.versions(3)
        for version, before in zip((newest, *earlier), earlier, strict=False):
            if version.origin is Origin.LOCAL and version.number > self._number_at_start:
                return version.number, self._read(before), self._read(version)
        return newest.number, self.weights, self.weights

    @property
    def set_aside_numbers(self) -> list[int]:
        """The numbers of its rows that are set aside."""
        return self._store.set_aside_numbers

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
        set_aside: Sequence[int],
    ) -> None:
        """Take over the newest version of an earlier part of this run, and what had come by then."""
        # What the round before has trained is not needed any more: only that it has.
        earlier = [
            replace(version, number=version.number - age, origin=Origin.LOCAL, file_name=f"earlier-{age}")
            for age in (2, 1)
        ]
        self._store.go_on_from([*earlier, version] if round_start is not None else [version], rows, set_aside)
        self._files.write(self._versions.path_of(version), weights)
        if round_start is not None:
            self._files.write(self._versions.path_of(earlier[0]), round_start)
        for mark in known:
            self._rounds.known.add(mark)
        self._versions.reload()
        self._number_at_start = version.number
        self.sharing.announce()

    def begin(self, task_name: str, initial: Initial, weights: Sequence[Array]) -> None:
        """Take the task's starting weights, and be ready for rounds as a cart without starter rows is."""
        target = self._versions.new_target()
        digest = self._files.write(target, weights)
        self._versions.add_initial(task_name, target, replace(initial, digest=digest))
        self._versions.add(Origin.STARTER, target, Trained(digest, None, {}, metric=initial.metric))
        self.sharing.take_signature()
        self._number_at_start = self._versions.newest.number

    def take_rows(self, rows: Sequence[Json]) -> list[Json]:
        """Let rows come; return those that are trained on."""
        return self._store.add_rows(rows)

    async def run_round(self) -> RoundRecord:
        """Go through one round with the rows that wait; return its record.

        A cart whose training has failed does not try again before the next round. Then its rows wait still, as in a
        real cart.
        """
        self._rounds.ask_training()
        await self._rounds.run_one()
        return self._store.rounds(1)[0]

    def end_round(self) -> None:
        """Keep what the next round needs: the newest version, for momentum the start of this round, and the rows."""
        self._versions.remove_old(self._files_kept, 0)
        self._number_at_start = self._versions.newest.number

    def _read(self, version: ModelVersion) -> list[Array]:
        return self._files.read(self._versions.path_of(version), version.digest)
