"""The bridge's memory while many transfers run to receivers that cannot keep up.

Each receiver grants all the credit that the bridge allows, and then reads slowly, or not at all, through a small socket
buffer, as over a mobile link. What the sender has sent and the receiver has not read waits in the bridge or in the
kernel's socket buffers. Prints, for models of several sizes, how far the bridge's resident memory (RSS) rises above
that of the idle bridge with all carts attached: at its peak, and after the carts have left.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import bridge_process, resident_kb
from benchmarks.raw_cart import Stream

CHUNK = 256 * 1024
WINDOW = 4 * 1024 * 1024
RECEIVE_BUFFER = 64 * 1024
SAMPLE_S = 0.05
TARGET_MB = 100.0


@dataclass(frozen=True)
class Receivers:
    """One row of the table: how fast receivers read, and the size of the models that they receive."""

    name: str
    bytes_per_s: float
    megabytes: int


def load(port: int, receivers: Receivers, count: int, attached: Event, go: Event) -> None:
    """Attach pairs of carts, wait for ``go``, and transfer everything; stalled receivers never end."""
    size = receivers.megabytes * 1_000_000 // CHUNK * CHUNK
    streams = [Stream(port, CHUNK, size, WINDOW, RECEIVE_BUFFER) for _ in range(count)]
    attached.set()
    go.wait()
    threads = []
    for stream in streams:
        threads.append(threading.Thread(target=stream.give, daemon=True))
        threads.append(threading.Thread(target=taking(stream, receivers.bytes_per_s), daemon=True))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def taking(stream: Stream, bytes_per_s: float) -> Callable[[], object]:
    """Return the work of a receiver."""
    if bytes_per_s:
        return lambda: stream.take(bytes_per_s)

    def stall() -> None:
        stream.taker.say("CREDIT", transfer=stream.id, up_to_bytes=WINDOW)
        threading.Event().wait()

    return stall


def kernel_mb() -> float:
    """Return the memory of all TCP sockets of this machine, in MB."""
    lines = Path("/proc/net/sockstat").read_text().splitlines()
    words = next(line for line in lines if line.startswith("TCP:")).split()
    return int(words[words.index("mem") + 1]) * 4096 / 1e6


def row(receivers: Receivers, count: int, seconds: float) -> str:
    """Run one load against a new bridge and return the table's row."""
    fork = multiprocessing.get_context("fork")
    with bridge_process() as (bridge, port):
        attached, go = fork.Event(), fork.Event()
        worker = fork.Process(target=load, args=(port, receivers, count, attached, go))
        worker.start()
        if not attached.wait(60):
            raise RuntimeError("the carts did not attach; their errors are printed above")
        idle_kb, idle_kernel = resident_kb(bridge.pid), kernel_mb()
        most_kb, most_kernel, started = idle_kb, idle_kernel, time.perf_counter()
        go.set()
        while worker.is_alive() and time.perf_counter() - started < seconds:
            most_kb, most_kernel = max(most_kb, resident_kb(bridge.pid)), max(most_kernel, kernel_mb())
            worker.join(SAMPLE_S)
        ran = time.perf_counter() - started
        if worker.is_alive():
            worker.terminate()
            worker.join()
        elif worker.exitcode:
            raise RuntimeError("the load failed; its error is printed above")
        time.sleep(1.0)
        over_mb, left_mb = ((kb - idle_kb) * 1024 / 1e6 for kb in (most_kb, resident_kb(bridge.pid)))
    return (
        f"{receivers.name:<22} {receivers.megabytes:>5} MB {ran:>6.0f} s {idle_kb * 1024 / 1e6:>8.1f} "
        f"{over_mb:>9.1f} {over_mb / TARGET_MB:>13.2f} {left_mb:>9.1f} {most_kernel - idle_kernel:>11.1f}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transfers", type=int, default=64, help="transfers at the same time")
    parser.add_argument(
        "--megabytes", type=int, default=25, help="size of a model; a second load has four times this size"
    )
    parser.add_argument("--rate", type=int, default=500, help="how fast a slow receiver reads, in KB per second")
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure, at most")
    options = parser.parse_args()
    size = options.megabytes
    print(f"{options.transfers} transfers, windows of {WINDOW // 1024} KiB; MB of memory")
    print("receivers               model  watched     idle  over idle  of the target      left  in sockets")
    for receivers, seconds in (
        (Receivers(f"read {options.rate} KB/s", options.rate * 1000, size), options.seconds),
        (Receivers(f"read {options.rate} KB/s", options.rate * 1000, 4 * size), options.seconds / 4),
        (Receivers("read nothing", 0, size), options.seconds / 8),
    ):
        print(row(receivers, options.transfers, seconds), flush=True)


if __name__ == "__main__":
    main()
