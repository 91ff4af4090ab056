"""What the operator's pages read beside the status, and ask of the cart. Every method may be called from any thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cart_common.process.json_values import Json

from ..db.records import ModelVersion, RoundRecord
from ..db.store import Store
from ..learning.exports import ExportKind, Exports
from . import rounds_csv
from .log_buffer import LogBuffer, LogLine

MOST_ROUNDS: Final = 10_000
FIGURES_OVER: Final = 500


@dataclass(frozen=True)
class CartRequests:
    """What the pages ask of the running cart. Each call returns at once, from any thread."""

    rows_added: Callable[[], None]
    """Look at the waiting rows again."""
    training: Callable[[], None]
    """Begin a round now."""
    reset: Callable[[], None]
    """Forget the model and start again."""
    export: Callable[[ExportKind], None]
    """Make a file of the current model."""


class OperatorService:
    """Rounds, versions, log and files of the model, and the requests that only an operator may make.

    Args:
        task_name: names the files.
        store: holds rounds and versions.
        log: the last lines of the log.
        exports: files of the current model.
        requests: what can be asked of the running cart.
    """

    def __init__(self, task_name: str, store: Store, log: LogBuffer, exports: Exports, requests: CartRequests) -> None:
        self._task_name = task_name
        self._store = store
        self._log = log
        self._exports = exports
        self._requests = requests

    def rounds(self, limit: int = MOST_ROUNDS) -> list[RoundRecord]:
        """Return the newest rounds with their verdicts, newest first."""
        return self._store.rounds(limit)

    def versions(self, limit: int) -> list[ModelVersion]:
        """Return the newest model versions, newest first."""
        return self._store.versions(limit)

    def figures(self) -> Json:
        """Return verdicts by reason and mean times of the phases over the last rounds."""
        return figures_of(self._store.rounds(FIGURES_OVER))

    def rounds_csv(self) -> str:
        """Return all rounds as CSV."""
        return rounds_csv.written(self.rounds())

    def log_lines(self, limit: int) -> list[LogLine]:
        """Return the last lines of the log, newest first."""
        return self._log.lines(limit)

    def export(self, kind: ExportKind) -> tuple[Path, str] | None:
        """Return the file of a format, if it is ready, and the name to download it under."""
        ready = self._exports.file(kind)
        if ready is None:
            return None
        path, version = ready
        return path, f"{self._task_name}-version-{version}.{kind}"

    def request_export(self, kind: ExportKind) -> None:
        """Ask for a file of the current model."""
        self._requests.export(kind)

    def request_training(self) -> None:
        """Ask for a round now."""
        self._requests.training()

    def request_reset(self) -> None:
        """Ask the cart to forget its model and start again."""
        self._requests.reset()


def figures_of(rounds: Sequence[RoundRecord]) -> Json:
    """Return the number of rounds, their verdicts by reason and their mean times by phase, in seconds."""
    reasons = Counter(str(verdict.reason) for record in rounds for verdict in record.verdicts)
    spent: dict[str, list[float]] = {}
    for record in rounds:
        for phase, seconds in record.phase_s.items():
            spent.setdefault(phase, []).append(seconds)
    return {
        "rounds": len(rounds),
        "verdicts": dict(reasons.most_common()),
        "mean_phase_s": {phase: round(sum(times) / len(times), 4) for phase, times in spent.items()},
    }
