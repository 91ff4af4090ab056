"""Kill a cart, its trainer or its mongod with SIGKILL at random instants under load; prove that nothing was lost.

``python -m tests.soak.kills --kills 100 --seed 1``: half of the kills on each backend.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from child_cart.db.ownership import open_store
from tests.soak.load import Load
from tests.soak.proof import prove
from tests.support.processes.mongod import Mongod, why_not
from tests.support.processes.programs import BridgeProcess, CartProcess, running, wait_for

STARTER = 20
SIZE = 40
PROVE_EVERY = 10
LONGEST_LIFE_S = 4.0


@dataclass
class Report:
    """What a run did."""

    backend: str
    kills: Counter[str] = field(default_factory=Counter)
    stages: Counter[str] = field(default_factory=Counter)
    sales: int = 0
    rows: int = 0
    spent: int = 0
    versions: int = 0
    tries: int = 0
    proofs: int = 0

    def __str__(self) -> str:
        killed = ", ".join(f"{count} of the {name}" for name, count in sorted(self.kills.items()))
        stages = ", ".join(f"{count} {name}" for name, count in self.stages.most_common())
        return (
            f"{self.backend}: {self.kills.total()} kills ({killed}; the cart was {stages}). {self.sales} sales "
            f"confirmed in {self.tries} tries, each kept once; {self.rows} rows, {self.spent} spent once in "
            f"{self.versions} versions, the others waiting. Proved {self.proofs} times."
        )


class Kills:
    """One cart under load on one backend, a peer and a bridge."""

    def __init__(self, backend: str, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._draw = random.Random(seed)
        # Each kind once before chance decides: a short run has them all.
        self._due = ["cart", "trainer", *(["mongod"] if backend == "mongodb" else [])]
        self._draw.shuffle(self._due)
        self._mongod = Mongod(folder) if backend == "mongodb" else None
        self._bridge = BridgeProcess(folder)
        quick = ["--cluster-size", "1", "--cluster-wait-s", "2", "--accept-backward", "100", "--accept-forward", "100"]
        quick += [
            "--task",
            "tests.soak.sold_task:SoldTask",
            "--starter-rows",
            str(STARTER),
            "--dataset-size",
            str(SIZE),
        ]
        self._store_name = self._mongod.url("cart") if self._mongod else "embedded"
        own = ["--store", self._store_name, "--store-timeout-s", "1"]
        slow = {"LIGHT_TASK_EPOCH_S": "0.02", "LIGHT_TASK_PREDICT_S": "0.02"}
        self._cart = CartProcess(folder / "cart", self._bridge.url, *quick, *own, **slow)
        self._peer = CartProcess(folder / "peer", self._bridge.url, *quick)
        self._load = Load(self._cart, seed)
        self.report = Report(backend)

    def run(self, kills: int) -> Report:
        """Kill this often, then let it settle; raise ``AssertionError`` for whatever was lost."""
        with ExitStack() as stack:
            if self._mongod:
                stack.enter_context(self._mongod)
            stack.enter_context(running(self._bridge, self._peer, self._cart))
            self._load.start()
            for number in range(1, kills + 1):
                self._let_live()
                self._kill_something()
                if number % PROVE_EVERY == 0:
                    self._prove_while_down()
            self._let_serve()
            self._load.finish()
            self._prove_while_down(final=True)
        return self.report

    def _let_live(self) -> None:
        """Wait for a random while: half of the times from the process's first moment, else from when it serves."""
        if self._draw.random() < 0.5:
            with suppress(AssertionError):  # its store may be away, as told
                wait_for(lambda: self._cart.status().get("stage") == "SERVING", 10)
        time.sleep(self._draw.uniform(0, LONGEST_LIFE_S))

    def _kill_something(self) -> None:
        kinds, weights = ["cart", "trainer", "mongod"], [6, 2, 2 if self._mongod else 0]
        victim = self._due[-1] if self._due else self._draw.choices(kinds, weights)[0]
        if victim == "trainer" and self._due:
            wait_for(lambda: self._cart.status().get("trainer_process"), 60, "a trainer to kill")
        status = self._cart.status()
        trainer = status.get("trainer_process")
        if victim == "trainer" and not trainer:
            victim = "cart"
        if victim in self._due:
            self._due.remove(victim)
        self.report.kills[victim] += 1
        self.report.stages[str(status.get("stage", "STARTING UP OR WITHOUT STORE")).lower()] += 1
        if victim == "trainer":
            with suppress(ProcessLookupError):
                os.kill(trainer, signal.SIGKILL)
        elif victim == "mongod" and self._mongod:
            self._mongod.kill()
            time.sleep(self._draw.choice([0, 0, 1.5]))
            self._mongod.start()
        elif self._cart.process.poll() is None:
            self._cart.kill()
        if self._cart.process.poll() is not None:
            self._cart.start()

    def _let_serve(self) -> None:
        def serves() -> bool:
            if self._cart.process.poll() is not None:
                self._cart.start()
            status = self._cart.status()
            return status.get("stage") == "SERVING" and status["store"]["answers"]

        wait_for(serves, 60, "the cart serving again")

    def _prove_while_down(self, final: bool = False) -> None:
        """Look into the store with the cart killed: what is confirmed by then must be there."""
        if self._cart.process.poll() is None:
            self._cart.kill()
        sales, batches = dict(self._load.sales), dict(self._load.batches)
        store = open_store(self._store_name, self._cart.data, 5.0)
        try:
            prove(store, self._cart.data / "models", sales, batches, STARTER)
            assert self._load.refused == []
            newest = store.current_version()
            self.report.sales, self.report.rows = len(sales), store.row_count()
            self.report.spent = newest.trained_to if newest else 0
            self.report.versions = newest.number + 1 if newest else 0
            self.report.tries = self._load.tries
            self.report.proofs += 1
            if final:
                assert store.sale_count() == len(sales)
                assert set(store.batch_ids()) == batches.keys()
        finally:
            store.close()
        if not final:
            self._cart.start()


def main() -> None:
    """Run and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--backends", default="embedded,mongodb")
    parser.add_argument("--folder", type=Path, help="keep logs and data here")
    given = parser.parse_args()
    backends = given.backends.split(",")
    if "mongodb" in backends and why_not():
        sys.exit(f"MongoDB cannot be tested: {why_not()}")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="kills-"))
    print(f"seed {given.seed}, in {folder}")
    for backend in backends:
        print(Kills(backend, folder / backend, given.seed).run(-(-given.kills // len(backends))), flush=True)


if __name__ == "__main__":
    main()
