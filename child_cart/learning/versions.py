"""The versions of the cart's model: a record in the store, a weights file beside it, and the encoded current one."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Final

from blake3 import blake3

from cart_common.process.tasks import in_thread

from ..db.records import ModelVersion, Origin
from ..db.store import LearningStore, StoreError
from ..model.arrays import bytes_of
from ..model.metric import Metric
from ..model.model_files import DISK, ModelFiles
from ..model.personal_layers import personal_in, sent_part
from ..model.precision import BITS, Precision, chosen, payload_of
from ..model.trainer import Initial, Stored, Trained
from ..model.weights_file import WeightsError
from ..transfers.outgoing import Offerable
from .backup import back_up

log = logging.getLogger("cart.versions")

MOST_REPAIRED: Final = 10_000
MOST_VERSIONS_OF_A_ROUND: Final = 2
VERSIONS_OF_TWO_ROUNDS: Final = 4
FILES_FOR_MOMENTUM: Final = 3
"""The newest files that the next round needs: what it starts from, and at the end of these the round before's start."""
EVERYTHING: Final = 1_000_000
# More than a weights file has: the pickle, and what lies between the arrays.
ENCODING_SPARE_BYTES: Final = 2 * 1024 * 1024
UNKNOWN_BYTES: Final = 1 << 60


