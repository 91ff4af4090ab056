"""What the operator's pages may ask beside the status, and do. Every method may be called from any thread."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cart_common.process.redaction import shown

from ..config import SettingsBook
from ..db.records import Json, Outcome, RoundRecord
from ..db.store import Store
from ..learning.exports import ExportKind, Exports
from ..learning.versions import Versions
from ..network.link import LinkState, LinkStatus
from ..scanner.camera import CameraState
from . import rounds_csv
from .disk import Disk
from .log_buffer import LogBuffer
from .store_watch import StoreFigures
from .warnings import WarningFacts, operator_warnings

MOST_ROUNDS: Final = 10_000
FIGURES_OVER: Final = 500


class OperatorService:
    """The part of the desk that needs a login.

    Args:
        book: the settings.
        store: holds rounds and versions.
        versions: the model's.
        disk: the data folder.
        log: the last lines of the log.
        exports: files of the current model.
        ask_export: asks for one.
        over_https: whether the pages are served over https.
    """

    def __init__(
        self,
        book: SettingsBook,
        store: Store,
        versions: Versions,
        disk: Disk,
        log: LogBuffer,
        exports: Exports,
        ask_export: Callable[[ExportKind], None],
        over_https: bool = False,
    ) -> None:
        self._book = book
        self._store = store
        self._versions = versions
        self._disk = disk
        self._log = log
        self._exports = exports
        self._over_https = over_https
        self.ask_export = ask_export

    def facts(self, link: LinkStatus, scanner: Json, kept: StoreFigures, now: float) -> Json:
        """Return what the operator's page shows beside the status.

        Args:
            link: the link's state.
            scanner: what the scanner says of itself.
            kept: what the store holds.
            now: seconds since the epoch.
        """
        settings, use = self._book.current, self._disk.use()
        failed = failed_in_a_row(kept.rounds)
        camera = scanner["camera"]
        facts = WarningFacts(
            fleet_open=not settings.fleet_key_file,
            sharing=settings.sharing == "on",
            attached=link.state is LinkState.ATTACHED,
            away_s=now - link.since,
            link_reason=link.reason,
            decoder_sentence=scanner["sentence"],
            camera_sentence=camera["sentence"] if camera["state"] == CameraState.AWAY else "",
            free_bytes=use.free_bytes,
            total_bytes=use.total_bytes,
            store_trouble=kept.trouble,
            model_trouble=self._versions.trouble,
            failed_rounds=len(failed),
            failed_sentence=failed[0].sentence if failed else "",
            plain_http_to="" if self._over_https or _is_loopback(settings.host) else settings.host,
        )
        return {
            "disk": asdict(use),
            "store": {**kept.state(), "name": shown(settings.store), "trouble": kept.trouble},
            "cautions": [asdict(caution) for caution in operator_warnings(facts)],
            "exports": self._exports.shown(),
        }

    def figures(self) -> Json:
        """Return verdicts by reason and mean times of the phases over the last rounds."""
        return figures_of(self._store.rounds(FIGURES_OVER))

    def rounds_csv(self) -> str:
        """Return all rounds as CSV."""
        return rounds_csv.written(self._store.rounds(MOST_ROUNDS))

    def rounds_json(self) -> list[Json]:
        """Return all rounds with their verdicts."""
        return [asdict(record) for record in self._store.rounds(MOST_ROUNDS)]

    def log_lines(self, limit: int) -> list[Json]:
        """Return the last lines of the log, newest first."""
        return [asdict(line) for line in self._log.lines(limit)]

    def export(self, kind: ExportKind) -> tuple[Path, int] | None:
        """Return the file of a format and its version, if it is ready."""
        return self._exports.file(kind)


def failed_in_a_row(rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
    """Return the newest rounds that ended without an average although sharing was on, up to the first that did not."""
    failed = []
    for record in rounds:
        if record.outcome is None:
            continue
        if record.outcome in (Outcome.AGGREGATED, Outcome.SHARING_PAUSED):
            break
        failed.append(record)
    return failed


def figures_of(rounds: Sequence[RoundRecord]) -> Json:
    """Return how many rounds there are, their verdicts by reason and their mean times by phase, in seconds."""
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


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
