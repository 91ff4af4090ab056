"""The bridge's command as a process: it listens on a free port and says which."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from support.processes.programs import ROOT, wait_for

MODULE = (sys.executable, "-m", "parent_cart")


class StartedBridge:
    """A bridge process, its log so far, and its port."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log
        self.port = 0

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def has_told(self) -> bool:
        """Return whether its log names its port; a process that ended before fails the test."""
        ended = self.process.poll() is not None
        found = re.search(r"bridge is at wss?://(?:[\d.]+|\[[0-9a-f:]+\]):(\d+) ", self.log)
        assert found or not ended, f"the bridge has ended before it named its port:\n{self.log}"
        self.port = int(found[1]) if found else 0
        return found is not None

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            text: str = answer.read().decode()
            return text

    def metric(self, name: str, *labels: str) -> float:
        """Return a metric, the sum of all its samples that have these labels' values."""
        families = text_string_to_metric_families(self.get("/metrics"))
        samples = [sample for family in families for sample in family.samples if sample.name == name]
        return sum(sample.value for sample in samples if not labels or tuple(sample.labels.values()) == labels)

    def stop(self, number: int) -> int:
        """Signal it and wait for its end; return its exit status."""
        self.process.send_signal(number)
        return self.process.wait(60)


@contextmanager
def started(
    *flags: str, command: tuple[str, ...] = MODULE, cwd: Path = ROOT, **environ: str
) -> Iterator[StartedBridge]:
    """Run a bridge until the block ends."""
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(
            [*command, "--port", "0", *flags], cwd=cwd, env=os.environ | environ, stderr=log, stdout=log
        )
        try:
            bridge = StartedBridge(process, Path(log.name))
            wait_for(bridge.has_told, 30, "the bridge naming its port")
            yield bridge
        finally:
            process.kill()
            process.wait(10)
