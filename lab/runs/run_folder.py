"""A run on disk: configuration, versions, a line for each cart and round, a line for each round, and the summary."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import tomli_w

from cart_common.process.atomic_files import PUBLIC, write_whole
from cart_common.process.errors import UserError
from cart_common.process.os_errors import error_words
from child_cart.model.metric import ACCURACY, Metric

from ..config import RunConfig
from ..packages import versions
from .results import CartRound, CurvePoint, RoundResult
from .state import RunState

CONFIG: Final = "config.toml"
ROUNDS: Final = "rounds.csv"
CURVE: Final = "curve.csv"
SUMMARY: Final = "summary.json"
VERSIONS: Final = "versions.json"
STATE: Final = "state.npz"

CART_COLUMNS: Final = tuple(entry.name for entry in fields(CartRound))
CURVE_COLUMNS: Final = tuple(entry.name for entry in fields(CurvePoint))


class RunFolderError(UserError):
    """A folder is no run, or cannot be written; the message says why."""


class RunFolder:
    """The folder of one run.

    Args:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self, config: RunConfig, notes: dict[str, str], metric: Metric) -> None:
        """Make the folder of a new run.

        Args:
            config: is written as TOML that ``lab run`` reads again.
            notes: kept beside the versions.
            metric: what is measured; kept there, too.

        Raises:
            RunFolderError: if there is a run in it, or it cannot be written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if self.is_begun:
                raise RunFolderError(
                    f"There is a run in {self.path} already. Go on with it by --resume {self.path}, or name another "
                    "folder with --out."
                )
            self._write(CONFIG, tomli_w.dumps(config.values()))
            self._write(VERSIONS, _json({**versions(), **notes, "metric": metric.as_json()}))
            self._write(ROUNDS, ",".join(CART_COLUMNS) + "\n")
            self._write(CURVE, ",".join(CURVE_COLUMNS) + "\n")
        except OSError as error:
            raise RunFolderError(f"The folder {self.path} cannot be written: {error_words(error)}.") from None

    def config(self) -> RunConfig:
        """Return the configuration of the run that is here.

        Raises:
            RunFolderError, SettingError: if there is none, or it cannot be read.
        """
        if not self.is_begun:
            raise RunFolderError(f"There is no run in {self.path}: it has no file {CONFIG}.")
        return RunConfig.load(self.path / CONFIG)

    def metric(self) -> Metric:
        """Return what the run measures; accuracy, if that was not written down yet.

        Raises:
            RunFolderError: if it cannot be read.
        """
        if not (self.path / VERSIONS).exists():
            return ACCURACY
        try:
            found = json.loads((self.path / VERSIONS).read_text(encoding="utf-8")).get("metric")
            return Metric.of(found) if found else ACCURACY
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunFolderError(f"The metric of the run in {self.path} cannot be read: {error}.") from None

    def go_on(self) -> RunState | None:
        """Return where the run was left, and drop what was written after that; None if it begins anew.

        Raises:
            RunFolderError: if the run is complete, or its state cannot be read.
        """
        if self.is_complete:
            raise RunFolderError(f"The run in {self.path} is complete: its results are in {SUMMARY}.")
        try:
            state = RunState.load(self.path / STATE) if (self.path / STATE).exists() else None
            done = state.rounds_done if state else 0
            for name in (ROUNDS, CURVE):
                lines = (self.path / name).read_text(encoding="utf-8").splitlines(keepends=True)
                # A line that a kill has cut has no end.
                kept = [line for line in lines[1:] if line.endswith("\n") and int(line.partition(",")[0]) <= done]
                self._write(name, "".join([*lines[:1], *kept]))
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"The run in {self.path} cannot go on: its state is damaged ({_words(error)}). Run it again from its "
                f"beginning with --config {self.path / CONFIG} and another --out."
            ) from None
        return state

    @property
    def is_begun(self) -> bool:
        """Whether there is a run."""
        return (self.path / CONFIG).is_file()

    @property
    def is_complete(self) -> bool:
        """Whether the run has come to its end: its summary says so."""
        try:
            return bool(self.summary()["complete"])
        except (RunFolderError, KeyError, TypeError):
            return False

    def add(self, result: RoundResult, point: CurvePoint) -> None:
        """Add a round."""
        self._append(ROUNDS, [_cells(CART_COLUMNS, cart) for cart in result.carts])
        self._append(CURVE, [_cells(CURVE_COLUMNS, point)])

    def points(self) -> list[CurvePoint]:
        """Return a point for each round so far."""
        with open(self.path / CURVE, newline="", encoding="utf-8") as file:
            return [CurvePoint.of(line) for line in csv.DictReader(file)]

    def curve(self) -> list[CurvePoint]:
        """Return a point for each round of a run that has at least one.

        Raises:
            RunFolderError: if it has none, or its file is damaged.
        """
        try:
            points = self.points()
        except (OSError, ValueError, KeyError, TypeError):
            points = []
        if not points:
            raise RunFolderError(f"The run in {self.path} has no rounds in {CURVE}.")
        return points

    def save(self, state: RunState) -> None:
        """Keep where the run is."""
        state.save(self.path / STATE)

    def forget_state(self) -> None:
        """Remove the state of a run that is complete: it may be large."""
        (self.path / STATE).unlink(missing_ok=True)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write the summary."""
        self._write(SUMMARY, _json(summary))

    def summary(self) -> dict[str, Any]:
        """Return the summary.

        Raises:
            RunFolderError: if there is none.
        """
        try:
            found: dict[str, Any] = json.loads((self.path / SUMMARY).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise RunFolderError(f"There is no run with a {SUMMARY} in {self.path}.") from None
        return found

    def _append(self, name: str, lines: Sequence[Sequence[object]]) -> None:
        with open(self.path / name, "a", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)

    def _write(self, name: str, text: str) -> None:
        write_whole(self.path / name, text.encode(), PUBLIC)


def _words(error: Exception) -> str:
    return error_words(error) if isinstance(error, OSError) else str(error)


def _cells(columns: Sequence[str], record: CartRound | CurvePoint) -> list[object]:
    return [_cell(getattr(record, name)) for name in columns]


def _cell(value: object) -> object:
    if isinstance(value, dict):
        return " ".join(f"{reason}:{count}" for reason, count in sorted(value.items()))
    if isinstance(value, float):
        return repr(round(value, 6))
    return "" if value is None else value


def _json(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
