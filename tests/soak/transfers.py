"""Many transfers among carts through one bridge, over links that are cut, for as long as you like.

Run as ``python -m tests.soak.transfers --minutes 30``. Prints each minute what came and what memory bridge and carts
hold; ends with status 1 if a process grew or died, a transfer that had begun did not go on, or nothing came.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.networks.cutting_proxy import CuttingProxy, cutting_proxy
from support.processes.programs import ROOT, BridgeProcess

SAMPLE_S = 5.0
WARM_UP_SAMPLES = 24
FEWEST_SAMPLES = 12
MIB = 1024 * 1024
# Allocators keep what they once had: so much more at the end than after the beginning is no leak yet.
GROWTH_BYTES = 3 * MIB
GROWTH_SHARE = 0.05


def anonymous_bytes(process_id: int) -> int:
    """Return the memory that is a process's own; mapped files do not count."""
    status = Path(f"/proc/{process_id}/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    sys.exit(f"process {process_id} has died")


def growth_bytes(samples: list[int]) -> int | None:
    """Return how much more the last third holds than the first third after a warm-up, by their medians.

    None if too little comes after the warm-up.
    """
    steady = samples[max(len(samples) // 4, WARM_UP_SAMPLES) :]
    third = len(steady) // 3
    if third < FEWEST_SAMPLES:
        return None
    return int(statistics.median(steady[-third:]) - statistics.median(steady[:third]))


def has_grown(samples: list[int]) -> bool:
    """Whether the growth is more than an allocator explains."""
    return (growth_bytes(samples) or 0) > max(GROWTH_BYTES, GROWTH_SHARE * statistics.median(samples))


@dataclass
class Watched:
    """A process, its memory so far, and the last that it said."""

    name: str
    process_id: int
    samples: list[int] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=lambda: {"done": 0, "bytes": 0, "failed": {}})

    def sample(self) -> None:
        self.samples.append(anonymous_bytes(self.process_id))

    @property
    def mebibytes(self) -> float:
        """The median of the last minute."""
        return statistics.median(self.samples[-int(60 / SAMPLE_S) :]) / MIB


@asynccontextmanager
async def running_cart(number: int, url: str, folder: Path, options: argparse.Namespace) -> AsyncIterator[Watched]:
    """Run a cart as a process until the block ends."""
    words = ["--url", url, "--folder", str(folder), "--model-bytes", str(options.model_bytes)]
    words += ["--pause-s", str(options.pause_s), "--seed", str(number)]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.soak.cart", *words), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    watched = Watched(f"cart {number}", process.pid)

    async def listen() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            watched.counts = json.loads(line)

    listening = asyncio.create_task(listen())
    try:
        yield watched
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


def report(minute: int, all_watched: list[Watched], proxy: CuttingProxy) -> None:
    """Print a line of the table."""
    bridge, *carts = all_watched
    failed: Counter[str] = Counter()
    for cart in carts:
        failed.update(cart.counts["failed"])
    done = sum(cart.counts["done"] for cart in carts)
    gigabytes = sum(cart.counts["bytes"] for cart in carts) / 1e9
    held = " ".join(f"{cart.mebibytes:6.1f}" for cart in carts)
    print(
        f"{minute:6d} {done:9d} {gigabytes:8.2f} {proxy.resets:7d} {proxy.silences:8d} {bridge.mebibytes:7.1f} {held}"
    )
    if failed:
        print(" " * 7 + "ended otherwise: " + ", ".join(f"{count} {code}" for code, count in failed.most_common()))
    sys.stdout.flush()


async def watch(options: argparse.Namespace, all_watched: list[Watched], proxy: CuttingProxy) -> None:
    """Sample and report until the time is over."""
    print("minute transfers gigabyte  resets silences  bridge  carts (MiB of their own memory)", flush=True)
    started_at = time.monotonic()
    minute = 0
    while (passed_s := time.monotonic() - started_at) < options.minutes * 60:
        await asyncio.sleep(SAMPLE_S)
        for watched in all_watched:
            watched.sample()
        if passed_s + SAMPLE_S >= (minute + 1) * 60:
            minute += 1
            report(minute, all_watched, proxy)


async def soak(options: argparse.Namespace) -> int:
    """Run all processes, and end them also when this one is ended; return the exit status."""
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        bridge = BridgeProcess(folder)
        bridge.start()
        stack.callback(bridge.stop)
        proxy = await stack.enter_async_context(cutting_proxy(bridge.port, 2 * options.bytes_between_cuts))
        proxy.cuts_left = sys.maxsize
        all_watched = [Watched("bridge", bridge.process.pid)]
        for number in range(options.carts):
            cart = running_cart(number, proxy.url, folder / f"cart{number}", options)
            all_watched.append(await stack.enter_async_context(cart))
        await watch(options, all_watched, proxy)
        print(f"the bridge at the end: {json.dumps(bridge.health())}")
    return judge(all_watched)


def judge(all_watched: list[Watched]) -> int:
    """Print how it ended; return the exit status."""
    faults = [f"{watched.name} has grown" for watched in all_watched if has_grown(watched.samples)]
    if not any(watched.counts["done"] for watched in all_watched):
        faults.append("no transfer came to its end")
    lost = sum(
        count for watched in all_watched for code, count in watched.counts["failed"].items() if code.endswith("middle")
    )
    if lost:
        faults.append(f"{lost} transfers that had begun did not go on")
    for watched in all_watched:
        growth = growth_bytes(watched.samples)
        words = "too short to tell" if growth is None else f"{growth / MIB:+.2f} MiB from the first third to the last"
        print(f"{watched.name}: {words}")
    print("; ".join(faults) if faults else "no fault")
    return 1 if faults else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--carts", type=int, default=6)
    parser.add_argument("--model-bytes", type=int, default=3_000_000)
    parser.add_argument("--bytes-between-cuts", type=int, default=15_000_000, help="on the average, per link")
    parser.add_argument("--pause-s", type=float, default=0.5, help="between two collections of a cart, on the average")
    try:
        status = asyncio.run(soak(parser.parse_args()))
    except asyncio.CancelledError:
        status = 128 + signal.SIGTERM
    sys.exit(status)
