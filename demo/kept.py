"""What a cart's folder holds: the rows of each training, and the models. Reads it, while the cart runs or after."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from child_cart.db.records import ModelVersion, Origin, Outcome
from child_cart.db.sqlite import SqliteStore
from child_cart.model.arrays import Weights
from child_cart.model.task import Row
from child_cart.model.weights_file import WeightsError, read_weights

PLENTY: Final = 1_000_000
BUSY_S: Final = 5.0


@dataclass(frozen=True)
class KeptResult:
    """What a cart's folder holds, up to its last round that has ended.

    Attributes:
        batches: the rows of each training, by the round; the starter rows are of round 0.
        averaged: how many rounds ended with an average.
        ended: the number of the last round that has ended; 0 before the first.
        trained_to: the last row of the batches, counted from 1.
        models: the weights after each round whose file is still there.
    """

    batches: Mapping[int, tuple[Row, ...]]
    averaged: int
    ended: int
    trained_to: int
    models: Mapping[int, Weights]

    def weights(self, after: int) -> Weights | None:
        """Return the weights after a round; None if the file is gone. A round without a new model keeps the earlier."""
        reached = [number for number in self.models if number <= after]
        return self.models[max(reached)] if reached else None


def kept_by(folder: Path, starter: Sequence[Row], known_rows: int = 0) -> KeptResult:
    """Read a cart's folder, while it runs or after, without changing it.

    Args:
        folder: the cart's data folder.
        starter: the rows that the cart started from.
        known_rows: number of its first rows to leave out; they are of trainings that are known already.
    """
    with tempfile.TemporaryDirectory() as copy:
        _copy_store(folder / "cart.db", Path(copy) / "cart.db")
        with closing(SqliteStore(Path(copy) / "cart.db")) as store:
            versions = store.versions(PLENTY)[::-1]
            rounds = [record for record in store.rounds(PLENTY) if record.outcome is not None]
            # In the copy: the rows after the newest version are those that wait.
            store.forget_model()
            store.load_versions([replace(version, trained_to=known_rows) for version in versions[-1:]])
            rows = store.waiting_rows(PLENTY)
    ended = max((record.number for record in rounds), default=0)
    versions = [version for version in versions if version.round_number <= ended]
    batches = {}
    for version in versions:
        # Sequence numbers count from 1 without gaps.
        spent = rows[max(0, version.trained_from - known_rows) : max(0, version.trained_to - known_rows)]
        batch = starter if version.origin is Origin.STARTER else [entry.row for entry in spent if not entry.held_out]
        if batch:
            batches[version.round_number] = tuple(batch)
    return KeptResult(
        batches,
        sum(record.outcome is Outcome.AGGREGATED for record in rounds),
        ended,
        versions[-1].trained_to if versions else 0,
        _models(folder, {version.round_number: version for version in versions}),
    )


def _models(folder: Path, last_of_rounds: Mapping[int, ModelVersion]) -> dict[int, Weights]:
    models: dict[int, Weights] = {}
    for number, version in last_of_rounds.items():
        path = folder / "models" / version.file_name
        if path.exists():
            with suppress(WeightsError):  # removed meanwhile
                models[number] = read_weights(path, version.digest)
    return models


def _copy_store(path: Path, target: Path) -> None:
    """Copy the store as it is at one moment, while its cart may be writing."""
    if path.exists():
        address = f"{path.absolute().as_uri()}?mode=ro"
        with (
            closing(sqlite3.connect(address, uri=True, timeout=BUSY_S)) as source,
            closing(sqlite3.connect(target)) as copy,
        ):
            source.backup(copy)
