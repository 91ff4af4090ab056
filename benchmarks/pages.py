"""The pages of a cart: latency at rest and during training; what a browser loads, and how soon it paints.

python benchmarks/pages.py [--seconds 20] [--rows 100000]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.cart_process import MeasuredCart
from benchmarks.machine import percentile

BATCH_ROWS: Final = 10_000
ROUND_ROWS: Final = 5_000
PAUSE_S: Final = 0.01
ASKED: Final = ("/", "/api/status")
PAGES: Final = ("/", "/login", "/admin", "/admin/catalogue", "/admin/labels")
CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
LOOKS: Final = 3
PASSWORD: Final = "a password for benchmarks"  # noqa: S105 - of a cart that lives for a minute


@contextmanager
def running_cart() -> Iterator[MeasuredCart]:
    """Run a cart without a bridge that has learned its starter rows, until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        password = Path(folder) / "password"
        password.write_text(PASSWORD)
        flags = ["--admin-password-file", str(password), "--join-wait-s", "0", "--cluster-wait-s", "0"]
        flags += ["--dataset-size", "1000000", "--max-round-rows", "1000000"]
        with MeasuredCart(Path(folder) / "data", *flags) as cart:
            cart.wait_for(lambda status: status["stage"] == "SERVING")
            yield cart


def begin_to_train(cart: MeasuredCart, rows: int) -> None:
    """Let the cart train on these rows, a part in each round, one round after another."""
    from child_cart.model.shopping import purchases  # noqa: PLC0415 - imports NumPy

    for first in range(0, rows, BATCH_ROWS):
        batch = {"batch_id": f"batch-{first}", "rows": purchases(min(BATCH_ROWS, rows - first), seed=first)}
        cart.ask("POST", "/api/rows", batch)
    cart.ask("PUT", "/api/settings/dataset_size", {"value": 1})
    cart.ask("PUT", "/api/settings/max_round_rows", {"value": ROUND_ROWS})
    cart.wait_for(lambda status: status["stage"] == "TRAINING")


def latencies(cart: MeasuredCart, seconds: float) -> tuple[dict[str, list[float]], float]:
    """Return the milliseconds of each answer, and the share of statuses in which the cart trains."""
    took: dict[str, list[float]] = {path: [] for path in ASKED}
    stages: list[str] = []
    until = time.monotonic() + seconds
    for path in cycle(ASKED):
        began = time.perf_counter()
        text = cart.fetch("GET", path)
        took[path].append(1000 * (time.perf_counter() - began))
        if path == "/api/status":
            stages.append(json.loads(text)["stage"])
            if time.monotonic() > until:
                break
        time.sleep(PAUSE_S)
    return took, stages.count("TRAINING") / len(stages)


def print_latencies(when: str, cart: MeasuredCart, seconds: float) -> None:
    """Print a row for each address."""
    took, training = latencies(cart, seconds)
    for path, times in took.items():
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        print(
            f"| {when} ({100 * training:.0f} % of the time) | `{path}` | {len(times)} | {p50:.1f} | {p99:.1f} |",
            flush=True,
        )


def print_loads(cart: MeasuredCart) -> None:
    """Print the files, bytes and first paint of each page, in a browser with an empty cache."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the rest needs no browser

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        state = _logged_in(browser, cart)
        for address in PAGES:
            looks = [_look(browser, None if address == "/login" else state, cart, address) for _ in range(LOOKS)]
            paint = percentile([look["paint"] for look in looks], 0.5)
            print(f"| `{address}` | {looks[0]['files']} | {looks[0]['bytes'] / 1000:.0f} | {paint:.0f} |", flush=True)
        browser.close()


def _logged_in(browser: Any, cart: MeasuredCart) -> Any:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{cart.port}/login")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin")
    state = context.storage_state()
    context.close()
    return state


def _look(browser: Any, state: Any, cart: MeasuredCart, address: str) -> dict[str, float]:
    context = browser.new_context(storage_state=state)
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{cart.port}{address}", wait_until="networkidle" if address != "/admin" else "load")
    seen: dict[str, float] = page.evaluate(
        """async () => {
            await new Promise((painted) => {
                const observer = new PerformanceObserver((list) => {
                    if (list.getEntriesByName("first-contentful-paint").length) painted();
                });
                observer.observe({ type: "paint", buffered: true });
            });
            const loaded = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
            const bytes = loaded.reduce((sum, one) => sum + one.transferSize, 0);
            const paint = performance.getEntriesByName("first-contentful-paint")[0].startTime;
            return { files: loaded.length, bytes, paint };
        }"""
    )
    context.close()
    return seen


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to measure latencies, each time")
    parser.add_argument("--rows", type=int, default=100_000, help="rows to train on")
    options = parser.parse_args()
    with running_cart() as cart:
        if Path(CHROMIUM).exists():
            print("| page | files | KB in all | first paint, ms |\n|---|---|---|---|")
            print_loads(cart)
        else:
            print(f"{CHROMIUM} does not exist: what a browser loads is not measured.")
        print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print("| training | address | answers | p50, ms | p99, ms |\n|---|---|---|---|---|")
        print_latencies("no", cart, options.seconds)
        begin_to_train(cart, options.rows)
        print_latencies("yes", cart, options.seconds)


if __name__ == "__main__":
    main()
