"""A whole round of 8 carts without training: request, transfers, verdicts, average, and the new version on disk.

Runs eight whole carts (``child_cart/main.py`` with pages, store, link and trainer process) and a bridge on this
machine. The task uses NumPy alone: its training does nothing and its accuracy is measured on 32 rows, so that a round
shows what the platform adds. The figures include: cluster, signed requests and offers; reading and encoding at the
peers, of a version that is new in each round; sealed transfers; decoding, checks and scores in the trainer process; the
average with its checks and score; the weights file with its digest, synced; the records of round, verdicts and version.
They do not include the training phase with its file and record, Keras, and the start of the processes.

Two kinds of rounds alternate: one cart collects from the 7 others; all 8 collect at the same time, from 3 each. Each
figure is a median with its extremes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cart_process import PATIENCE_S, MeasuredCart
from benchmarks.machine import bridge_process, spread

CARTS = 8
TARGETS_S = {1: (0.3, 0.08), 25: (2.0, 1.0)}
NO_PEERS = {"cluster_size": 256, "min_peers": 256, "cluster_wait_s": 0}
"""Settings of a cart that trains and then collects from no peer: it only gets a new version to give away."""


def collects_from(peers: int) -> dict[str, int]:
    """Return the settings of a cart that collects from this number of peers."""
    return {"cluster_size": peers, "min_peers": peers, "cluster_wait_s": 60}


RECEIVED = ("ACCEPTED", "KNOWN_ALREADY", "LEFT_OUT")
"""Reasons of verdicts on models that have come whole; a peer may give the version before, if it has not trained yet."""


class RoundCart(MeasuredCart):
    """A cart whose rounds the benchmark starts, one row each."""

    def __init__(self, bridge_port: int, task: str, folder: Path) -> None:
        self.sent = 0
        flags = ["--task", f"benchmarks.light_model:{task}", "--dataset-size", "1", "--trainer-idle-s", "600"]
        flags += ["--give-again-s", "0"]  # the cart collects from peers that rest, again and again
        super().__init__(folder, *flags, bridge=f"ws://127.0.0.1:{bridge_port}")

    def use(self, settings: dict[str, int]) -> None:
        """Change settings, one per request: the size first where it grows, the minimum first where it shrinks."""
        grows = settings["min_peers"] >= self.setting("min_peers")
        for name in sorted(settings, reverse=not grows):
            self.ask("PUT", f"/api/settings/{name}", {"value": settings[name]})

    def setting(self, name: str) -> Any:
        """Return the value of a setting."""
        return next(entry["value"] for entry in self.ask("GET", "/api/settings")["settings"] if entry["name"] == name)

    def start_round(self) -> None:
        """Send the row that starts a round."""
        self.sent += 1
        self.ask("POST", "/api/rows", {"batch_id": f"row-{self.sent}", "rows": [{"class": self.sent % 7}]})

    def ended_round(self) -> dict[str, Any]:
        """Wait for the end of the newest round, and return its record."""
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            newest = self.ask("GET", "/api/rounds?limit=1")["rounds"]
            if newest and newest[0]["number"] == self.sent and newest[0]["outcome"]:
                record: dict[str, Any] = newest[0]
                return record
            time.sleep(0.1)
        events = self.ask("GET", "/api/status")["events"][:3]
        raise TimeoutError(f"a round did not end within {PATIENCE_S:g} s: {events}")


def is_ready(status: dict[str, Any]) -> bool:
    """Return whether the cart is attached and has a version to give away."""
    return bool(status["stage"] == "SERVING" and status["link"]["state"] == "ATTACHED")


@dataclass(frozen=True)
class Timing:
    """The seconds of a round, by phase."""

    whole: float
    clustering: float
    transfers: float
    verdicts: float
    averaging: float

    @property
    def rest(self) -> float:
        """What no phase contains: writing the records of the round, and reading rows."""
        return self.whole - self.clustering - self.transfers - self.verdicts - self.averaging


def timing_of(record: dict[str, Any], transfers: Sequence[dict[str, Any]], peers: int) -> Timing:
    """Return the timing of a round.

    Raises:
        RuntimeError: if the round did not mix models, or did not receive the models of all its peers.
    """
    if record["outcome"] not in ("AGGREGATED", "KEPT_OWN") or any(
        entry["reason"] not in RECEIVED for entry in record["verdicts"]
    ):
        raise RuntimeError(f"a round failed: {record}")
    phases = record["phase_s"]
    last = [entry for entry in transfers if entry["direction"] == "IN"][:peers]
    moving = max(entry["ended_at"] for entry in last) - min(entry["started_at"] for entry in last)
    whole = record["ended_at"] - record["started_at"] - phases["training"]
    return Timing(whole, phases["clustering"], moving, phases["collecting"] - moving, phases["averaging"])


@contextmanager
def fleet(task: str) -> Iterator[list[RoundCart]]:
    """Run a bridge and carts that are ready, until the block ends."""
    with tempfile.TemporaryDirectory() as folder, bridge_process() as (_, port):
        carts = [RoundCart(port, task, Path(folder) / str(number)) for number in range(CARTS)]
        try:
            for cart in carts:
                cart.wait_for(is_ready)
            yield carts
        finally:
            for cart in carts:
                cart.process.terminate()
            for cart in carts:
                cart.process.wait()


def one_collects(carts: list[RoundCart]) -> list[Timing]:
    """Let the first cart collect from all others, each of which has just got a new version."""
    for cart in carts:
        cart.use(collects_from(CARTS - 1) if cart is carts[0] else NO_PEERS)
    for cart in carts[1:]:
        cart.start_round()
    for cart in carts[1:]:
        cart.ended_round()
    return timed(carts[:1], CARTS - 1)


def all_collect(carts: list[RoundCart]) -> list[Timing]:
    """Let all carts collect at the same time, from 3 peers each."""
    for cart in carts:
        cart.use(collects_from(3))
    return timed(carts, 3)


def timed(carts: list[RoundCart], peers: int) -> list[Timing]:
    """Start a round of each of these carts, and return the timing of each."""
    # The first cart has the models of all others already: it begins last, when these have new ones.
    for cart in reversed(carts):
        cart.start_round()
    return [timing_of(cart.ended_round(), cart.ask("GET", "/api/status")["transfers"], peers) for cart in carts]


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
