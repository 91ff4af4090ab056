"""Bridges as processes find each other by their settings alone, and show whom they know."""

from __future__ import annotations

import json
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from support.bridges.command import StartedBridge, started
from support.processes.programs import free_port, wait_for

from cart_common.process.settings import SettingError
from cart_common.wire.fleet_key import Secret, as_text, bridge_token, new_key
from parent_cart.config import BridgeSettings, check


def neighbours(bridge: StartedBridge) -> dict[str, dict[str, Any]]:
    """Return what a bridge shows of others, by their addresses."""
    return {entry["url"]: entry for entry in json.loads(bridge.get("/bridge/neighbours"))["neighbours"]}


def test_three_bridges_meet_and_part(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(as_text(bridge_token(new_key()), Secret.BRIDGE_TOKEN))
    token = ("--token-file", str(tmp_path / "token"))
    ports = [str(free_port(socket.SOCK_DGRAM)) for _ in range(3)]
    peers = ",".join(f"127.0.0.1:{port}" for port in ports)

    def flags(number: int) -> list[str]:
        folder = tmp_path / f"kept{number}"
        return [*token, "--dht-port", ports[number], "--bootstrap", peers, "--data-dir", str(folder)]

    with started(*flags(0)) as first, started(*flags(1), "--public-url", "wss://second.example") as second:
        with started(*flags(2)) as third:
            wait_for(lambda: len(neighbours(first)) == len(neighbours(second)) == len(neighbours(third)) == 2, 60)
            shown = neighbours(first)["wss://second.example"]
            assert (shown["carts"], shown["max_carts"]) == (0, 10_000)
            assert shown["bridge_id"] in second.get("/")
            assert f"ws://127.0.0.1:{third.port}" in neighbours(first)
            assert first.metric("bridge_neighbours") == 2
            assert first.metric("bridge_records") == second.metric("bridge_records") == 0
            third.process.send_signal(signal.SIGTERM)
            wait_for(lambda: len(neighbours(first)) == len(neighbours(second)) == 1, 60)
            # Told, not found out: each keeps the record in which the third takes its own back.
            assert first.metric("bridge_records") == second.metric("bridge_records") == 1
            assert third.process.wait(60) == 0
        second.process.kill()
        wait_for(lambda: neighbours(first) == {}, 60)
    assert len(json.loads((tmp_path / "kept2" / "neighbours.json").read_text())["neighbours"]) == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (BridgeSettings(bootstrap="bridge"), r"--bootstrap .* names 'bridge'; it must be host:port"),
        (BridgeSettings(bootstrap="a:1,b:0"), "names 'b:0'"),
        (BridgeSettings(bootstrap="a:99999"), "names 'a:99999'"),
        (BridgeSettings(bootstrap="ws://a:1"), "names 'ws://a:1'"),
        (BridgeSettings(bootstrap="a:1"), r"--dht-port \(BRIDGE_DHT_PORT\) is 0"),
        (BridgeSettings(dht_port=9001, host="0.0.0.0"), r"--host .* is '0\.0\.0\.0'.* --public-url"),
    ],
)
def test_a_setting_with_which_nobody_is_found_is_named(settings: BridgeSettings, says: str) -> None:
    with pytest.raises(SettingError, match=says):
        check(settings)


def test_bootstrap_peers_are_names_or_addresses() -> None:
    settings = BridgeSettings(bootstrap=" bridge-2.example:9001, 10.0.0.7:1 ,[2001:db8::1]:9001,")
    assert settings.bootstrap_peers() == [("bridge-2.example", 9001), ("10.0.0.7", 1), ("2001:db8::1", 9001)]
    assert BridgeSettings().bootstrap_peers() == []
