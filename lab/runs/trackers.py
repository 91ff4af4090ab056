"""Show a run in programs that researchers have: event files for TensorBoard, and runs of MLflow."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from cart_common.process.settings import SettingError

from ..config import LabSettings, RunConfig
from ..packages import needed
from .results import CurvePoint

METRICS: Final = ("federated", "federated_worst", "alone", "alone_worst", "all_data", "received_bytes", "dropped")
EXPERIMENT: Final = "federated-carts"
MLFLOW_RUN: Final = "mlflow-run.txt"

log = logging.getLogger(__name__)


class Tracker(Protocol):
    """Shows a run elsewhere while it goes on."""

    def begin(self, folder: Path, config: RunConfig, rounds_done: int) -> None:
        """Begin, or go on after so many rounds."""

    def add(self, point: CurvePoint) -> None:
        """Show a round."""

    def end(self, complete: bool) -> None:
        """End; a run that is not complete may go on later."""


def trackers_of(settings: LabSettings) -> Sequence[Tracker]:
    """Return the trackers that a run's settings name.

    Raises:
        SettingError: if the package of one is not installed, or it cannot write.
    """
    found: list[Tracker] = []
    if settings.tensorboard == "on":
        found.append(TensorBoardTracker())
    if settings.mlflow:
        found.append(MlflowTracker(settings.mlflow))
    return found


class TensorBoardTracker:
    """Writes event files into the folder of the run."""

    def __init__(self) -> None:
        self._writer_class = needed("tensorboardX", "--tensorboard", "tensorboard").SummaryWriter
        self._writer: Any = None

    def begin(self, folder: Path, config: RunConfig, rounds_done: int) -> None:
        """Open a file; TensorBoard then forgets what an earlier one has of the rounds that come again."""
        self._writer = self._writer_class(
            str(folder),
            purge_step=rounds_done + 1 if rounds_done else None,
            filename_suffix=f".after-{rounds_done}-rounds",  # names differ by the second alone otherwise
        )

    def add(self, point: CurvePoint) -> None:
        """Write a round; it shows within seconds."""
        for name in METRICS:
            self._writer.add_scalar(name, getattr(point, name), point.round)
        self._writer.flush()

    def end(self, complete: bool) -> None:
        """Close the file."""
        self._writer.close()


class MlflowTracker:
    """Writes a run of MLflow with the configuration as parameters and a metric a round.

    Args:
        place: a folder, or the address of a server.

    Raises:
        SettingError: if MLflow is not installed, or cannot use the place.
    """

    def __init__(self, place: str) -> None:
        # MLflow would report its use to its makers; it wants to be told that a folder is meant; and it would try for
        # minutes to reach a server.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        self._mlflow = needed("mlflow", "--mlflow", "mlflow")
        self._error = self._mlflow.exceptions.MlflowException
        self._run_id = ""
        try:
            self._client = self._mlflow.MlflowClient(place if "://" in place else Path(place).resolve().as_uri())
            self._experiment = self._experiment_id()
        except self._error as error:
            raise SettingError(f"--mlflow is {place!r}, and MLflow cannot use it: {_first_line(error)}.") from None

    def begin(self, folder: Path, config: RunConfig, rounds_done: int) -> None:
        """Begin a run, or go on with the one that the folder names."""
        note = folder / MLFLOW_RUN
        with self._told_as_warnings():
            if note.exists():
                self._run_id = note.read_text(encoding="utf-8").strip()
                self._client.update_run(self._run_id, status="RUNNING")
                return
            self._run_id = self._client.create_run(self._experiment, run_name=folder.name).info.run_id
            note.write_text(self._run_id + "\n", encoding="utf-8")
            for name, value in config.values().items():
                self._client.log_param(self._run_id, name, value)

    def add(self, point: CurvePoint) -> None:
        """Write a round."""
        now_ms = time.time_ns() // 1_000_000
        metric = self._mlflow.entities.Metric
        metrics = [metric(name, float(getattr(point, name)), now_ms, point.round) for name in METRICS]
        with self._told_as_warnings():
            self._client.log_batch(self._run_id, metrics=metrics)

    def end(self, complete: bool) -> None:
        """End the run."""
        with self._told_as_warnings():
            self._client.set_terminated(self._run_id, "FINISHED" if complete else "KILLED")

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        if found is None:
            try:
                return str(self._client.create_experiment(EXPERIMENT))
            except self._error:
                found = self._client.get_experiment_by_name(EXPERIMENT)  # another run has made it meanwhile
                if found is None:
                    raise
        return str(found.experiment_id)

    @contextmanager
    def _told_as_warnings(self) -> Iterator[None]:
        """Let the run go on without MLflow: its folder has everything."""
        try:
            yield
        except Exception as error:  # the store of files raises plain exceptions, too
            log.warning("MLflow has not taken a part of this run: %s", _first_line(error))


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(".")
