"""A fleet of real processes: bridges that find each other, and carts that each start with one of them."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..carts.light_task import points
from .programs import BridgeProcess, CartProcess, RestartableProcess, free_port, get, wait_for

ALL_ACCEPTED = ("--accept-backward", "100", "--accept-forward", "100")


class FleetBridge(BridgeProcess):
    """A bridge of a fleet; it keeps its key and its neighbours over restarts."""

    def __init__(self, folder: Path, dht_port: int, bootstrap: str, *arguments: str, host: str = "127.0.0.1") -> None:
        folder.mkdir(parents=True)
        self.host = host
        self.dht_port = dht_port
        own = ["--host", host, "--dht-port", str(dht_port), "--bootstrap", bootstrap]
        super().__init__(folder, *own, "--data-dir", str(folder / "data"), *arguments)

    @property
    def url(self) -> str:
        return f"ws://{self.host}:{self.port}"

    def health(self) -> dict[str, Any]:
        return dict(self.look("/healthz"))

    def look(self, path: str) -> Any:
        """Return the JSON at one of its paths."""
        return get(f"http://{self.host}:{self.port}{path}")

    def neighbours(self) -> set[str]:
        """Return the addresses of the bridges that it knows to be live; none while it does not answer."""
        try:
            listed = self.look("/bridge/neighbours")["neighbours"]
        except OSError:
            return set()
        return {entry["url"] for entry in listed}

    def carts(self) -> int:
        """Return how many carts are attached."""
        return int(self.health()["carts"])


class FleetCart(CartProcess):
    """A cart that tests feed with rows, and whose rounds they read."""

    def __init__(self, folder: Path, bridge_url: str, dataset_size: int, *arguments: str, **environment: str) -> None:
        self.dataset_size = dataset_size
        self._batches = 0
        small = ["--starter-rows", "20", "--dataset-size", str(dataset_size)]
        super().__init__(folder, bridge_url, *small, *ALL_ACCEPTED, *arguments, **environment)

    def feed(self) -> None:
        """Send rows for one round."""
        self._batches += 1
        body = {"batch_id": f"batch-{self._batches}", "rows": points(self.dataset_size, seed=self._batches)}
        wait_for(lambda: self._sent(body), what="rows being taken")

    def try_to_feed(self) -> None:
        """Send rows for one round, if it takes them now."""
        self._batches += 1
        name = f"batch-{self._batches}"
        self._sent({"batch_id": name, "rows": points(self.dataset_size, seed=self._batches)})

    def _sent(self, body: dict[str, Any]) -> bool:
        try:
            self.post("/api/rows", body)
        except OSError:
            return False
        return True

    def attached_to(self) -> str:
        """Return the address of the bridge that it is attached to, or nothing."""
        link = self.status().get("link", {})
        return str(link["url"]) if link.get("state") == "ATTACHED" else ""

    def is_ready(self) -> bool:
        """Whether it serves, and has no rows left to train on."""
        status = self.status()
        return status.get("stage") == "SERVING" and status["rows"]["waiting"] < self.dataset_size

    def rounds_ended(self) -> int:
        return int(self.status().get("rounds_ended", 0))

    def known_bridges(self) -> set[str]:
        return {bridge["url"] for bridge in self.status().get("bridges", [])}

    def rounds(self) -> list[dict[str, Any]]:
        return list(self.get("/api/rounds?limit=200")["rounds"])


class Fleet:
    """Bridges and carts.

    Args:
        folder: for their data and logs.
        bridges: how many.
        carts: how many; each starts with the next bridge in turn.
        dataset_size: rows that start a round.
        arguments: of each cart.
        environment: of each cart.
    """

    def __init__(
        self, folder: Path, bridges: int, carts: int, dataset_size: int, *arguments: str, **environment: str
    ) -> None:
        ports = [free_port(socket.SOCK_DGRAM) for _ in range(bridges)]
        bootstrap = ",".join(f"127.0.0.1:{port}" for port in ports)
        self.bridges = [FleetBridge(folder / f"bridge{place}", port, bootstrap) for place, port in enumerate(ports)]
        self.carts = [
            FleetCart(
                folder / f"cart{place}", self.bridges[place % bridges].url, dataset_size, *arguments, **environment
            )
            for place in range(carts)
        ]

    @property
    def programs(self) -> list[RestartableProcess]:
        return [*self.bridges, *self.carts]

    def let_bridges_meet(self) -> None:
        """Wait until each bridge knows all others."""
        let_meet(self.bridges)

    def let_carts_know_all(self) -> None:
        """Wait until each cart is attached, serves, and knows all bridges."""
        let_know_all(self.carts, self.bridges)

    def outcomes(self) -> Counter[str]:
        """Count the rounds of all carts by outcome; one that still runs is RUNNING."""
        return Counter(record["outcome"] or "RUNNING" for cart in self.carts for record in cart.rounds())


def let_meet(bridges: Sequence[FleetBridge], timeout_s: float = 120.0) -> None:
    """Wait until each of these bridges knows exactly the others."""
    urls = {bridge.url for bridge in bridges}
    for bridge in bridges:
        wait_for(lambda bridge=bridge: bridge.neighbours() == urls - {bridge.url}, timeout_s, "bridges meeting")


def let_know_all(carts: Sequence[FleetCart], bridges: Sequence[FleetBridge]) -> None:
    """Wait until each of these carts is attached, serves, and knows the bridges."""
    urls = {bridge.url for bridge in bridges}
    for cart in carts:
        wait_for(lambda cart=cart: cart.attached_to() and cart.is_ready(), what="a cart being ready")
        wait_for(lambda cart=cart: cart.known_bridges() >= urls, what="a cart knowing all bridges")
