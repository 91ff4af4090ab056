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
from child_cart.learning.versions import Versions
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
            if version.origin is Origin.LOCAL:
                return version.number, self._read(before), self._read(version)
        return newest.number, self.weights, self.weights

    @property
    def has_held_out_rows(self) -> bool:
        """Whether it has rows of its own on which it measures models."""
        return bool(self._store.held_out_rows(1))

    @property
    def set_aside_numbers(self) -> list[int]:
        """The numbers of its rows that are set aside."""
        return self._store.set_aside_numbers

    def go_on_from(
        self, version: ModelVersion, weights: Sequence[Array], rows: Sequence[Json], set_aside: Sequence[int]
    ) -> None:
        """Take over the newest version of an earlier part of this run, and the rows that had come by then."""
        self._store.go_on_from(version, rows, set_aside)
        self._files.write(self._versions.path_of(version), weights)
        self._versions.reload()
        self.sharing.announce()

    def begin(self, task_name: str, initial: Initial, weights: Sequence[Array]) -> None:
        """Take the task's starting weights, and be ready for rounds as a cart without starter rows is."""
        target = self._versions.new_target()
        digest = self._files.write(target, weights)
        self._versions.add_initial(task_name, target, replace(initial, digest=digest))
        self._versions.add(Origin.STARTER, target, Trained(digest, None, {}, metric=initial.metric))
        self.sharing.take_signature()

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
        """Keep what a run that is resumed has of a cart: its newest version, and its rows."""
        self._versions.remove_old(1, 0)

    def _read(self, version: ModelVersion) -> list[Array]:
        return self._files.read(self._versions.path_of(version), version.digest)
