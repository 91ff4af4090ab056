"""What a cart needs of a small machine: memory and CPU of its processes, idle and during training.

Runs a whole cart (``child_cart/main.py``, task ``shopping``) without a bridge, for each number of trainer threads:
first while no trainer runs, then in a round on the given number of rows. Resident memory (RSS) counts shared memory in
full for each process, as ``top`` does; PSS divides a shared page among the processes that share it.
``--trainer-memory-bytes`` limits *data*.

python benchmarks/footprint.py [--rows 2000] [--threads 1,2] [--rest 10]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cart_process import MeasuredCart
from benchmarks.machine import cpu_seconds

TRAINER_IDLE_S = 3


@dataclass
class Use:
    """The highest use of a process that was seen; memory in MB."""

    rss: float = 0.0
    pss: float = 0.0
    data: float = 0.0
    threads: int = 0
    cpu_s: float = 0.0

    def see(self, process_id: int) -> None:
        """Read the use of a process; a process that has ended changes nothing."""
        try:
            rollup = _fields(Path(f"/proc/{process_id}/smaps_rollup").read_text())
            status = _fields(Path(f"/proc/{process_id}/status").read_text())
            self.cpu_s = cpu_seconds(process_id)
        except (FileNotFoundError, ProcessLookupError):
            return
        self.rss = max(self.rss, rollup["Rss"] / 1000)
        self.pss = max(self.pss, rollup["Pss"] / 1000)
        self.data = max(self.data, status.get("VmData", 0) / 1000)
        self.threads = max(self.threads, status.get("Threads", 0))


def _fields(text: str) -> dict[str, int]:
    """Return the numbers in a file of /proc by name; sizes are in KB."""
    parts = [line.split() for line in text.splitlines()]
    return {words[0].rstrip(":"): int(words[1]) for words in parts if len(words) > 1 and words[1].isdigit()}


def measure(threads: int, rows: int, rest_s: float) -> str:
    """Return the table's row for one number of threads."""
    flags = ["--dataset-size", str(rows), "--train-threads", str(threads), "--join-wait-s", "0"]
    flags += ["--cluster-wait-s", "0", "--trainer-idle-s", str(TRAINER_IDLE_S), "--starter-rows", "100"]
    with tempfile.TemporaryDirectory() as folder, MeasuredCart(Path(folder), *flags) as cart:
        idle, serving, trainer = Use(), Use(), Use()
        cart.wait_for(lambda status: status["stage"] == "SERVING" and not status["trainer_process"])
        before, started_at = cpu_seconds(cart.process.pid), time.monotonic()
        time.sleep(rest_s)
        idle.see(cart.process.pid)
        busy = (idle.cpu_s - before) / (time.monotonic() - started_at)

        def see(status: dict[str, Any]) -> None:
            serving.see(cart.process.pid)
            if status["trainer_process"]:
                trainer.see(status["trainer_process"])

        sold = [{"month": place % 12 + 1, "gender": place % 2, "item": place % 6 + 1} for place in range(rows)]
        cart.ask("POST", "/api/rows", {"batch_id": "rows", "rows": sold})
        cart.wait_for(lambda status: bool(status["rounds_ended"]), see)
        (record,) = cart.ask("GET", "/api/rounds?limit=1")["rounds"]
    return (
        f"| {threads} | {idle.rss:.0f} | {idle.pss:.0f} | {busy:.1%} | {serving.rss:.0f} | {serving.pss:.0f} "
        f"| {trainer.rss:.0f} | {trainer.pss:.0f} | {trainer.data:.0f} | {trainer.threads} | {trainer.cpu_s:.1f} "
        f"| {record['phase_s']['training']:.1f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=2000, help="rows of the round")
    parser.add_argument("--threads", default="1,2", help="numbers of trainer threads")
    parser.add_argument("--rest", type=float, default=10.0, help="seconds to watch the idle cart")
    given = parser.parse_args()
    print(
        "| trainer threads | idle RSS | PSS | CPU | cart RSS in a round | PSS | trainer RSS | PSS | data | its threads "
        "| its CPU | training |"
    )
    print("|---|" + "---|" * 11)
    for threads in given.threads.split(","):
        print(measure(int(threads), given.rows, given.rest), flush=True)
    print(f"{given.rows} rows of shopping on {os.cpu_count()} cores; memory in MB, processor time in seconds")


if __name__ == "__main__":
    main()
