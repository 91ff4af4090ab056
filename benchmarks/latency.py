"""How long a small control message takes through the bridge, idle and while bulk transfers run.

One sample is a round trip between two carts, two passes through the bridge: MODELREQUEST there, a refusal (CANCEL)
back. Runs alternate with the same bytes through a plain asyncio TCP relay under plain bulk; this shows how much of the
latency is the machine's own. The bulk runs at full speed, but its carts run at the lowest priority (``--nice``):
normally they are other machines, and a probe must not wait for a core that they use. In the last row the cart that is
asked also receives a model, so that requests must overtake chunks on its link. TCP has no such row, because each of
its streams has its own connection. Prints milliseconds over all runs, and p99 as a multiple of the idle p99 of the same
run.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import socket
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import bridge_process, percentile, plain_relay_process, spread
from benchmarks.plain_relay import PlainStream
from benchmarks.raw_cart import UNSIGNED, RawCart, Stream, client_frame
from cart_common.wire.chunk import NEAR_CHUNK_BYTES
from parent_cart.bridge.rules import Limits

CHUNK = NEAR_CHUNK_BYTES  # carts near their bridge put the highest load on it
WINDOW = Limits().max_window_bytes
ENDLESS = 10**12
PAUSE_S = 0.001
SETTLE_S = 0.3
REQUEST_BYTES = 560
# A bridge limits the rate at which a cart requests models, but allows a burst of 128.
REQUESTS_EACH = 100
TARGET = 4.0

Probe = Callable[[], object]


def answer(cart: RawCart, stream: Stream | None) -> None:
    """Refuse every request and take the chunks of a stream, until the process ends."""
    reader = cart.socket.makefile("rb", 1 << 18)
    received = granted = 0
    while True:
        if stream is not None and granted - received <= WINDOW // 2:
            granted = received + WINDOW
            cart.say("CREDIT", transfer=stream.id, up_to_bytes=granted)
        opcode, size = reader.read(2)
        size = struct.unpack("!H", reader.read(2))[0] if size == 126 else size
        size = struct.unpack("!Q", reader.read(8))[0] if size == 127 else size
        payload = reader.read(size)
        if opcode & 15 == 2:
            received += CHUNK
        elif opcode & 15 == 9:
            cart.socket.sendall(client_frame(10, payload))
        elif (message := json.loads(payload))["type"] == "MODELREQUEST":
            cart.say("CANCEL", transfer=message["transfer"], code="NO_MODEL", sentence="Only a benchmark.")


def echo(connection: socket.socket) -> None:
    """Send back all data, until the connection closes."""
    while data := connection.recv(4096):
        connection.sendall(data)


def at_priority(work: Probe, nice: int) -> Probe:
    """Return the work, at a priority that is lower by ``nice``."""

    def run() -> None:
        os.nice(nice)
        work()

    return run


@contextmanager
def in_background(answering: Probe, bulk: list[Probe], nice: int) -> Iterator[None]:
    """Run the works, each in its own process, until the block ends."""
    fork = multiprocessing.get_context("fork")
    works = [answering, *(at_priority(work, nice) for work in bulk)]
    workers = [fork.Process(target=work, daemon=True) for work in works]
    for worker in workers:
        worker.start()
    try:
        time.sleep(SETTLE_S)
        if not all(worker.is_alive() for worker in workers):
            raise RuntimeError("a part of the load failed; its error is printed above")
        yield
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def samples_ms(probe: Probe, count: int) -> list[float]:
    """Return the milliseconds of ``count`` round trips."""
    seen = []
    for _ in range(count):
        time.sleep(PAUSE_S)
        started = time.perf_counter()
        probe()
        seen.append(1000 * (time.perf_counter() - started))
    return seen


def through_plain(port: int, streams: int, count: int, nice: int) -> list[float]:
    """Measure the plain relay while this many bulk streams run."""
    pair = PlainStream(port, CHUNK, 0, 0)
    bulk = [PlainStream(port, CHUNK, ENDLESS, 0) for _ in range(streams)]
    request = bytes(REQUEST_BYTES)

    def probe() -> None:
        pair.giver.sendall(request)
        missing = REQUEST_BYTES
        while missing:
            missing -= len(pair.giver.recv(missing))

    try:
        works: list[Probe] = [work for stream in bulk for work in (stream.give, stream.take)]
        with in_background(lambda: echo(pair.taker), works, nice):
            return samples_ms(probe, count)
    finally:
        for stream in [pair, *bulk]:
            stream.close()


def through_bridge(port: int, streams: int, same_link: bool, count: int, nice: int) -> list[float]:
    """Measure the bridge while this many bulk transfers run, one of them to the asked cart if ``same_link``."""
    bulk = [Stream(port, CHUNK, ENDLESS // CHUNK * CHUNK, WINDOW) for _ in range(streams)]
    asked = bulk[0].taker if same_link else RawCart(port, "SHELL")
    askers = [RawCart(port, "KERNEL") for _ in range(-(-count // REQUESTS_EACH))]
    clusters = {}
    for asking in askers:
        asking.say("CLUSTER", request="01" * 16, size=256, minimum=1)
        cluster = asking.hear()
        assert asked.id in cluster["peers"], cluster
        clusters[asking] = cluster["cluster"]
    turns = itertools.cycle(askers)

    def probe() -> None:
        asking = next(turns)
        body = {"source": asking.id, "destination": asked.id, "cluster": clusters[asking], "max_chunk_bytes": CHUNK}
        asking.say("MODELREQUEST", transfer=os.urandom(16).hex(), **body, **UNSIGNED)
        refusal = asking.hear()
        assert refusal["type"] == "CANCEL", refusal
        assert refusal["code"] == "NO_MODEL", refusal

    try:
        works: list[Probe] = [stream.give for stream in bulk]
        works += [stream.take for stream in (bulk[1:] if same_link else bulk)]
        with in_background(lambda: answer(asked, bulk[0] if same_link else None), works, nice):
            return samples_ms(probe, count)
    finally:
        for stream in bulk:
            stream.close()
        for cart in [asked, *askers]:
            cart.socket.close()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=1000, help="round trips in a run")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind")
    parser.add_argument("--nice", type=int, default=19, help="niceness of the bulk's processes (default: 19)")
    options = parser.parse_args()
    count = options.messages
    loads = {"idle": (0, False), "1 stream": (1, False), "8 streams": (8, False), "8, one on the link": (8, True)}
    tcp: dict[str, list[list[float]]] = {name: [] for name in loads}
    ours: dict[str, list[list[float]]] = {name: [] for name in loads}
    with plain_relay_process() as (_, plain_port), bridge_process() as (_, port):
        for _ in range(options.repeats):
            for name, (streams, same_link) in loads.items():
                if not same_link:
                    tcp[name].append(through_plain(plain_port, streams, count, options.nice))
                ours[name].append(through_bridge(port, streams, same_link, count, options.nice))
    print(f"{'bulk':<20} {'TCP p50':>8} {'p99':>6} {'of idle p99':>18} {'ours p50':>9} {'p99':>6} {'of idle p99':>18}")
    for name in loads:
        print(f"{name:<20} {columns(tcp[name], tcp['idle'], 8)} {columns(ours[name], ours['idle'], 9)}")
    print(f"target: ours below {TARGET:g} times its idle p99 while bulk transfers run")


def columns(runs: list[list[float]], idle: list[list[float]], width: int) -> str:
    """Return p50, p99 and the ratio of p99 to the idle one, as columns."""
    if not runs:
        return f"{'-':>{width}} {'-':>6} {'-':>18}"
    ratios = [percentile(run, 0.99) / percentile(calm, 0.99) for run, calm in zip(runs, idle, strict=True)]
    every = [sample for run in runs for sample in run]
    return f"{statistics.median(every):>{width}.2f} {percentile(every, 0.99):>6.2f} {spread(ratios, 1):>18}"


if __name__ == "__main__":
    main()
