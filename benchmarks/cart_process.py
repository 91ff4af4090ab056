"""A whole cart as a process of its own, and its API, for benchmarks that measure carts."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import ROOT, free_port

NO_BRIDGE: Final = "ws://127.0.0.1:9"
"""The address of a bridge that does not exist."""
PATIENCE_S: Final = 180.0
SAMPLE_EVERY_S: Final = 0.1
ANSWER_S: Final = 60.0
TRUSTING: Final = ssl._create_unverified_context()  # noqa: S323 - the cart is the script's own


def connect_to_pages(port: int, tls: bool, patience_s: float, source: str = "127.0.0.1") -> http.client.HTTPConnection:
    """Return a connection to a cart's pages, still closed. It trusts any certificate: the cart is the script's own."""
    if not tls:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=patience_s, source_address=(source, 0))
    return http.client.HTTPSConnection(
        "127.0.0.1", port, timeout=patience_s, source_address=(source, 0), context=TRUSTING
    )


class MeasuredCart:
    """A cart that starts when this object is made, and stops when its ``with`` block ends.

    Args:
        folder: its data folder.
        flags: further flags of ``child_cart/main.py``.
        bridge: the address of its bridge.
        tls: whether the flags give it a certificate.
    """

    def __init__(self, folder: Path, *flags: str, bridge: str = NO_BRIDGE, tls: bool = False) -> None:
        self.port = free_port()
        self._tls = tls
        self._token = folder / "api-token"
        command = [sys.executable, str(ROOT / "child_cart/main.py"), "--bridge", bridge, "--port", str(self.port)]
        command += ["--data-dir", str(folder), "--log-level", "ERROR", *flags]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        # A new cart prints the password that it has generated; this would stand in the middle of a table.
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)

    def fetch(self, method: str, path: str, body: object = None) -> bytes:
        """Return the cart's answer to a request on a new connection.

        Raises:
            OSError: if the cart does not answer.
            RuntimeError: if it answers with an error.
        """
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}", "Content-Type": "application/json"}
        connection = connect_to_pages(self.port, self._tls, ANSWER_S)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]!r}")
        return text

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Return the cart's answer as parsed JSON; raises as ``fetch`` does."""
        return json.loads(self.fetch(method, path, body))

    def status(self) -> dict[str, Any] | None:
        """Return the cart's status; None while it does not answer."""
        try:
            return dict(self.ask("GET", "/api/status"))
        except OSError:
            return None

    def wait_for(
        self, condition: Callable[[dict[str, Any]], bool], see: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        """Read the status repeatedly until a condition holds.

        Args:
            condition: what must hold of the status.
            see: is called with each status.

        Raises:
            TimeoutError: if the condition does not hold in time.
        """
        give_up_at = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_at:
            status = self.status()
            if status is not None:
                if see is not None:
                    see(status)
                if condition(status):
                    return
            time.sleep(SAMPLE_EVERY_S)
        raise TimeoutError(f"not within {PATIENCE_S:g} s: {self.status()}")

    def __enter__(self) -> MeasuredCart:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
