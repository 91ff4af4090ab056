"""Carry out runs side by side on a Ray cluster: each as a whole on one core, wherever one is free."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cart_common.process.atomic_files import write_whole

from ..config import RunConfig
from ..engines.ray_cluster import ClusterLostError, cores_by_node, first_line, joined
from .run_folder import CONFIG, RunFolder
from .running import Stop, carry_out
from .sweep import PlannedRun

POLL_S: Final = 1.0


def carry_out_in_cluster(runs: Sequence[PlannedRun], address: str, stop: Stop) -> Iterator[PlannedRun]:
    """Give each run when it has ended and its files are here.

    A run whose machine is lost begins again on another one. When ``stop`` is asked, the runs that have not ended are
    given up.

    Args:
        runs: to carry out; those that have a folder are resumed.
        address: of the cluster; empty for a new one on this machine.
        stop: ends the sweep early.

    Raises:
        SettingError: if there is no cluster.
        ClusterLostError: if no machine of it is left, or those that had one run were lost again and again.
        Exception: what a run raises.
    """
    ray, is_own = joined(address)
    try:
        remote = ray.remote(carry_out_there)
        running = {remote.remote(run.name, _values(run), _files(run.folder.path)): run for run in runs}
        while running and not stop.asked:
            ended, _ = ray.wait(list(running), timeout=POLL_S)
            for result in ended:
                run = running.pop(result)
                _take(ray, result, run)
                yield run
            if not ended and not cores_by_node(ray):
                raise ClusterLostError(
                    "No machine of the Ray cluster is left. The same command goes on when there is one."
                )
        for result in running:
            ray.cancel(result, force=True)
    finally:
        if is_own:
            ray.shutdown()


def carry_out_there(name: str, values: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Carry out a run in a process of the cluster; return the files of its folder.

    Args:
        name: of the run.
        values: of its configuration.
        files: of its folder, if it was begun before.
    """
    with tempfile.TemporaryDirectory(prefix="lab-") as place:
        folder = Path(place) / name
        _write(folder, files)
        carry_out(
            RunConfig.of(values), RunFolder(folder), lambda _: None, lambda *_: None, Stop(), resume=CONFIG in files
        )
        return _files(folder)


def _values(run: PlannedRun) -> dict[str, Any]:
    mlflow = run.config.lab.mlflow
    if mlflow and "://" not in mlflow:
        mlflow = str(Path(mlflow).resolve())
    return {**run.config.values(), "engine": "auto", "ray_address": "", "mlflow": mlflow}


def _take(ray: Any, result: Any, run: PlannedRun) -> None:
    try:
        files = ray.get(result)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ClusterLostError(
            f"The machines that ran {run.name} have gone: {first_line(error)}. The same command goes on without what "
            "has ended."
        ) from None
    _write(run.folder.path, files)


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    # The configuration comes last: a folder that has one is a run.
    for name in sorted(files, key=lambda name: name == CONFIG):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / name, files[name])
