"""Idle scale: what attached carts cost a bridge in memory, CPU, and time to form a cluster.

python benchmarks/idle.py [--carts 10000] [--rest 20] [--loop asyncio] [--tls]
"""

from __future__ import annotations

import argparse
import select
import ssl
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import add_loop_option, bridge_process, cpu_seconds, open_file_limit, resident_kb
from benchmarks.raw_cart import RawCart, client_frame
from tests.support.networks.certificates import Authority

CLUSTERS = 60  # a bridge allows a cart a burst of 128 requests
TARGET_KB = 25.0
PING = b"\x89\x00"


class Crowd:
    """Carts that only answer pings; a bridge drops a cart that does not."""

    def __init__(self, port: int, tls: ssl.SSLContext | None) -> None:
        self.carts: list[RawCart] = []
        self._port = port
        self._tls = tls
        self._ready = select.epoll()
        self._by_file: dict[int, RawCart] = {}

    def grow(self, goal: int) -> None:
        """Attach carts until their number is ``goal``."""
        while len(self.carts) < goal:
            cart = RawCart(self._port, "SHELL", tls=self._tls)
            self.carts.append(cart)
            self._by_file[cart.socket.fileno()] = cart
            self._ready.register(cart.socket, select.EPOLLIN)
            if len(self.carts) % 100 == 0:
                self.answer_for(0)

    def answer_for(self, seconds: float) -> None:
        """Answer pings for this time; at least once."""
        until = time.perf_counter() + seconds
        while True:
            for file, _ in self._ready.poll(max(0.0, until - time.perf_counter())):
                socket = self._by_file[file].socket
                socket.sendall(client_frame(10, b"") * socket.recv(65536).count(PING))
            if time.perf_counter() >= until:
                return


def cluster_ms(carts: list[RawCart]) -> float:
    """Return the median milliseconds from CLUSTER to PEERLIST, requested by a cart that becomes KERNEL."""
    asking = carts[-1]
    asking.say("PEERTYPE", role="KERNEL", model_version=1)
    seen = []
    for _ in range(CLUSTERS):
        started = time.perf_counter()
        asking.say("CLUSTER", request="01" * 16, size=3, minimum=3)
        assert asking.hear()["type"] == "PEERLIST"
        seen.append(1000 * (time.perf_counter() - started))
    asking.say("PEERTYPE", role="SHELL", model_version=1)
    return statistics.median(seen)


def certificate(folder: Path) -> list[str]:
    """Make a certificate for the bridge; return the bridge's flags for it."""
    made, key = Authority(folder).vouch()
    return ["--tls-cert", made, "--tls-key", key]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--carts", type=int, default=10_000, help="carts to attach")
    parser.add_argument("--rest", type=int, default=20, help="seconds to watch the bridge at rest")
    parser.add_argument("--tls", action="store_true", help="connect over wss://, served by the bridge itself")
    add_loop_option(parser)
    options = parser.parse_args()
    files = open_file_limit()
    most = min(options.carts, files - 200)
    if most < options.carts:
        print(f"This system allows a process {files} open files, so only {most} carts attach.")
    trusting = ssl._create_unverified_context() if options.tls else None  # noqa: S323 - the bridge is this script's own
    with (
        TemporaryDirectory() as folder,
        bridge_process(
            "--max-carts", str(most), *(certificate(Path(folder)) if options.tls else ()), loop=options.loop
        ) as (bridge, port),
    ):
        empty_kb = resident_kb(bridge.pid)
        print(f"  carts  KB each  of {TARGET_KB:g} KB  attaches/s  cluster ms  of the first  CPU at rest")
        crowd = Crowd(port, trusting)
        first_ms = 0.0
        for goal in (10, most // 10, most):
            started, before = time.perf_counter(), len(crowd.carts)
            crowd.grow(goal)
            rate = (goal - before) / (time.perf_counter() - started)
            taken_ms = cluster_ms(crowd.carts)
            first_ms = first_ms or taken_ms
            used, started = cpu_seconds(bridge.pid), time.perf_counter()
            crowd.answer_for(options.rest if goal == most else 2)
            share = (cpu_seconds(bridge.pid) - used) / (time.perf_counter() - started)
            each_kb = (resident_kb(bridge.pid) - empty_kb) / goal
            print(
                f"{goal:>7} {each_kb:>8.1f} {each_kb / TARGET_KB:>9.2f} {rate:>11.0f} {taken_ms:>11.2f} "
                f"{taken_ms / first_ms:>13.2f} {share:>12.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
