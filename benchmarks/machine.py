"""What benchmarks share: the bridge as a process, what a process uses, and figures that a noisy machine leaves true."""

from __future__ import annotations

import argparse
import importlib
import math
import multiprocessing
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
START_S: Final = 30.0
# Runs a program as if uvloop were not installed.
WITHOUT_UVLOOP: Final = (
    "import runpy, sys; sys.modules['uvloop'] = None; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median of runs with their extremes, as ``median (min..max)``."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}..{max(values):.{digits}f})"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share (0 to 1) of all values does not pass: the nearest rank, never between two."""
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def seconds_of(works: Sequence[Callable[[], object]]) -> float:
    """Return how long these take at the same time, each in a process of its own.

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
        raise RuntimeError("a part of the load failed; what it says is above")
    return time.perf_counter() - started


def add_loop_option(parser: argparse.ArgumentParser) -> None:
    """Let whoever runs a benchmark choose the bridge's event loop."""
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="", help="the bridge's event loop")


@contextmanager
def bridge_process(*flags: str, loop: str = "") -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run a real bridge until the block ends; gives its process and its port.

    Args:
        flags: of the bridge.
        loop: ``asyncio`` or ``uvloop``; empty for what the bridge chooses.

    Raises:
        ImportError: if it is to be uvloop, which is not installed.
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
    """Run the plain TCP relay until the block ends; gives its process and its port."""
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
    """Wait until somebody listens on the port; raises ``TimeoutError`` after half a minute."""
    give_up_at = time.monotonic() + START_S
    while not any(f":{port:04X} 00000000:0000 0A " in line for line in _listening()):
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"nobody listens on port {port} after {START_S:g} s")
        time.sleep(0.02)


def _listening() -> list[str]:
    # Looked up, not tried: a connection would be paired up by the plain relay. In the thread's own namespace.
    return Path("/proc/thread-self/net/tcp").read_text().splitlines()
