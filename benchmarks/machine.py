"""What benchmarks share: bridge and relay as processes, what a process uses, and statistics for a noisy machine."""

from __future__ import annotations

import argparse
import importlib
import math
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Protocol

from tests.support.processes.programs import free_port

ROOT: Final = Path(__file__).resolve().parent.parent
START_S: Final = 30.0
# Runs a program as if uvloop were not installed.
WITHOUT_UVLOOP: Final = (
    "import runpy, sys; sys.modules['uvloop'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


class Transmission(Protocol):
    """A load that goes through a relay from one end to the other."""

    def give(self) -> None:
        """Send everything."""

    def take(self) -> None:
        """Receive everything."""

    def close(self) -> None:
        """Close both ends."""


def cpu_seconds(process_id: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_kb(process_id: int) -> int:
    """Return the resident memory of a process, in KB."""
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def open_file_limit() -> int:
    """Raise this process's limit of open files as far as the system allows; return the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median of the runs with their extremes, as ``median (min..max)``."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: one of the values, which the given share (0 to 1) of them does not exceed."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def medians_s(works: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the median seconds of each work. The works take turns, so that noise affects all of them alike."""
    seen: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            seen[name].append(time.perf_counter() - started)
    return {name: statistics.median(values) for name, values in seen.items()}


def transmission_s(streams: Sequence[Transmission]) -> float:
    """Return how many seconds the streams take in parallel, each end in its own process; close them afterwards."""
    seconds = seconds_of([work for stream in streams for work in (stream.give, stream.take)])
    for stream in streams:
        stream.close()
    return seconds


def seconds_of(works: Sequence[Callable[[], object]]) -> float:
    """Return how long the works take in parallel, each in its own process.

    Raises:
        RuntimeError: if one of them fails.
    """
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=work) for work in works]
    started = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a part of the load failed; its error is printed above")
    return time.perf_counter() - started


def add_loop_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses the bridge's event loop."""
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="", help="the bridge's event loop")


@contextmanager
def bridge_process(*flags: str, loop: str = "") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a real bridge until the block ends; give its process and its port.

    Args:
        flags: flags of the bridge.
        loop: ``asyncio`` or ``uvloop``; empty for the bridge's own choice.

    Raises:
        ImportError: if uvloop is chosen and not installed.
    """
    port = free_port()
    python = [sys.executable, *(["-c", WITHOUT_UVLOOP] if loop == "asyncio" else [])]
    if loop == "uvloop":
        importlib.import_module("uvloop")
    command = [*python, str(ROOT / "parent_cart/main.py"), "--port", str(port), "--log-level", "ERROR", *flags]
    with _ended(subprocess.Popen(command)) as process:
        wait_for_port(port)
        yield process, port


@contextmanager
def plain_relay_process(host: str = "127.0.0.1") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run the plain TCP relay until the block ends; give its process and its port."""
    port = free_port()
    command = [sys.executable, str(ROOT / "benchmarks/plain_relay.py"), str(port), host]
    with _ended(subprocess.Popen(command)) as process:
        wait_for_port(port)
        yield process, port


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for_port(port: int) -> None:
    """Wait until a process listens on the port; raise ``TimeoutError`` after half a minute."""
    give_up_at = time.monotonic() + START_S
    while not any(f":{port:04X} 00000000:0000 0A " in line for line in _listening()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"no process listens on port {port} after {START_S:g} s")
        time.sleep(0.02)


def _listening() -> list[str]:
    # Read, not tried by connecting: the plain relay would pair that connection. thread-self is the thread's namespace.
    return Path("/proc/thread-self/net/tcp").read_text().splitlines()
