"""A fleet in two networks: they are cut apart, each half goes on, and they are joined again."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from ..processes.fleet import FleetBridge, FleetCart, let_know_all, let_meet
from ..processes.programs import HELD, free_port, givers, running, wait_for
from . import netlab

BRIDGES_A_HALF = CARTS_A_HALF = 2
ROWS = 20


class HalfBridge(FleetBridge):
    """A bridge in one of the networks."""

    def __init__(self, folder: Path, home: netlab.Namespace, host: str, dht_port: int, bootstrap: str) -> None:
        self._home = home
        super().__init__(folder, dht_port, bootstrap, "--heartbeat-s", "2", host=host)

    def start(self) -> None:
        with self._home.inside():
            super().start()

    def look(self, path: str) -> Any:
        with self._home.inside():
            return super().look(path)


class HalfCart(FleetCart):
    """A cart in one of the networks."""

    def __init__(self, folder: Path, home: netlab.Namespace, bridge_url: str) -> None:
        self._home = home
        quick = ("--heartbeat-s", "2", "--connect-timeout-s", "3", "--answer-timeout-s", "5")
        most = ("--cluster-size", str(2 * CARTS_A_HALF - 1), "--min-peers", "1", "--cluster-wait-s", "120")
        super().__init__(folder, bridge_url, ROWS, *quick, *most)

    def start(self) -> None:
        with self._home.inside():
            super().start()

    def get(self, path: str) -> Any:
        with self._home.inside():
            return super().get(path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        with self._home.inside():
            return super().post(path, body)

    def put(self, path: str, body: dict[str, Any]) -> Any:
        with self._home.inside():
            return super().put(path, body)

    def run_round(self, min_peers: int) -> int:
        """Run a round with at least ``min_peers`` peers; return how many models came."""
        self.put("/api/settings/min_peers", {"value": min_peers})
        before = self.rounds_ended()
        self.feed()
        wait_for(lambda: self.rounds_ended() > before and self.is_ready(), 180, "a round ending")
        record = self.rounds()[0]
        assert record["outcome"] in HELD, record
        return len(givers(record))


def run_network_split(folder: Path) -> None:
    """Cut a fleet in two and join it again; raises ``AssertionError`` where it does not go on as it should."""
    all_others = 2 * CARTS_A_HALF - 1
    with netlab.halves() as net:
        homes = list(zip((net.left, net.right), net.addresses, strict=True))
        ports = [free_port(socket.SOCK_DGRAM) for _ in range(BRIDGES_A_HALF)]
        met_first = ",".join(f"{address}:{ports[0]}" for address in net.addresses)
        sides = [
            [
                HalfBridge(folder / f"{home.name}{place}", home, address, port, met_first)
                for place, port in enumerate(ports)
            ]
            for home, address in homes
        ]
        carts = [
            [HalfCart(folder / f"cart{home.name}{place}", home, side[0].url) for place in range(CARTS_A_HALF)]
            for (home, _), side in zip(homes, sides, strict=True)
        ]
        all_bridges = [bridge for side in sides for bridge in side]
        all_carts = [cart for half in carts for cart in half]
        with running(*all_bridges):
            let_meet(all_bridges)
            with running(*all_carts):
                let_know_all(all_carts, all_bridges)
                assert carts[0][0].run_round(all_others) == all_others
                net.cut()
                for half in carts:
                    assert half[0].run_round(1) == CARTS_A_HALF - 1
                for side in sides:
                    let_meet(side, 180)  # each half has given the other up
                for half in carts:
                    assert half[1].run_round(1) == CARTS_A_HALF - 1
                net.join()
                let_meet(all_bridges, 180)
                for half in carts:
                    assert half[0].run_round(all_others) == all_others
