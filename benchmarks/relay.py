"""Relay throughput: the bridge beside a plain asyncio TCP relay, with the same raw-socket load in the same run.

Prints MB/s of both (medians of interleaved runs), their ratio, and CPU seconds of the relaying process per GB.

    python benchmarks/relay.py [--megabytes 200] [--repeats 5]
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.raw_cart import Stream

ROOT = Path(__file__).resolve().parent.parent
CHUNKS = (16 * 1024, 64 * 1024, 256 * 1024, 1000 * 1024)
STREAMS = (1, 8)
WINDOW = 4 * 1024 * 1024


class PlainRelay(asyncio.Protocol):
    """Whatever comes from the first connection of a pair goes to the second: no framing, no checks."""

    waiting: PlainRelay | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Pair up."""
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.other: PlainRelay | None = PlainRelay.waiting
        if self.other is None:
            PlainRelay.waiting = self
        else:
            self.other.other, PlainRelay.waiting = self, None

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nobody that is gone."""
        if PlainRelay.waiting is self:
            PlainRelay.waiting = None

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        if self.other is not None:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        """Let the sender wait for a slow receiver."""
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Let the sender go on."""
        if self.other is not None:
            self.other.transport.resume_reading()


async def serve_plain(port: int) -> None:
    """Run the plain relay."""
    server = await asyncio.get_running_loop().create_server(PlainRelay, "127.0.0.1", port)
    await server.serve_forever()


class PlainStream:
    """The same load for the plain relay."""

    def __init__(self, port: int, chunk_bytes: int, total_bytes: int, _: int) -> None:
        self.chunk_bytes, self.total_bytes = chunk_bytes, total_bytes
        self.taker = socket.create_connection(("127.0.0.1", port))
        time.sleep(0.02)
        self.giver = socket.create_connection(("127.0.0.1", port))

    def give(self) -> None:
        """Send all."""
        frame = bytes(self.chunk_bytes)
        for _ in range(self.total_bytes // self.chunk_bytes):
            self.giver.sendall(frame)

    def take(self) -> None:
        """Read all."""
        buffer, received = bytearray(1 << 20), 0
        while received < self.total_bytes:
            received += self.taker.recv_into(buffer)

    def close(self) -> None:
        """Close both ends."""
        self.taker.close()
        self.giver.close()


def cpu_seconds(process_id: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(
    kind: type[Stream] | type[PlainStream], port: int, process_id: int, chunk: int, streams: int, total: int
) -> tuple[float, float]:
    """Return MB/s and CPU seconds per GB of one run."""
    each = max(total // streams // chunk, 8) * chunk
    opened = [kind(port, chunk, each, WINDOW) for _ in range(streams)]
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=work) for stream in opened for work in (stream.give, stream.take)]
    used, started = cpu_seconds(process_id), time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    seconds = time.perf_counter() - started
    for stream in opened:
        stream.close()
    moved = each * streams
    return moved / seconds / 1e6, (cpu_seconds(process_id) - used) / (moved / 1e9)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    """Wait until somebody listens on a port."""
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"nobody listens on port {port}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--serve-plain", type=int)
    options = parser.parse_args()
    if options.serve_plain:
        asyncio.run(serve_plain(options.serve_plain))
        return
    plain_port, bridge_port = free_port(), free_port()
    flags = ["--port", str(bridge_port), "--max-chunk-bytes", str(CHUNKS[-1]), "--max-window-bytes", str(WINDOW)]
    plain = subprocess.Popen([sys.executable, __file__, "--serve-plain", str(plain_port)])
    bridge = subprocess.Popen([sys.executable, ROOT / "parent_cart/main.py", *flags, "--log-level", "ERROR"])
    try:
        wait_for(plain_port)
        wait_for(bridge_port)
        print("    chunk streams  TCP MB/s bridge MB/s  ratio  TCP s/GB bridge s/GB")
        for chunk in CHUNKS:
            for streams in STREAMS:
                total = options.megabytes * 1_000_000
                seen: dict[str, list[tuple[float, float]]] = {"plain": [], "bridge": []}
                for _ in range(options.repeats):
                    seen["plain"].append(run(PlainStream, plain_port, plain.pid, chunk, streams, total))
                    seen["bridge"].append(run(Stream, bridge_port, bridge.pid, chunk, streams, total))
                (tcp, tcp_cpu), (ours, our_cpu) = (
                    (statistics.median(rate for rate, _ in runs), statistics.median(cpu for _, cpu in runs))
                    for runs in (seen["plain"], seen["bridge"])
                )
                print(
                    f"{chunk // 1024:>5} KiB {streams:>7} {tcp:>9.0f} {ours:>11.0f} {ours / tcp:>6.2f} "
                    f"{tcp_cpu:>9.2f} {our_cpu:>11.2f}",
                    flush=True,
                )
    finally:
        plain.terminate()
        bridge.terminate()


if __name__ == "__main__":
    main()
