"""What a large model takes in memory: of its trainer, of the cart that gives it, and of the cart that receives it.

Two whole carts at a bridge learn a dense network with Adam (``large_model_task.py``). The first one trains; then the
second one trains, and collects the model of the first. Each figure is the highest resident memory of the process (RSS,
as ``top`` shows it). The last columns are what each takes beyond the smallest model, as a multiple of the weights file.

python benchmarks/large_model.py [--megabytes 1,50,100]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cart_process import MeasuredCart
from benchmarks.large_model_task import CLASSES, MEGABYTES
from benchmarks.machine import bridge_process

ROWS = 70


def highest_mb(process_id: int) -> float:
    """Return the highest resident memory of a process so far; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:")), 0.0)


class LearningCart(MeasuredCart):
    """A cart that learns the model; it starts no round by itself."""

    def __init__(self, bridge_port: int, folder: Path) -> None:
        flags = ["--task", "benchmarks.large_model_task:Large", "--dataset-size", str(ROWS), "--trainer-idle-s", "3"]
        super().__init__(folder, *flags, "--join-wait-s", "0", bridge=f"ws://127.0.0.1:{bridge_port}")
        self.trainer_mb = 0.0

    def until(self, condition: Callable[[dict[str, Any]], bool]) -> float:
        """Wait until a condition holds of the status; return the trainer's highest memory meanwhile."""
        self.trainer_mb = 0.0

        def see(status: dict[str, Any]) -> None:
            if status["trainer_process"]:
                self.trainer_mb = max(self.trainer_mb, highest_mb(status["trainer_process"]))

        self.wait_for(condition, see)
        return self.trainer_mb

    def learn(self, ended: int) -> float:
        """Send rows for a round and wait for its end; return the trainer's highest memory meanwhile."""
        rows = [{"class": number % CLASSES} for number in range(ROWS)]
        self.ask("POST", "/api/rows", {"batch_id": f"rows {ended}", "rows": rows})
        return self.until(lambda status: status["rounds_ended"] >= ended)


def measure(megabytes: float) -> tuple[float, float, float, float]:
    """Return the highest memory, in MB: trainer in a training, trainer in a round, giver, receiver."""
    os.environ[MEGABYTES] = str(megabytes)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="large-model-")))
        _, port = stack.enter_context(bridge_process())
        giver = stack.enter_context(LearningCart(port, folder / "giver"))
        giver.until(lambda status: bool(status.get("model")))
        giver.ask("PUT", "/api/settings/cluster_wait_s", {"value": 0})  # there is no peer yet
        training = giver.learn(1)
        receiver = stack.enter_context(LearningCart(port, folder / "receiver"))
        receiver.until(lambda status: bool(status.get("model")))
        round_mb = receiver.learn(1)
        (record,) = receiver.ask("GET", "/api/rounds?limit=1")["rounds"]
        if not record["verdicts"]:
            raise RuntimeError(f"the round ended without a model of the peer: {record['outcome']}")
        return training, round_mb, highest_mb(giver.process.pid), highest_mb(receiver.process.pid)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", default="1,50,100", help="sizes of the weights file")
    given = parser.parse_args()
    print(
        f"{'weights MB':>10} {'training':>9} {'round':>9} {'giver':>9} {'receiver':>9}"
        f" {'beyond the first, by weights: round':>36} {'giver':>7} {'receiver':>9}"
    )
    first: tuple[float, tuple[float, ...]] | None = None
    for megabytes in map(float, given.megabytes.split(",")):
        used = measure(megabytes)
        first = first or (megabytes, used)
        more = max(megabytes - first[0], 1e-9)
        times = [(now - then) / more for now, then in zip(used, first[1], strict=True)][1:]
        ratios = f"{times[0]:>36.1f} {times[1]:>7.1f} {times[2]:>9.1f}" if megabytes > first[0] else ""
        print(f"{megabytes:>10g} " + " ".join(f"{value:>9.0f}" for value in used) + f" {ratios}", flush=True)


if __name__ == "__main__":
    main()
