"""Open admin pages: what it costs that each of them requests the status once a second.

python benchmarks/watching.py [--seconds 6]
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import cpu_seconds

STATUS = json.dumps({"transfers": [{"transfer_id": f"{n:032x}", "state": "DONE", "moved_bytes": n} for n in range(80)]})
WATCHERS = (1, 8, 32, 64)
PATIENCE_S = 3.0


def serve() -> None:
    """Serve a page and a status on the cart's page server."""
    from flask import Flask, Response  # noqa: PLC0415 - the load does not import it

    from child_cart.api.serving.page_server import PageServer  # noqa: PLC0415

    application = Flask("watched")

    @application.get("/")
    def page() -> str:
        return "a page"

    @application.get("/status")
    def status() -> Response:
        return Response(STATUS, mimetype="application/json")

    with PageServer(application, "127.0.0.1", 0) as server:
        print(server.url.rstrip("/").rpartition(":")[2], flush=True)
        sys.stdin.read()


def watch(port: int, until: float, seen: list[int]) -> None:
    """Request the status once a second, as an open page does; append to ``seen`` for each answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        while time.monotonic() < until:
            connection.request("GET", "/status")
            connection.getresponse().read()
            seen.append(1)
            time.sleep(1)
    except OSError:
        pass


def measure(watchers: int, seconds: float) -> tuple[float, float, int, float, float]:
    """Return median and worst milliseconds of a page, number of failed pages, statuses per second, and CPU share."""
    command = [sys.executable, __file__, "--serve"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        until, seen = time.monotonic() + seconds, list[int]()
        threads = [threading.Thread(target=watch, args=(port, until, seen)) for _ in range(watchers)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        cpu, took, lost = cpu_seconds(process.pid), [], 0
        began = time.monotonic()
        while time.monotonic() < until:
            started = time.perf_counter()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
                connection.request("GET", "/")
                connection.getresponse().read()
                connection.close()
                took.append(1000 * (time.perf_counter() - started))
            except OSError:
                lost += 1
            time.sleep(0.05)
        share = (cpu_seconds(process.pid) - cpu) / (time.monotonic() - began)
        for thread in threads:
            thread.join()
    finally:
        process.kill()
        process.wait()
    took = sorted(took) or [float("nan")]
    return took[len(took) // 2], took[-1], lost, len(seen) / seconds, share


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long to measure each number of open pages")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    print(f"status of {len(STATUS)} bytes, {os.cpu_count()} cores")
    print("| open pages | page ms, median | of the first | page ms, worst | failed pages | statuses/s | CPU |")
    print("|---|---|---|---|---|---|---|")
    first = None
    for watchers in WATCHERS:
        median, worst, lost, rate, share = measure(watchers, options.seconds)
        first = first or median
        ratio = f"{median:.1f} | {median / first:.2f} | {worst:.1f}"
        print(f"| {watchers} | {ratio} | {lost} | {rate:.1f} | {100 * share:.1f} % |", flush=True)


if __name__ == "__main__":
    main()
