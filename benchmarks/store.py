"""The store on both backends: checkouts per second, their 99th percentile, and a cart's start, as history grows.

Prints a table with a row per backend and size of history (sales kept and rows waiting before the measurement). The last
columns are sales per second and query time with the larger history, as multiples of those with the smaller one.
Without a ``mongod`` (the wheel of ``requirements-dev.txt``) there is no row for MongoDB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cart_process import MeasuredCart
from benchmarks.machine import percentile, resident_kb
from cart_common.process.json_values import Json
from child_cart.db.migration import parts_of
from child_cart.db.ownership import open_store
from child_cart.db.records import BillLine, ModelVersion, Origin, Sale, SourcedRow
from child_cart.db.store import Store
from tests.support.processes.mongod import Mongod, why_not

LINES = tuple(BillLine(f"02000000{place:05d}", "Rye bread", 1, 349, 2) for place in range(3))
SALE = Sale("", 1.75e9, "2026-05-01", 1, LINES, 2094)
ROW = {"month": 5, "gender": 1, "category": 3}
SHOPPERS = 4


def fill(store: Store, sold: int, waiting: int) -> None:
    """Create a history: sales, as many spent rows, and waiting rows."""
    for part in parts_of(range(sold), 10_000):
        store.load_sales([replace(SALE, sale_id=f"old {number}") for number in part])
        store.load_rows([SourcedRow(ROW)] * len(part))
    spent = ModelVersion(0, "none", Origin.LOCAL, "none.h5", "", "", 0.5, sold, 0, sold, 0.0)
    store.load_versions([spent])
    for part in parts_of(range(waiting), 10_000):
        store.load_rows([SourcedRow(ROW)] * len(part))


def check_outs(store: Store, seconds: float, label: str) -> tuple[float, float, float]:
    """Sell from several threads; return sales per second, median and 99th percentile in ms."""
    stop_at = time.perf_counter() + seconds
    taken: list[list[float]] = [[] for _ in range(SHOPPERS)]

    def sell(place: int) -> None:
        rows: list[Json] = [ROW] * len(LINES)
        while (started := time.perf_counter()) < stop_at:
            store.record_sale(replace(SALE, sale_id=f"{label} {place} {len(taken[place])}"), rows)
            taken[place].append(1000 * (time.perf_counter() - started))

    threads = [threading.Thread(target=sell, args=(place,)) for place in range(SHOPPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [each for part in taken for each in part]
    return len(every) / seconds, statistics.median(every), percentile(every, 0.99)


def queries_ms(store: Store) -> float:
    """Return the median milliseconds of the queries that a status page and the start of a round make."""
    taken = []
    for _ in range(9):
        started = time.perf_counter()
        store.waiting_count(), store.row_count(), store.sale_count(), store.rounds(1)
        store.waiting_rows(100), store.held_out_rows(200)
        taken.append(1000 * (time.perf_counter() - started))
    return statistics.median(taken)


def start_s(name: str, folder: Path) -> tuple[float, float]:
    """Start a cart on this store; return the seconds until its first page, and its resident memory in MB."""
    started = time.perf_counter()
    with MeasuredCart(folder, "--store", name) as cart:
        while True:
            try:
                cart.fetch("GET", "/")
                break
            except OSError:
                if cart.process.poll() is not None:
                    raise RuntimeError(f"the cart ended with status {cart.process.returncode}") from None
                time.sleep(0.005)
        return time.perf_counter() - started, resident_kb(cart.process.pid) * 1024 / 1e6


@contextmanager
def servers(folder: Path) -> Iterator[dict[str, str]]:
    """Give the store's name for each backend that can run here; ``SIZE`` in it stands for the size of its history."""
    with ExitStack() as stack:
        names = {"embedded": "embedded"}
        if why_not():
            print(f"MongoDB is not measured: {why_not()}")
        else:
            names["MongoDB"] = stack.enter_context(Mongod(folder)).url("cart_SIZE")
        yield names


def measure(name: str, folder: Path, sold: int, waiting: int, seconds: float) -> tuple[float, ...]:
    """Fill a store, measure it, and start a cart on it."""
    folder.mkdir()
    store = open_store(name, folder, 30.0)
    try:
        fill(store, sold, waiting)
        rate, median, p99 = check_outs(store, seconds, "new")
        asked = queries_ms(store)
        store.forget_model()  # a cart does not start on a version whose weights file does not exist
    finally:
        store.close()
    starts = [start_s(name, folder) for _ in range(3)]
    return rate, median, p99, asked, statistics.median(taken for taken, _ in starts), starts[0][1]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sold", type=int, default=100_000, help="sales at the larger size; a tenth at the smaller")
    parser.add_argument("--waiting", type=int, default=100_000, help="waiting rows, at the larger size")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long to sell, at each size")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="store-", dir=os.environ.get("TMPDIR")))
    print(
        f"{SHOPPERS} shoppers, {len(LINES)} lines and rows a sale; start: median of 3, from process start to first page"
    )
    print(
        f"{'backend':>9} {'sold':>10} {'waiting':>8} {'sales/s':>8} {'median ms':>10} {'p99 ms':>7} {'asking ms':>9}"
        f" {'start s':>8} {'MB':>6} {'of the smaller: sales/s':>24} {'asking':>7}"
    )
    try:
        smaller: dict[str, tuple[float, float]] = {}
        with servers(folder) as names:
            for size in (given.sold // 10, given.sold):
                waiting = given.waiting * size // given.sold
                for backend, name in names.items():
                    place = folder / f"{backend}-{size}"
                    rate, median, p99, asked, start, memory = measure(
                        name.replace("SIZE", str(size)), place, size, waiting, given.seconds
                    )
                    first_rate, first_asked = smaller.setdefault(backend, (rate, asked))
                    ratios = f"{rate / first_rate:>24.2f} {asked / first_asked:>7.2f}"
                    print(
                        f"{backend:>9} {size:>10,} {waiting:>8,} {rate:>8.0f} {median:>10.2f} {p99:>7.2f} {asked:>9.2f}"
                        f" {start:>8.2f} {memory:>6.0f} {ratios}",
                        flush=True,
                    )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
