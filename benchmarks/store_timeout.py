"""How long a shopper waits at most for a store that does not answer: the longest of some check-outs at once.

Runs a whole cart on each store, and takes the store away: a replica set loses its majority, a server stops in the
middle (SIGSTOP), another program writes to the SQLite file and does not end. Each check-out must be answered with 503
within ``--store-timeout-s``; the last column is the longest wait as a multiple of it. Without a ``mongod`` (the wheel
of ``requirements-dev.txt``) there is only the row for SQLite.
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cart_process import MeasuredCart
from tests.support.processes.mongod import Mongod, replica_set_of_one, set_majority, why_not

CODE = "0200000000103"


def check_out(cart: MeasuredCart, sale_id: str) -> tuple[float, str]:
    """Check out; return the seconds until the answer, and its status."""
    bill = {"sale_id": sale_id, "gender": 0, "lines": [{"code": CODE, "amount": 1}]}
    started = time.perf_counter()
    try:
        cart.ask("POST", "/api/checkout", bill)
        status = "201"
    except RuntimeError as error:
        status = str(error).split(": ")[1][:3]
    return time.perf_counter() - started, status


@contextmanager
def without_majority(server: Mongod) -> Iterator[None]:
    """Take the majority of a replica set away while the block runs."""
    set_majority(server, there=False)
    yield
    set_majority(server, there=True)


@contextmanager
def stopped(server: Mongod) -> Iterator[None]:
    """Stop a server while the block runs."""
    os.kill(server.process.pid, signal.SIGSTOP)
    yield
    os.kill(server.process.pid, signal.SIGCONT)


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Write to an SQLite file while the block runs."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield
    connection.close()


def measure(
    name: str, store: str, folder: Path, away: AbstractContextManager[None], timeout_s: float, shoppers: int
) -> None:
    """Print the row of one way to lose the store: twice as many check-outs as shoppers."""
    flags = ["--store", store, "--store-timeout-s", str(timeout_s), "--task", "benchmarks.light_model:Light1"]
    with MeasuredCart(folder, *flags, "--join-wait-s", "0") as cart:
        cart.wait_for(lambda status: bool(status.get("model")))
        check_out(cart, "before")
        with away, ThreadPoolExecutor(shoppers) as pool:
            answers = list(pool.map(lambda number: check_out(cart, f"sale {number}"), range(2 * shoppers)))
    refused = sum(status == "503" for _, status in answers)
    longest = max(seconds for seconds, _ in answers)
    print(f"{name:>32} {len(answers):>10} {refused:>6} {longest:>10.2f} {longest / timeout_s:>15.2f}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--timeout", type=float, default=2.0, help="the cart's --store-timeout-s")
    parser.add_argument("--shoppers", type=int, default=4, help="check-outs at once")
    given = parser.parse_args()
    limits = (given.timeout, given.shoppers)
    print(f"{given.shoppers} shoppers at once, --store-timeout-s {given.timeout:g}")
    print(f"{'store':>32} {'check-outs':>10} {'503':>6} {'longest s':>10} {'of the timeout':>15}")
    with tempfile.TemporaryDirectory(prefix="store-timeout-") as made, ExitStack() as stack:
        folder = Path(made)
        measure("SQLite, held by another program", "embedded", folder / "a", held(folder / "a/cart.db"), *limits)
        if why_not():
            print(f"MongoDB is not measured: {why_not()}")
            return
        server = stack.enter_context(replica_set_of_one(folder))
        for name, database, away in (
            ("MongoDB, no majority", "b", without_majority(server)),
            ("MongoDB, server stopped", "c", stopped(server)),
        ):
            measure(name, f"{server.url(database)}?replicaSet=shop", folder / database, away, *limits)


if __name__ == "__main__":
    main()
