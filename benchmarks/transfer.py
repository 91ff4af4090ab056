"""Whole transfers from cart to cart: the real network side of two carts, each in its own process, and a real bridge.

The figures include request, signed offer, sealing and opening of chunks, digest, credit, and the file at the receiver.
They are compared, in the same run, with a plain asyncio TCP relay between raw sockets, without framing, checks and
encryption. Prints MB/s (medians of interleaved runs), the ratio with its extremes, and CPU seconds per GB of each
process.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import bridge_process, cpu_seconds, plain_relay_process, spread, transmission_s
from benchmarks.network_cart import NetworkCart
from benchmarks.plain_relay import PlainStream
from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES

TARGET = 0.5
STREAMS = (1, 8)


def plain_rate(port: int, streams: int, total_bytes: int) -> float:
    """Return MB/s through the plain relay."""
    each = total_bytes // streams // DEFAULT_CHUNK_BYTES * DEFAULT_CHUNK_BYTES
    opened = [PlainStream(port, DEFAULT_CHUNK_BYTES, each, 0) for _ in range(streams)]
    return each * streams / transmission_s(opened) / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=25, help="size of a model")
    parser.add_argument("--models", type=int, default=16, help="models in a run, over all streams")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind")
    options = parser.parse_args()
    size = options.megabytes * 1_000_000
    with (
        plain_relay_process() as (_, plain_port),
        bridge_process() as (bridge, port),
        NetworkCart(port, size) as giver,
        NetworkCart(port, size) as taker,
    ):
        watched = {"bridge": bridge.pid, "giver": giver.process_id, "taker": taker.process_id}
        taker.fetch(giver.id, 1, 1)
        print("streams  TCP MB/s  ours MB/s  ratio (min..max)  target   CPU s/GB: bridge  giver  taker")
        for streams in STREAMS:
            tcp, ours, moved_bytes = [], [], 0
            used = dict.fromkeys(watched, 0.0)
            for _ in range(options.repeats):
                times = max(options.models // streams, 1)
                tcp.append(plain_rate(plain_port, streams, times * streams * size))
                before = {name: cpu_seconds(process_id) for name, process_id in watched.items()}
                seconds, moved = taker.fetch(giver.id, streams, times)
                for name, process_id in watched.items():
                    used[name] += cpu_seconds(process_id) - before[name]
                moved_bytes += moved
                ours.append(moved / seconds / 1e6)
            ratios = [our / plain for our, plain in zip(ours, tcp, strict=True)]
            per_gb = {name: seconds / (moved_bytes / 1e9) for name, seconds in used.items()}
            print(
                f"{streams:>7} {statistics.median(tcp):>9.0f} {statistics.median(ours):>10.0f} {spread(ratios, 2):>17} "
                f"{'>= ' + str(TARGET):>7} {per_gb['bridge']:>18.2f} {per_gb['giver']:>6.2f} {per_gb['taker']:>6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