class Versions:
    """All versions of one cart.

    A weights file gets a name that was never used before, and counts only when a record names it. So a trainer that a
    crash has orphaned can finish its file without touching anything that matters.

    Args:
        store: where the records are.
        folder: where the weights files are.
        precision: how precisely weights are given to peers that read it.
        files: reads and writes them.

    Attributes:
        trouble: why the newest version cannot be given to peers, as a sentence; empty if it can.
    """

    def __init__(
        self, store: LearningStore, folder: Path, precision: Precision = Precision.HALF, files: ModelFiles = DISK
    ) -> None:
        self._store = store
        self._precision = precision
        self._folder = folder
        self._files = files
        files.make_folder(folder)
        self.reload()
        self._offerables: dict[tuple[str, Precision], Offerable] = {}
        self._encoding = asyncio.Lock()
        self.trouble = ""

    @property
    def current(self) -> ModelVersion | None:
        """The newest version, or None before the first."""
        return self._current

    @property
    def newest(self) -> ModelVersion:
        """The newest version, where there must be one."""
        assert self._current is not None
        return self._current

    def reload(self) -> None:
        """Read the store again: it may have kept a version whose confirmation was lost with the connection."""
        self._current = self._store.current_version()

    def repair(self) -> str:
        """Replace a damaged newest version by a copy of the newest version whose weights file is whole.

        The rows that only damaged versions were trained on wait again.

        Returns:
            What was done, as a sentence; empty if the newest version is whole.

        Raises:
            StoreError: if there are versions, but no weights file is whole.
        """
        wrong = ""
        for version in self._store.versions(MOST_REPAIRED):
            path = self.path_of(version)
            try:
                self._files.check(path, version.digest)
            except WeightsError as error:
                wrong = wrong or str(error)
                continue
            if not wrong:
                return ""
            waiting = self.newest.trained_to - version.trained_to
            sentence = (
                f"{wrong} Going on from version {version.number}, which is whole; "
                f"{waiting} rows that it was not trained on wait again."
            )
            copy_of = version.number if version.copy_of is None else version.copy_of
            self._add(
                replace(
                    version,
                    number=self._next_number(),
                    copy_of=copy_of,
                    trained_from=version.trained_to,
                    created_at=time.time(),
                )
            )
            return sentence
        if wrong:
            raise StoreError(
                f"{wrong} Nor is the file of any earlier version whole. Restore {self._folder} from a backup, or "
                "forget the model with the command reset: sales and rows are kept, and all rows wait again."
            )
        return ""

    def path_of(self, version: ModelVersion) -> Path:
        """Return the weights file of a version."""
        return self._folder / version.file_name

    def stored(self) -> Stored:
        """Return the weights file of the newest version."""
        return self.stored_of(self.newest)

    def stored_of(self, version: ModelVersion) -> Stored:
        """Return the weights file of a version."""
        return Stored(self.path_of(version), version.digest)

    def last_starts(self) -> tuple[Stored, Stored] | None:
        """Return the models at the start of this round and of the one before; None if that one made no mix.

        The newest version is the one that this round has trained.
        """
        found = self._store.versions(VERSIONS_OF_TWO_ROUNDS)
        if [version.origin for version in found[:3]] != [Origin.LOCAL, Origin.AGGREGATED, Origin.LOCAL]:
            return None
        if len(found) < VERSIONS_OF_TWO_ROUNDS or found[1].round_number != found[2].round_number:
            return None
        return self.stored_of(found[1]), self.stored_of(found[3])

    def most_encoded_bytes(self) -> int:
        """Return the largest size of an encoded model of this signature: its arrays are as large as the own ones."""
        try:
            file_bytes = self._files.size_bytes(self.stored().path) if self._current else UNKNOWN_BYTES
        except OSError:
            return UNKNOWN_BYTES
        return file_bytes + ENCODING_SPARE_BYTES

    def sent_bytes(self) -> int:
        """Return the size of the newest version as it is given to peers; before the first gift an estimate; 0 without.

        The estimate takes all arrays for single precision, as nearly all models have.
        """
        version = self._current
        if version is None:
            return 0
        for (_, precision), offerable in self._offerables.copy().items():
            if precision is self._precision:  # all versions have the same shapes
                return len(offerable.payload)
        try:
            arrays = self._files.arrays(self.path_of(version))
        except OSError:
            return 0
        full_bytes = bytes_of([one.spec for one in arrays if not one.personal_layer])
        return full_bytes * BITS[self._precision] // BITS[Precision.FULL]

    def has_other_personal_layers(self, names: Collection[str]) -> bool:
        """Return whether the newest version keeps other layers to this cart than these."""
        if self._current is None:
            return False
        try:
            stored = self._files.arrays(self.path_of(self._current))
        except OSError:  # a damaged file is found, and named, elsewhere
            return False
        return set(personal_in(stored).values()) != set(names)

    def new_target(self) -> Path:
        """Return where to write the weights of the next version."""
        return self._folder / f"{self._next_number():06d}-{os.urandom(4).hex()}.h5"

    def add_initial(self, task: str, target: Path, initial: Initial) -> None:
        """Add the task's starting weights as version 0, which is not measured."""
        self._add(
            ModelVersion(
                *(0, task, Origin.INITIAL, target.name, initial.digest, initial.signature),
                *(None, 0, 0, 0, time.time()),
                metric=initial.metric,
            )
        )

    def add(
        self,
        origin: Origin,
        target: Path,
        trained: Trained,
        trained_to: int | None = None,
        round_number: int = 0,
    ) -> ModelVersion:
        """Add what the trainer has written as the next version: the commit point.

        Args:
            origin: where the version comes from.
            target: the weights file.
            trained: the trainer's result.
            trained_to: the last row that this version spends; None if it spends none.
            round_number: the round that made it.
        """
        base = self.newest
        spent_to = base.trained_to if trained_to is None else trained_to
        version = ModelVersion(
            number=self._next_number(),
            task=base.task,
            origin=origin,
            file_name=target.name,
            digest=trained.digest,
            signature=base.signature,
            value=trained.value,
            metric=trained.metric,
            samples=base.samples + trained.rows,
            trained_from=base.trained_to,
            trained_to=spent_to,
            created_at=time.time(),
            round_number=round_number,
            summary=trained.summary,
        )
        self._add(version)
        return version

    async def offerable(self, codecs: Collection[str], tell_samples: bool = False) -> Offerable | None:
        """Return the newest version as it is given to a peer; None before the first training, or if it is damaged.

        Args:
            codecs: those that the peer reads.
            tell_samples: whether it says on how many rows the version was trained, in a power of two.
        """
        async with self._encoding:
            version = self._current
            if version is None or version.origin is Origin.INITIAL:
                return None
            key = (version.file_name, chosen(self._precision, codecs))
            if key not in self._offerables:
                try:
                    stored = Stored(self.path_of(version), version.digest)
                    encoded = await in_thread(self._encoded, version, stored, key[1])
                except WeightsError as error:
                    log.error("the current model cannot be given to peers: %s", error)
                    self.trouble = f"The current model cannot be given to peers: {error}"
                    return None
                self.trouble = ""
                of_this = {known: other for known, other in self._offerables.items() if known[0] == key[0]}
                self._offerables = {**of_this, key: encoded}
            samples = told_samples(version.samples) if tell_samples else None
            return replace(self._offerables[key], samples=samples)

    def remove_old(self, files: int, rounds: int) -> None:
        """Keep this many of the newest weights files and of the records of rounds, and remove what is older.

        Files that no record names are removed, too.
        """
        self._store.prune(max(files, MOST_VERSIONS_OF_A_ROUND * rounds), rounds)
        kept = {version.file_name for version in self._store.versions(files)}
        for path in self._files.paths_in(self._folder):
            if path.name not in kept:
                self._files.remove(path)

    def forget(self, backups: Path) -> Path:
        """Remove all versions and rounds, after a backup of them; the next one is the first. Returns the backup."""
        backup = back_up(
            *(backups, self._folder, self._store.versions(EVERYTHING), self._store.rounds(EVERYTHING)), time.time()
        )
        self._store.forget_model()
        self._current = None
        self._offerables = {}
        self.trouble = ""
        self.remove_old(1, 1)
        return backup

    def _next_number(self) -> int:
        return 0 if self._current is None else self._current.number + 1

    def _add(self, version: ModelVersion) -> None:
        self._store.add_version(version)
        self._current = version

    def _encoded(self, version: ModelVersion, stored: Stored, precision: Precision) -> Offerable:
        sent = sent_part(self._files.read(stored.path, stored.digest), self._files.arrays(stored.path))
        payload = payload_of(sent, precision)
        return Offerable(
            payload=payload,
            digest=blake3(payload).hexdigest(),
            codec=precision.codec,
            model_signature=version.signature,
            model_version=version.number,
        )


def told_samples(samples: int) -> int | None:
    """Return the number of rows that peers are told: the largest power of two in it, or None for 0."""
    return 1 << (samples.bit_length() - 1) if samples > 0 else None


def measured_words(version: ModelVersion) -> str:
    """Return what a version was measured at, as words of a sentence: ``accuracy 0.905``."""
    return Metric.of(version.metric).words(version.value)
