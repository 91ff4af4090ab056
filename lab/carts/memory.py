"""A simulated cart's store and model files, in memory. Models that many carts hold are kept once."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Final

from cart_common.process.json_values import Json
from child_cart.db.records import ModelVersion, RoundRecord, SetAsideRow, StoredRow
from child_cart.db.store import check_follows, is_held_out
from child_cart.model.arrays import Array, StoredArray, TensorSpec, Weights, widened
from child_cart.model.codec import decode
from child_cart.model.personal_layers import shared_part
from child_cart.model.weights_file import NOTHING, WeightsError

HELD_OUT_KEPT: Final = 1000


class MemoryStore:
    """What learning needs of a store (``LearningStore``), without a disk: rows, versions, and the newest round."""

    def __init__(self) -> None:
        # All that have come: eight bytes each, since a row is an object of the run's pool.
        self._rows: list[Json] = []
        self._gone: set[int] = set()
        self._waiting: deque[StoredRow] = deque()
        self._held_out: deque[StoredRow] = deque(maxlen=HELD_OUT_KEPT)
        self._versions: list[ModelVersion] = []
        self._round: RoundRecord | None = None

    def add_rows(self, rows: Sequence[Json]) -> list[Json]:
        """Add rows that wait; return those that are not held out."""
        added = [StoredRow(number, row, is_held_out(number)) for number, row in enumerate(rows, len(self._rows) + 1)]
        self._rows += rows
        self._waiting += added
        return [stored.row for stored in added if not stored.held_out]

    def row_count(self) -> int:
        """Return the number of rows, spent or not."""
        return len(self._rows)

    @property
    def set_aside_numbers(self) -> list[int]:
        """The numbers of the rows that are set aside."""
        return sorted(self._gone)

    def go_on_from(self, versions: Sequence[ModelVersion], rows: Sequence[Json], set_aside: Sequence[int]) -> None:
        """Make these the only versions, and these the rows that had come by then; the newest has spent its own."""
        trained_to = versions[-1].trained_to
        self._rows, self._gone = list(rows), set(set_aside)
        numbered = (
            (number, row, is_held_out(number)) for number, row in enumerate(rows, 1) if number not in self._gone
        )
        # Of the spent rows only those that are held out are asked for as a whole.
        self._waiting += (StoredRow(*one) for one in numbered if one[2] or one[0] > trained_to)
        self._versions = list(versions)
        self._spend(trained_to)

    def waiting_count(self) -> int:
        """Return the number of rows that wait."""
        return len(self._waiting)

    def waiting_rows(self, limit: int) -> list[StoredRow]:
        """Return the oldest waiting rows."""
        return [self._waiting[place] for place in range(min(limit, len(self._waiting)))]

    def held_out_rows(self, limit: int) -> list[StoredRow]:
        """Return the newest held-out rows that are not waiting, newest first."""
        return list(self._held_out)[::-1][:limit]

    def spent_rows(self, numbers: Sequence[int]) -> list[StoredRow]:
        """Return those of the rows with these numbers that are spent, oldest first."""
        version = self.current_version()
        spent_to = version.trained_to if version else 0
        found = sorted(number for number in numbers if 0 < number <= spent_to and number not in self._gone)
        return [StoredRow(number, self._rows[number - 1], is_held_out(number)) for number in found]

    def set_aside(self, rows: Sequence[SetAsideRow]) -> None:
        """Give out rows that spoil a training no more."""
        self._gone |= {row.sequence for row in rows}
        self._waiting = deque(stored for stored in self._waiting if stored.sequence not in self._gone)
        held_out = (stored for stored in self._held_out if stored.sequence not in self._gone)
        self._held_out = deque(held_out, HELD_OUT_KEPT)

    def add_version(self, version: ModelVersion) -> None:
        """Keep a version, and spend its rows."""
        check_follows(version, self.current_version(), self.row_count())
        self._versions.append(version)
        self._spend(version.trained_to)

    def current_version(self) -> ModelVersion | None:
        """Return the newest version."""
        return self._versions[-1] if self._versions else None

    def versions(self, limit: int) -> list[ModelVersion]:
        """Return the newest versions, newest first."""
        return self._versions[::-1][:limit]

    def forget_model(self) -> None:
        """Refuse: no run forgets its models."""
        raise NotImplementedError

    def prune(self, versions: int, rounds: int) -> None:
        """Keep these newest versions."""
        del self._versions[: -max(versions, 1)]

    def save_round(self, record: RoundRecord) -> None:
        """Keep the newest round."""
        self._round = record

    def rounds(self, limit: int) -> list[RoundRecord]:
        """Return the newest round."""
        return [self._round] if self._round else []

    def settings(self) -> dict[str, str]:
        """Return no changes: a run has the settings of its configuration."""
        return {}

    def put_setting(self, name: str, value: str | None) -> None:
        """Refuse: a run has the settings of its configuration."""
        raise NotImplementedError

    def _spend(self, trained_to: int) -> None:
        while self._waiting and self._waiting[0].sequence <= trained_to:
            spent = self._waiting.popleft()
            if spent.held_out:
                self._held_out.append(spent)


class MemoryFiles:
    """``ModelFiles`` in memory. Paths are names; payloads of equal bytes are decoded once.

    Args:
        specs: of the task's model, whose dtypes the arrays of a payload get.
        personal: the places of the arrays that are never sent, with their layers, the same for all models of a run.
    """

    def __init__(self, specs: Sequence[TensorSpec], personal: Mapping[int, str] = NOTHING) -> None:
        self._arrays = [StoredArray(spec, personal.get(place, "")) for place, spec in enumerate(specs)]
        self._sent_specs = shared_part(specs, personal)
        self._weights: dict[Path, dict[str, list[Array]]] = {}
        self._payloads: dict[Path, str] = {}
        self._bytes: dict[str, bytes] = {}
        self._decoded: dict[str, list[Array]] = {}

    def put_payload(self, path: Path, payload: bytes, digest: str) -> None:
        """Let a payload of this digest lie at a path until ``remove_payloads``."""
        self._bytes[digest] = payload
        self._payloads[path] = digest

    def remove_payloads(self) -> None:
        """Forget all payloads: a round of all carts has ended."""
        self._payloads.clear()
        self._bytes.clear()
        self._decoded.clear()

    def make_folder(self, folder: Path) -> None:
        """Make a folder."""
        self._weights.setdefault(folder, {})

    def paths_in(self, folder: Path) -> list[Path]:
        """Return the weights files of a folder."""
        return [folder / name for name in self._weights[folder]]

    def remove(self, path: Path) -> None:
        """Remove a weights file."""
        self._weights[path.parent].pop(path.name, None)

    def size_bytes(self, path: Path) -> int:
        """Return the bytes of the arrays."""
        return sum(array.nbytes for array in self._found(path))

    def arrays(self, path: Path) -> list[StoredArray]:
        """Return what each model of the run is."""
        return self._arrays

    def write(self, path: Path, weights: Weights, personal: Mapping[int, str] = NOTHING) -> str:
        """Keep the arrays, which nobody changes any more; the digest is that of the path."""
        self._weights[path.parent][path.name] = list(weights)
        return _digest(path)

    def read(self, path: Path, digest: str) -> list[Array]:
        """Return the arrays."""
        return self._found(path)

    def check(self, path: Path, digest: str) -> None:
        """Check that the file is there."""
        self._found(path)

    def payload(self, path: Path, most_bytes: int) -> list[Array]:
        """Return the arrays of a payload, in the dtypes of the task's model where they fit."""
        digest = self._payloads[path]
        if digest not in self._decoded:
            self._decoded[digest] = widened(decode(self._bytes[digest], most_bytes), self._sent_specs)
        return self._decoded[digest]

    def _found(self, path: Path) -> list[Array]:
        try:
            return self._weights[path.parent][path.name]
        except KeyError:
            raise WeightsError(f"There is no weights file {path}.") from None


def _digest(path: Path) -> str:
    return blake2b(str(path).encode(), digest_size=16).hexdigest()
