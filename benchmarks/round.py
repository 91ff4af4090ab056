"""A whole round of 8 carts without training: request, transfers, verdicts, average, and the new version on disk.

Eight whole carts (``child_cart/main.py`` with pages, store, link and trainer process) and a bridge on this machine. The
task is one of NumPy whose training does nothing and whose accuracy is that of 32 rows, so a round is what the platform
adds. In the figures: cluster, signed requests and offers; the peers' reading and encoding of a version that is new in
each round; sealed transfers; decoding, checks and scores in the trainer process; average, its checks and score; the
weights file with its digest, synced; the records of round, verdicts and version. Not in them: the training phase with
its file and record, Keras, and starting the processes.

Two kinds in turns, each figure a median with its extremes: one cart collects from the 7 others; all 8 collect at the
same time, from 3 each.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import ROOT, bridge_process, free_port, spread, wait_for_port

CARTS = 8
TARGETS_S = {1: (0.3, 0.08), 25: (2.0, 1.0)}
PATIENCE_S = 120.0
NOBODY = {"cluster_size": 256, "min_peers": 256, "cluster_wait_s": 0}
"""Settings of a cart that trains and then looks for nobody: it only gets a new version to give away."""


def collects_from(peers: int) -> dict[str, int]:
    """Return the settings of a cart that collects from so many peers."""
    return {"cluster_size": peers, "min_peers": peers, "cluster_wait_s": 60}


class Cart:
    """A cart process and its API."""

    def __init__(self, bridge_port: int, task: str, folder: Path) -> None:
        self.port = free_port()
        self.sent = 0
        self._token_file = folder / "api-token"
        command = [sys.executable, str(ROOT / "child_cart/main.py"), "--bridge", f"ws://127.0.0.1:{bridge_port}"]
        command += ["--port", str(self.port), "--data-dir", str(folder), "--log-level", "ERROR"]
        command += ["--task", f"benchmarks.light_model:{task}", "--dataset-size", "1", "--trainer-idle-s", "600"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        # A new cart prints the password that it has made up; it has no place in a table.
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    def get(self, path: str) -> Any:
        """Return what the cart answers."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=self._headers())
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - this cart, on this machine
            return json.load(answer)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token_file.read_text().strip()}"}

    def put(self, method: str, path: str, body: dict[str, Any]) -> None:
        """Send JSON."""
        url, headers = f"http://127.0.0.1:{self.port}{path}", {**self._headers(), "Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310 - this cart, on this machine

    def use(self, settings: dict[str, int]) -> None:
        """Change settings, one a request: the size first where it grows, the minimum where it shrinks."""
        grows = settings["min_peers"] >= self.setting("min_peers")
        for name in sorted(settings, reverse=not grows):
            self.put("PUT", f"/api/settings/{name}", {"value": settings[name]})

    def setting(self, name: str) -> Any:
        """Return the value of a setting."""
        return next(entry["value"] for entry in self.get("/api/settings")["settings"] if entry["name"] == name)

    def start_round(self) -> None:
        """Send the row that starts a round."""
        self.sent += 1
        self.put("POST", "/api/rows", {"batch_id": f"row-{self.sent}", "rows": [{"class": self.sent % 7}]})

    def ended_round(self) -> dict[str, Any]:
        """Wait for the end of the round that was started last, and return its record."""
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            newest = self.get("/api/rounds?limit=1")["rounds"]
            if newest and newest[0]["number"] == self.sent and newest[0]["outcome"]:
                record: dict[str, Any] = newest[0]
                return record
            time.sleep(0.1)
        raise TimeoutError(f"a round did not end within {PATIENCE_S:g} s: {self.get('/api/status')['events'][:3]}")

    def is_ready(self) -> bool:
        """Tell whether the cart is attached and has a version to give away."""
        status = self.get("/api/status")
        return bool(status["stage"] == "SERVING" and status["link"]["state"] == "ATTACHED")


@dataclass(frozen=True)
class Timing:
    """Where the seconds of a round went."""

    whole: float
    clustering: float
    transfers: float
    verdicts: float
    averaging: float

    @property
    def rest(self) -> float:
        """What is in none of the phases: the records of the round, and reading rows."""
        return self.whole - self.clustering - self.transfers - self.verdicts - self.averaging


def timing_of(record: dict[str, Any], transfers: Sequence[dict[str, Any]], peers: int) -> Timing:
    """Return the timing of a round.

    Raises:
        RuntimeError: if the round did not average with all its peers.
    """
    if record["outcome"] != "AGGREGATED" or any(entry["reason"] != "ACCEPTED" for entry in record["verdicts"]):
        raise RuntimeError(f"a round did not go well: {record}")
    phases = record["phase_s"]
    last = [entry for entry in transfers if entry["direction"] == "IN"][:peers]
    moving = max(entry["ended_at"] for entry in last) - min(entry["started_at"] for entry in last)
    whole = record["ended_at"] - record["started_at"] - phases["training"]
    return Timing(whole, phases["clustering"], moving, phases["collecting"] - moving, phases["averaging"])


@contextmanager
def fleet(task: str) -> Iterator[list[Cart]]:
    """Run a bridge and carts that are ready, until the block ends."""
    with tempfile.TemporaryDirectory() as folder, bridge_process() as (_, port):
        carts = [Cart(port, task, Path(folder) / str(number)) for number in range(CARTS)]
        try:
            for cart in carts:
                wait_for_port(cart.port)
            give_up_at = time.monotonic() + PATIENCE_S
            while not all(cart.is_ready() for cart in carts):
                if time.monotonic() > give_up_at:
                    raise TimeoutError(f"the carts were not ready within {PATIENCE_S:g} s")
                time.sleep(0.2)
            yield carts
        finally:
            for cart in carts:
                cart.process.terminate()
            for cart in carts:
                cart.process.wait()


def one_collects(carts: list[Cart]) -> list[Timing]:
    """Let the first cart collect from all others, each of which has got a new version just before."""
    for cart in carts:
        cart.use(collects_from(CARTS - 1) if cart is carts[0] else NOBODY)
    for cart in carts[1:]:
        cart.start_round()
    for cart in carts[1:]:
        cart.ended_round()
    return timed(carts[:1], CARTS - 1)


def all_collect(carts: list[Cart]) -> list[Timing]:
    """Let all carts collect from some at the same time."""
    for cart in carts:
        cart.use(collects_from(3))
    return timed(carts, 3)


def timed(carts: list[Cart], peers: int) -> list[Timing]:
    """Start a round of each of these carts, and return how each went."""
    for cart in carts:
        cart.start_round()
    return [timing_of(cart.ended_round(), cart.get("/api/status")["transfers"], peers) for cart in carts]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="rounds of each kind")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 25], choices=[1, 25], help="models, in MB")
    options = parser.parse_args()
    kinds = {"1 from 7": one_collects, "8 from 3 each": all_collect}
    print(
        "  model  carts             round, s (min..max)  target  of it    cluster  transfers  verdicts  average   rest"
    )
    for size in options.sizes:
        seen: dict[str, list[Timing]] = {kind: [] for kind in kinds}
        with fleet(f"Light{size}") as carts:
            for _ in range(options.repeats):
                for kind, run in kinds.items():
                    seen[kind] += run(carts)
        for kind, timings in seen.items():
            whole = [timing.whole for timing in timings]
            parts = [
                statistics.median(getattr(timing, part) for timing in timings)
                for part in ("clustering", "transfers", "verdicts", "averaging", "rest")
            ]
            target = TARGETS_S[size][0] if kind == "1 from 7" else None
            print(
                f"{size:>4} MB  {kind:<14} {spread(whole, 2):>24} "
                + (f"{'< ' + str(target):>7} {statistics.median(whole) / target:>6.2f}" if target else f"{'':>14}")
                + "   "
                + " ".join(f"{part:>8.3f}" for part in parts),
                flush=True,
            )


if __name__ == "__main__":
    main()
