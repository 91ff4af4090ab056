"""FedAvg in Flower's simulation (on Ray) beside the laboratory: the same rows, starting weights, trainings and rounds.

Each run is a process of its own; memory is the peak of what it and its processes have together (shared pages count
once). The network of digits is trained by the same NumPy code in Flower and in the first run of the laboratory. The
other runs train it as the laboratory does by itself: by FedAvg, and as carts do. Each run of the laboratory also trains
what Flower does not: every cart alone, and one model on all data.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.numpy_network import NumpyNetwork
from child_cart.model.digits import Digits
from lab.conditions.data import trained_rows
from lab.config import RunConfig
from lab.runs.experiment import Experiment

HERE: Final = Path(__file__).resolve().parent
WORK: Final = "LAB_FLOWER_WORK"
RATE: Final = 0.3
"""Of the optimiser of digits."""
SAMPLE_S: Final = 0.2
VERSION: Final = "import importlib.metadata as m; print('flwr', m.version('flwr'), 'on ray', m.version('ray'))"
KINDS: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "numpy": (
        "lab, FedAvg, the same NumPy code",
        {"method": "fedavg", "task": "benchmarks.lab_against_flower:NumpyDigits"},
    ),
    "keras": ("lab, FedAvg, side by side on JAX", {"method": "fedavg"}),
    "carts": ("lab, carts in clusters of 3, on JAX", {"method": "carts"}),
}


class NumpyDigits(Digits):
    """Digits with a network in NumPy, from the starting weights of the work."""

    def build_learner(self) -> Any:
        """Return the network."""
        with np.load(Path(os.environ[WORK]) / "start.npz") as found:
            return NumpyNetwork([found[name] for name in found.files], self.epochs, self.batch_size, RATE, self.seed)


def config_of(carts: int, rounds: int, **changes: str) -> RunConfig:
    """Return the configuration of a run; models are sent as Flower sends them, in full precision."""
    common = {"carts": carts, "rounds": rounds, "partition": "dirichlet:0.3", "wire_precision": "full"}
    return RunConfig.of({**common, **changes})


def version_of(python: str) -> str | None:
    """Return which Flower this Python has; None for none."""
    try:
        return subprocess.run([python, "-c", VERSION], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def write_work(folder: Path, carts: int, rounds: int) -> None:
    """Write the starting weights, what each cart trains on in each round, and the rows that measure."""
    config, task = config_of(carts, rounds), Digits()
    with Experiment(config) as experiment:
        data, start = experiment.data, experiment.engine.start()
    given: list[list[Any]] = [[], []]
    for number in range(1, rounds + 1):
        first = (number - 1) * config.lab.rows + 1
        rows = [row for cart in range(carts) for row in trained_rows(data.rows_of(cart, number), first)]
        for arrays, array in zip(given, task.arrays(rows), strict=True):
            arrays.append(array.reshape(carts, -1, *array.shape[1:]))
    names = ("inputs", "targets", "test_inputs", "test_targets")
    for name, array in zip(names, (*map(np.array, given), *data.test), strict=True):
        np.save(folder / f"{name}.npy", array)
    np.savez(folder / "start.npz", *start)
    training = {"epochs": task.epochs, "batch_size": task.batch_size, "rate": RATE, "seed": task.seed}
    (folder / "work.json").write_text(json.dumps({"carts": carts, "rounds": rounds, "training": training}))


def run_in_lab(kind: str, carts: int, rounds: int) -> dict[str, float]:
    """Run the laboratory in this process."""
    with Experiment(config_of(carts, rounds, **KINDS[kind][1])) as experiment:
        began = time.perf_counter()
        last = list(experiment.rounds())[-1]
    accuracies = [cart.test_value for cart in last.carts]
    return {"rounds_s": time.perf_counter() - began, "accuracy": sum(accuracies) / carts}


def measured(command: list[str], environment: Mapping[str, str], most_s: float) -> dict[str, float] | None:
    """Run a program; return its result with seconds and peak megabytes, or None if it takes longer than that."""
    began, peak_kb = time.perf_counter(), 0
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, **environment}, text=True
        ) as process,
    ):
        told: list[str] = []
        reader = threading.Thread(target=lambda: told.extend(process.stdout or ()))
        reader.start()
        while process.poll() is None:
            peak_kb = max(peak_kb, memory_kb(family_of(process.pid)))
            if time.perf_counter() - began > most_s:
                process.kill()
                reader.join()
                return None
            time.sleep(SAMPLE_S)
        reader.join()
        if process.returncode:
            errors.seek(0)
            raise SystemExit(f"{' '.join(command)} has failed:\n{errors.read().decode(errors='replace')[-3000:]}")
    return {**json.loads(told[-1]), "all_s": time.perf_counter() - began, "peak_mb": peak_kb / 1024}


def family_of(process_id: int) -> set[int]:
    """Return a process and all that descend from it."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:  # it has ended meanwhile
                continue
    found = {process_id}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def memory_kb(family: set[int]) -> int:
    """Return the memory of processes together."""
    # What they share counts once. A process alone shares its libraries with none of this run, only with strangers.
    kind = "Pss:" if len(family) > 1 else "Rss:"
    return sum(int(line.split()[1]) for one in family for line in _memory_lines(one) if line.startswith(kind))


def _memory_lines(process_id: int) -> list[str]:
    try:
        return Path(f"/proc/{process_id}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended meanwhile
        return []


def show(name: str, carts: int, found: Mapping[str, float] | None, most_s: float) -> None:
    """Print a line of the table."""
    words = (
        f"more than {most_s:.0f} s"
        if found is None
        else (f"{found['all_s']:>7.1f} {found['rounds_s']:>9.1f} {found['peak_mb']:>8,.0f} {found['accuracy']:>9.3f}")
    )
    print(f"{carts:>6,}  {name:<36} {words}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flower-python", default="", metavar="PATH", help="a Python that has flwr[simulation]")
    parser.add_argument("--carts", default="10,100", metavar="N,N", help="numbers of carts (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each (default: %(default)s)")
    parser.add_argument("--most-seconds", type=float, default=600, help="longest run (default: %(default)s)")
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(run_in_lab(given.one, int(given.carts), given.rounds)))
        return
    version = version_of(given.flower_python)
    if version is None:
        print(f"Skipped: --flower-python is {given.flower_python!r}, and must be a Python that has flwr[simulation].")
        return
    print(f"{version}; {given.rounds} rounds, {os.cpu_count()} cores")
    print(f"{'carts':>6}  {'':<36} {'all s':>7} {'rounds s':>9} {'peak MB':>8} {'accuracy':>9}")
    for carts in map(int, given.carts.split(",")):
        with tempfile.TemporaryDirectory() as place:
            write_work(Path(place), carts, given.rounds)
            # Neither Flower nor Ray reports its use, and Ray listens on the loopback address.
            quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "FLWR_HOME": place}
            environment = {WORK: place, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", **quiet}
            flower = [given.flower_python, str(HERE / "flower_app.py")]
            show("Flower, FedAvg, NumPy", carts, measured(flower, environment, given.most_seconds), given.most_seconds)
            for kind, (name, _) in KINDS.items():
                command = [
                    sys.executable,
                    __file__,
                    "--one",
                    kind,
                    "--carts",
                    str(carts),
                    "--rounds",
                    str(given.rounds),
                ]
                show(name, carts, measured(command, environment, given.most_seconds), given.most_seconds)


if __name__ == "__main__":
    main()
