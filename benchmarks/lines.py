"""Transfers over the lines of small sites: two carts behind NAT, each on its own line, and a bridge between them.

The lines are network namespaces with a delay, losses and 500 KB/s in each direction. The kernel's netem makes them; a
process does where the kernel has no netem. So this needs root, on Linux. The same bytes go through a plain asyncio TCP
relay over the same lines, alternately. Prints KB/s of whole transfers, including request and slow start, the ratio with
its extremes, and the share of the line's rate, which a plain TCP stream does not fully reach either.
"""

from __future__ import annotations

import argparse
import socket
import statistics
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import bridge_process, plain_relay_process, spread
from benchmarks.network_cart import NetworkCart
from tests.support.networks.netlab import BRIDGE_ADDRESS, Lab, LabError, Line, lab, missing

BYTES_PER_S = 500_000.0
# The delay of one line in one direction; a round trip from cart to bridge is two of them, from cart to cart four.
LINES = [Line(delay_s, 0.0, BYTES_PER_S) for delay_s in (0.01, 0.05, 0.1, 0.2)]
LINES += [Line(delay_s, 0.02, BYTES_PER_S) for delay_s in (0.05, 0.1)]


def plain_rate(net: Lab, port: int, total_bytes: int) -> float:
    """Return bytes per second of one stream from site to site through the plain relay."""
    ends = []
    for site in net.sites:
        with site.cart.inside():
            ends.append(socket.create_connection((BRIDGE_ADDRESS, port)))
        time.sleep(0.5)  # the relay pairs them in this order
    giver, taker = ends
    started, received = time.perf_counter(), 0
    giving = threading.Thread(target=giver.sendall, args=(bytes(total_bytes),))
    giving.start()
    while received < total_bytes and (part := taker.recv(1 << 16)):
        received += len(part)
    seconds = time.perf_counter() - started
    giving.join()
    for end in ends:
        end.close()
    assert received == total_bytes, "the plain relay has closed the connection"
    return total_bytes / seconds


def measure(line: Line, model_bytes: int, repeats: int) -> None:
    """Print the row of one line."""
    with lab(2, line) as net, ExitStack() as running:
        with net.public.inside():
            _, plain_port = running.enter_context(plain_relay_process(BRIDGE_ADDRESS))
            _, port = running.enter_context(bridge_process("--host", BRIDGE_ADDRESS))
        carts = []
        for site in net.sites:
            with site.cart.inside():
                carts.append(running.enter_context(NetworkCart(port, model_bytes, BRIDGE_ADDRESS)))
        giver, taker = carts
        plain, ours = [], []
        for _ in range(repeats):
            plain.append(plain_rate(net, plain_port, model_bytes))
            seconds, moved = taker.fetch(giver.id, 1, 1)
            ours.append(moved / seconds)
        ratios = [our / tcp for our, tcp in zip(ours, plain, strict=True)]
        rate = statistics.median(ours)
        print(
            f"{line.delay_s * 2000:>13.0f} {line.loss:>6.0%} {statistics.median(plain) / 1e3:>9.0f} "
            f"{rate / 1e3:>10.0f} {spread(ratios, 2):>17} {rate / line.bytes_per_s:>12.0%}",
            flush=True,
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=10, help="size of a model")
    parser.add_argument("--repeats", type=int, default=1, help="runs over each line; one takes about 50 s")
    parser.add_argument("--lines", type=int, default=len(LINES), help="number of lines to measure, from the first on")
    options = parser.parse_args()
    try:
        if why_not := missing():
            raise LabError(why_not)
        print("round trip ms   loss  TCP KB/s  ours KB/s  ratio (min..max)  of the line")
        for line in LINES[: options.lines]:
            measure(line, options.megabytes * 1_000_000, options.repeats)
    except LabError as error:
        print(f"The remaining lines are not measured: {error}.")


if __name__ == "__main__":
    main()
