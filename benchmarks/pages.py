"""The pages of a cart: how soon they come at rest and while it trains; what a browser loads, and how soon it paints.

python benchmarks/pages.py [--seconds 20] [--rows 100000]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import ROOT, free_port, percentile, wait_for_port

BATCH_ROWS: Final = 10_000
ROUND_ROWS: Final = 5_000
PAUSE_S: Final = 0.01
PATIENCE_S: Final = 180.0
ASKED: Final = ("/", "/api/status")
PAGES: Final = ("/", "/login", "/admin", "/admin/catalogue", "/admin/labels")
CHROMIUM: Final = "/usr/bin/chromium"
FLAGS: Final = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
LOOKS: Final = 3
PASSWORD: Final = "a password for benchmarks"  # noqa: S105 - of a cart that lives for a minute


class Cart:
    """A cart process without a bridge, and its API."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._token = folder / "data/api-token"
        (folder / "password").write_text(PASSWORD)
        command = [sys.executable, str(ROOT / "child_cart/main.py"), "--bridge", "ws://127.0.0.1:9"]
        command += ["--port", str(self.port), "--data-dir", str(folder / "data"), "--log-level", "ERROR"]
        command += ["--admin-password-file", str(folder / "password"), "--join-wait-s", "0", "--cluster-wait-s", "0"]
        command += ["--dataset-size", "1000000", "--max-round-rows", "1000000"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        wait_for_port(self.port)

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """Return what the cart answers, on a connection of its own; raises ``RuntimeError`` if it refuses."""
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}", "Content-Type": "application/json"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, None if body is None else json.dumps(body), headers)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return text

    def stage(self) -> str:
        """Return what the cart does now."""
        return str(json.loads(self.ask("GET", "/api/status"))["stage"])

    def wait_for(self, stage: str) -> None:
        """Wait until the cart does this."""
        give_up_at = time.monotonic() + PATIENCE_S
        while self.stage() != stage:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the cart was not {stage} within {PATIENCE_S:g} s")
            time.sleep(0.1)

    def begin_to_train(self, rows: int) -> None:
        """Let the cart train on so many rows, a part in each round, one round after another."""
        from child_cart.model.shopping import purchases  # noqa: PLC0415 - NumPy, for the rows alone

        for first in range(0, rows, BATCH_ROWS):
            batch = {"batch_id": f"batch-{first}", "rows": purchases(min(BATCH_ROWS, rows - first), seed=first)}
            self.ask("POST", "/api/rows", batch)
        self.ask("PUT", "/api/settings/dataset_size", {"value": 1})
        self.ask("PUT", "/api/settings/max_round_rows", {"value": ROUND_ROWS})
        self.wait_for("TRAINING")


@contextmanager
def running_cart() -> Iterator[Cart]:
    """Run a cart that has learned its starter rows, until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        cart = Cart(Path(folder))
        try:
            cart.wait_for("SERVING")
            yield cart
        finally:
            cart.process.terminate()
            cart.process.wait()


def latencies(cart: Cart, seconds: float) -> tuple[dict[str, list[float]], float]:
    """Return the milliseconds of each answer, and the share of statuses that said that the cart trains."""
    took: dict[str, list[float]] = {path: [] for path in ASKED}
    stages: list[str] = []
    until = time.monotonic() + seconds
    for path in cycle(ASKED):
        began = time.perf_counter()
        text = cart.ask("GET", path)
        took[path].append(1000 * (time.perf_counter() - began))
        if path == "/api/status":
            stages.append(json.loads(text)["stage"])
            if time.monotonic() > until:
                break
        time.sleep(PAUSE_S)
    return took, stages.count("TRAINING") / len(stages)


def print_latencies(when: str, cart: Cart, seconds: float) -> None:
    """Print a line for each address."""
    took, training = latencies(cart, seconds)
    for path, times in took.items():
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        print(
            f"| {when} ({100 * training:.0f} % of the time) | `{path}` | {len(times)} | {p50:.1f} | {p99:.1f} |",
            flush=True,
        )


def print_loads(cart: Cart) -> None:
    """Print what each page weighs and when it first paints, in a browser without memory."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - a browser is not needed for the rest

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        state = _logged_in(browser, cart)
        for address in PAGES:
            looks = [_look(browser, None if address == "/login" else state, cart, address) for _ in range(LOOKS)]
            paint = percentile([look["paint"] for look in looks], 0.5)
            print(f"| `{address}` | {looks[0]['files']} | {looks[0]['bytes'] / 1000:.0f} | {paint:.0f} |", flush=True)
        browser.close()


def _logged_in(browser: Any, cart: Cart) -> Any:
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"http://127.0.0.1:{cart.port}/login")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/admin")
    state = context.storage_state()
    context.close()
    return state


def _look(browser: Any, state: Any, cart: Cart, address: str) -> dict[str, float]:
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
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rows", type=int, default=100_000)
    options = parser.parse_args()
    with running_cart() as cart:
        if Path(CHROMIUM).exists():
            print("| page | files | KB in all | first paint, ms |\n|---|---|---|---|")
            print_loads(cart)
        else:
            print(f"There is no {CHROMIUM}: what a browser loads is left out.")
        print(f"\n{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        print("| training | address | answers | p50, ms | p99, ms |\n|---|---|---|---|---|")
        print_latencies("no", cart, options.seconds)
        cart.begin_to_train(options.rows)
        print_latencies("yes", cart, options.seconds)


if __name__ == "__main__":
    main()
