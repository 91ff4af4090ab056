"""Admin pages that are open: what polling each second costs beside server-sent events, on the threads of the pages.

python benchmarks/watching.py [--seconds 6]
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import cpu_seconds

STATUS = json.dumps({"transfers": [{"transfer_id": f"{n:032x}", "state": "DONE", "moved_bytes": n} for n in range(80)]})
WATCHERS = (1, 4, 7, 8, 32)
PATIENCE_S = 3.0


def serve() -> None:
    """Serve a page, a status, and the same status as a stream of events, as a cart's pages are served."""
    from flask import Flask, Response  # noqa: PLC0415 - the load imports none of it

    from child_cart.api.server import PageServer  # noqa: PLC0415

    logging.getLogger("waitress").setLevel(logging.ERROR)  # how long its queue is, is measured
    application = Flask("watched")

    @application.get("/")
    def page() -> str:
        return "a page"

    @application.get("/status")
    def status() -> Response:
        return Response(STATUS, mimetype="application/json")

    @application.get("/events")
    def events() -> Response:
        def stream() -> Iterator[str]:
            while True:
                yield f"data: {STATUS}\n\n"
                time.sleep(1)

        return Response(stream(), mimetype="text/event-stream")

    with PageServer(application, "127.0.0.1", 0) as server:
        print(server.url.rstrip("/").rpartition(":")[2], flush=True)
        sys.stdin.read()


def watch(port: int, way: str, until: float, seen: list[int]) -> None:
    """Watch as one open page does; counts the statuses that came."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        if way == "events":
            connection.request("GET", "/events")
            answer = connection.getresponse()
            while time.monotonic() < until and answer.readline():
                answer.readline()
                seen.append(1)
        while time.monotonic() < until:
            connection.request("GET", "/status")
            connection.getresponse().read()
            seen.append(1)
            time.sleep(1)
    except OSError:
        pass


def measure(way: str, watchers: int, seconds: float) -> tuple[float, float, int, float, float]:
    """Return median and worst milliseconds of a page, pages that did not come, statuses a second, and CPU share."""
    command = [sys.executable, __file__, "--serve"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline())
        until, seen = time.monotonic() + seconds, list[int]()
        threads = [threading.Thread(target=watch, args=(port, way, until, seen)) for _ in range(watchers)]
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
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return
    print(f"status of {len(STATUS)} bytes, {os.cpu_count()} cores")
    print("| open pages | way | page ms, median | page ms, worst | pages that did not come | statuses/s | CPU |")
    print("|---|---|---|---|---|---|---|")
    for watchers in WATCHERS:
        seen = {way: measure(way, watchers, options.seconds) for way in ("polling", "events")}
        for way, (median, worst, lost, rate, share) in seen.items():
            print(f"| {watchers} | {way} | {median:.1f} | {worst:.1f} | {lost} | {rate:.1f} | {100 * share:.1f} % |")
        median, worst, _, rate, share = (
            polling / events if events else float("nan") for polling, events in zip(*seen.values(), strict=True)
        )
        print(f"| {watchers} | ratio | {median:.2f} | {worst:.2f} | | {rate:.2f} | {share:.2f} |", flush=True)


if __name__ == "__main__":
    main()
