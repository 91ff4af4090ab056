"""Relay throughput: the bridge compared with a plain asyncio TCP relay, under the same raw-socket load in the same run.

Prints MB/s of both (medians of interleaved runs), the ratio with its extremes, and CPU seconds of the relaying process
per GB. Carts always seal what they send, but a bridge reads only a chunk's header: its work is the same for sealed and
unsealed bytes. So the load carries the 16 bytes of a seal and does not seal; transfer.py measures the cost of sealing
at the carts.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.machine import (
    add_loop_option,
    bridge_process,
    cpu_seconds,
    plain_relay_process,
    spread,
    transmission_s,
)
from benchmarks.plain_relay import PlainStream
from benchmarks.raw_cart import Stream

CHUNKS = tuple(kib * 1024 for kib in (16, 64, 128, 256, 512, 1024))
STREAMS = (1, 8)
WINDOW = 4 * 1024 * 1024


def run(
    kind: type[Stream] | type[PlainStream], port: int, process_id: int, chunk: int, streams: int, total: int
) -> tuple[float, float]:
    """Return MB/s and CPU seconds per GB of one run."""
    each = max(total // streams // chunk, 8) * chunk
    opened = [kind(port, chunk, each, WINDOW) for _ in range(streams)]
    used = cpu_seconds(process_id)
    seconds = transmission_s(opened)
    moved = each * streams
    return moved / seconds / 1e6, (cpu_seconds(process_id) - used) / (moved / 1e9)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200, help="megabytes to relay in a run")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each kind")
    add_loop_option(parser)
    options = parser.parse_args()
    total = options.megabytes * 1_000_000
    flags = ["--max-chunk-bytes", str(CHUNKS[-1]), "--max-window-bytes", str(WINDOW)]
    with (
        plain_relay_process() as (plain, plain_port),
        bridge_process(*flags, loop=options.loop) as (bridge, bridge_port),
    ):
        print("    chunk streams  TCP MB/s bridge MB/s  ratio (min..max)  TCP s/GB bridge s/GB")
        for chunk in CHUNKS:
            for streams in STREAMS:
                tcp, ours = [], []
                for _ in range(options.repeats):
                    tcp.append(run(PlainStream, plain_port, plain.pid, chunk, streams, total))
                    ours.append(run(Stream, bridge_port, bridge.pid, chunk, streams, total))
                (tcp_rate, tcp_cpu), (our_rate, our_cpu) = (
                    [statistics.median(column) for column in zip(*runs, strict=True)] for runs in (tcp, ours)
                )
                ratios = [our / plain for (our, _), (plain, _) in zip(ours, tcp, strict=True)]
                print(
                    f"{chunk // 1024:>5} KiB {streams:>7} {tcp_rate:>9.0f} {our_rate:>11.0f} {spread(ratios, 2):>17} "
                    f"{tcp_cpu:>9.2f} {our_cpu:>11.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
