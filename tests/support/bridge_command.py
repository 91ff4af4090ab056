"""The bridge's command: a process that takes a free port and tells it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from support.processes import ROOT

MODULE = (sys.executable, "-m", "parent_cart")


class StartedBridge:
    """A bridge process and the port that it has told."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.ws = f"ws://127.0.0.1:{port}"

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def metric(self, name: str, *labels: str) -> float:
        """Return a metric, the sum of all its samples that have these labels' values."""
        families = text_string_to_metric_families(self.get("/metrics"))
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if not labels or tuple(sample.labels.values()) == labels)

    def stop(self, number: int) -> tuple[int, float, str]:
        """Signal it; return its exit status, the seconds that it took, and what it wrote meanwhile."""
        began = time.monotonic()
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=10)
        return self.process.returncode, time.monotonic() - began, errors


@contextmanager
def started(
    *flags: str, command: tuple[str, ...] = MODULE, cwd: Path = ROOT, **environ: str
) -> Iterator[StartedBridge]:
    """Run a bridge until the block ends."""
    process = subprocess.Popen(
        [*command, "--port", "0", *flags], cwd=cwd, env=os.environ | environ, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if found := re.search(r"bridge is at wss?://[\d.]+:(\d+) ", line):
                yield StartedBridge(process, int(found[1]))
                return
        raise AssertionError("the bridge has ended without telling its port")
    finally:
        process.kill()
        process.wait(10)
        process.stderr.close()
