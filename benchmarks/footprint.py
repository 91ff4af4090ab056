"""What a cart takes of a small machine: memory and processor of its processes, idle and while it trains.

A whole cart (``child_cart/main.py``, task ``shopping``) without a bridge, for each number of trainer threads: first
with its trainer ended, then in a round on so many rows. Resident memory (RSS) counts what processes share in full, as
``top`` does; PSS counts a page that two processes share half for each. *Data* is what `--trainer-memory-bytes` bounds.

python benchmarks/footprint.py [--rows 2000] [--threads 1,2] [--rest 10]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import ROOT, cpu_seconds, free_port

PATIENCE_S = 180.0
SAMPLE_EVERY_S = 0.1
TRAINER_IDLE_S = 3


@dataclass
class Use:
    """The most that a process was seen to take; memory in MB."""

    rss: float = 0.0
    pss: float = 0.0
    data: float = 0.0
    threads: int = 0
    cpu_s: float = 0.0

    def see(self, process_id: int) -> None:
        """Look at a process; one that is gone changes nothing."""
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
    """Return the numbers of a file of /proc by name; sizes in KB."""
    parts = [line.split() for line in text.splitlines()]
    return {words[0].rstrip(":"): int(words[1]) for words in parts if len(words) > 1 and words[1].isdigit()}


class Cart:
    """A cart process and its API."""

    def __init__(self, folder: Path, threads: int, rows: int) -> None:
        self._port = free_port()
        self._folder = folder
        command = [sys.executable, str(ROOT / "child_cart/main.py"), "--bridge", "ws://127.0.0.1:9"]
        command += ["--port", str(self._port), "--data-dir", str(folder), "--log-level", "ERROR"]
        command += ["--dataset-size", str(rows), "--train-threads", str(threads), "--join-wait-s", "0"]
        command += ["--cluster-wait-s", "0", "--trainer-idle-s", str(TRAINER_IDLE_S), "--starter-rows", "100"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # it prints its first password

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return what the cart answers; None while it does not."""
        try:
            headers = {"Authorization": f"Bearer {(self._folder / 'api-token').read_text().strip()}"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            data = None if body is None else json.dumps(body).encode()
            request = urllib.request.Request(f"http://127.0.0.1:{self._port}{path}", data, headers)
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - this cart, on this machine
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            raise RuntimeError(f"{path}: {refused.read().decode()}") from None
        except OSError:
            return None

    def wait(self, condition: Callable[[dict[str, Any]], bool], see: Callable[[dict[str, Any]], None]) -> None:
        """Look at the status again and again until a condition holds."""
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            status = self.ask("/api/status")
            if status is not None:
                see(status)
                if condition(status):
                    return
            time.sleep(SAMPLE_EVERY_S)
        raise TimeoutError(f"not within {PATIENCE_S:g} s: {self.ask('/api/status')}")


@contextmanager
def running(threads: int, rows: int) -> Iterator[Cart]:
    """Run a cart in a folder of its own until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        cart = Cart(Path(folder), threads, rows)
        try:
            yield cart
        finally:
            cart.process.terminate()
            cart.process.wait()


def measure(threads: int, rows: int, rest_s: float) -> str:
    """Return the line of one number of threads."""
    with running(threads, rows) as cart:
        idle, serving, trainer = Use(), Use(), Use()
        cart.wait(lambda status: status["stage"] == "SERVING" and not status["trainer_process"], lambda _: None)
        before, started_at = cpu_seconds(cart.process.pid), time.monotonic()
        time.sleep(rest_s)
        idle.see(cart.process.pid)
        busy = (idle.cpu_s - before) / (time.monotonic() - started_at)

        def see(status: dict[str, Any]) -> None:
            serving.see(cart.process.pid)
            if status["trainer_process"]:
                trainer.see(status["trainer_process"])

        sold = [{"month": place % 12 + 1, "gender": place % 2, "item": place % 6 + 1} for place in range(rows)]
        cart.ask("/api/rows", {"batch_id": "rows", "rows": sold})
        cart.wait(lambda status: bool(status["rounds_ended"]), see)
        (record,) = cart.ask("/api/rounds?limit=1")["rounds"]
    return (
        f"| {threads} | {idle.rss:.0f} | {idle.pss:.0f} | {busy:.1%} | {serving.rss:.0f} | {serving.pss:.0f} "
        f"| {trainer.rss:.0f} | {trainer.pss:.0f} | {trainer.data:.0f} | {trainer.threads} | {trainer.cpu_s:.1f} "
        f"| {record['phase_s']['training']:.1f} |"
    )


def main() -> None:
    """Run the command line."""
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
