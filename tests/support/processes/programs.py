"""Real bridges and carts as processes, for tests that kill them."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
LIGHT_TASK = "tests.support.carts.light_task:LightTask"
CAME = ("ACCEPTED", "LEFT_OUT", "KNOWN_ALREADY")
"""Reasons of verdicts on models that came whole and are well; which of them a mix takes is not the line's doing."""
HELD = ("AGGREGATED", "KEPT_OWN")
"""Outcomes of rounds in which models came and were mixed, whether or not the mix was better than the own model."""


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a port that is free.

    It lies below the ports that the system gives to outgoing connections: one of these could take it before its program
    listens.
    """
    for port in random.sample(range(12_000, 32_000), 1000):
        with socket.socket(socket.AF_INET, kind) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class RestartableProcess:
    """A process that can be killed and started again."""

    def __init__(self, arguments: list[str], log: Path, **environment: str) -> None:
        self._arguments = [sys.executable, *arguments]
        self._log = log
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        self.cwd = ROOT
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        with open(self._log, "ab") as log:
            self.process = subprocess.Popen(
                self._arguments, cwd=self.cwd, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self, within_s: float = 10.0) -> int:
        """End it as an operator would."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(within_s)

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")


class BridgeProcess(RestartableProcess):
    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        super().__init__(["parent_cart/main.py", "--port", str(self.port), *arguments], folder / "bridge.log")

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def health(self) -> dict[str, Any]:
        return get(f"http://127.0.0.1:{self.port}/healthz")

    def answers(self) -> bool:
        """Return whether it is up."""
        with suppress(OSError):
            return bool(self.health())
        return False


class CartProcess(RestartableProcess):
    def __init__(self, folder: Path, bridge_url: str, *arguments: str, **environment: str) -> None:
        self.port = free_port()
        self.data = folder
        folder.mkdir(parents=True, exist_ok=True)
        given = ["--bridge", bridge_url, "--port", str(self.port), "--data-dir", str(folder), "--task", LIGHT_TASK]
        quick = ["--reconnect-first-s", "0.05", "--reconnect-cap-s", "0.3", "--join-wait-s", "1"]
        quick += ["--give-again-s", "0"]  # rounds follow each other within a second, also where peers learn nothing new
        super().__init__(["child_cart/main.py", *given, *quick, *arguments], folder.with_suffix(".log"), **environment)

    def get(self, path: str) -> Any:
        return ask("GET", self._address(path), token=self.token)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        return ask("POST", self._address(path), body, self.token)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        return ask("PUT", self._address(path), body, self.token)

    def _address(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    @property
    def token(self) -> str:
        """The token for programs; empty before the cart's first start."""
        path = self.data / "api-token"
        return path.read_text().strip() if path.exists() else ""

    def status(self) -> dict[str, Any]:
        """Return its status; empty while it does not answer."""
        try:
            return dict(self.get("/api/status"))
        except OSError:
            return {}


def get(url: str) -> Any:
    return ask("GET", url)


def ask(method: str, url: str, body: dict[str, Any] | None = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json"} if body is not None else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def wait_for(condition: Callable[[], Any], timeout_s: float = 90.0, what: str = "condition") -> Any:
    """Wait until a condition is true and return its value."""
    give_up_at = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > give_up_at:
            raise AssertionError(f"{what} did not come true within {timeout_s} s")
        time.sleep(0.03)
    return found


@contextmanager
def running(*programs: RestartableProcess) -> Iterator[None]:
    """Run programs until the block ends, also after a failure."""
    try:
        for program in programs:
            program.start()
        yield
    except BaseException:
        for program in programs:
            print(f"--- {program._log.name}\n{program.log[-4000:]}")
        raise
    finally:
        for program in programs:
            if program.process.poll() is None:
                program.kill()


def givers(record: dict[str, Any]) -> list[str]:
    """Return the peers whose models came whole in a round, from its record."""
    return [verdict["peer"] for verdict in record["verdicts"] if verdict["reason"] in CAME and verdict["payload_bytes"]]


def process_ids_below(parent: int) -> list[int]:
    """Return the ids of a process's children."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(word) for word in children.read_text().split()] if children.exists() else []


def is_stopped(process_id: int) -> bool:
    """Return whether every thread of a process has been stopped by SIGSTOP."""
    threads = Path(f"/proc/{process_id}/task").iterdir()
    return all("\nState:\tT" in (thread / "status").read_text() for thread in threads)


def is_running(process_id: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process_id}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
