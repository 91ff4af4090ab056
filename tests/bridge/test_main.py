"""The bridge as a process: it starts, shows itself, stops on a signal, and says in one sentence why it cannot."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import stat
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support.bridges.command import MODULE, started
from support.carts.raw_cart import attached, greeted
from support.processes.programs import ROOT

from cart_common.process.settings import SettingError, flag_name
from cart_common.process.tuning import raise_malloc_thresholds
from cart_common.websocket.socket import FAREWELL_S
from cart_common.wire.identity import Identity
from cart_common.wire.records import is_bridge_url
from parent_cart import main as bridge_main
from parent_cart.config import BridgeSettings
from parent_cart.relay.relay import CLOSE_SPARE_S


def run(*argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, *argv], cwd=ROOT, env=os.environ | environ, capture_output=True, text=True, timeout=20, check=False
    )


async def test_it_starts_shows_itself_and_stops_cleanly() -> None:
    with started() as bridge:
        assert bridge.get("/healthz").startswith('{"status": "ok", "carts": 0, "max_carts": 10000, "bridge_id": "')
        async with attached(bridge.ws, role="KERNEL") as cart, greeted(bridge.ws) as visitor:
            page = bridge.get("/")
            assert cart.id in page
            assert "KERNEL" in page
            assert bridge.metric("bridge_carts", "KERNEL") == 1
            # Both are deaf while this waits: neither may hold up the end.
            assert bridge.stop(signal.SIGTERM) == 0
            assert "Traceback" not in bridge.log
            for each in (cart, visitor):
                error = await each.hear_end()
                assert error is not None
                assert error["code"] == "BRIDGE_STOPPING"


@pytest.mark.parametrize("wrong", [b"\0\1 / HTTP/1.1", b"GET / HTTP/9.9", b"GET / HTTP/1.1\r\nContent-Length: -5"])
def test_what_is_no_http_fills_no_log(wrong: bytes) -> None:
    with started() as bridge:
        for before in (b"", b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", bridge.port), timeout=5) as stranger:
                stranger.sendall(before)
                answers = stranger.recv(4096) if before else b""
                stranger.sendall(wrong + b"\r\n\r\n")
                answers += b"".join(iter(lambda: stranger.recv(4096), b""))
                assert b" 404 Not Found" in answers or not before
                assert b" 400 Bad Request" in answers
        assert "ok" in bridge.get("/healthz")
        bridge.stop(signal.SIGTERM)
        assert "Traceback" not in bridge.log
        assert "ERROR" not in bridge.log


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_bridge_stops_at_once(number: int) -> None:
    with started("--leave-s", "86400") as bridge:  # a wait for transfers would not end within this test
        assert bridge.stop(number) == 0
        assert "Traceback" not in bridge.log
        assert bridge.log.count("every cart is admitted") == 1  # no token was given


def test_an_ipv6_address_stands_in_brackets_so_that_a_cart_takes_it() -> None:
    with started("--host", "::1") as bridge:
        url = f"ws://[::1]:{bridge.port}"
        assert f"bridge is at {url} (status page at http://[::1]:{bridge.port}/)" in bridge.log
        assert is_bridge_url(url)


def test_it_runs_as_a_plain_script_from_anywhere(tmp_path: Path) -> None:
    with started(command=(sys.executable, str(ROOT / "parent_cart" / "main.py")), cwd=tmp_path) as bridge:
        assert "ok" in bridge.get("/healthz")


def test_the_environment_is_read() -> None:
    with started(BRIDGE_HOST="127.0.0.1", BRIDGE_LOG_LEVEL="DEBUG", BRIDGE_PORT="1") as bridge:
        assert bridge.port != 1  # the flag wins


def test_a_taken_port_is_one_sentence_and_status_2() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = run("--port", port, "--log-level", "ERROR")
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"bridge: The bridge cannot listen on 127.0.0.1 port {port}:")
    assert ended.stderr.count("\n") == 1
    assert "Traceback" not in ended.stderr


def test_a_host_that_is_not_here_is_status_2() -> None:
    ended = run("--port", "0", "--host", "192.0.2.1", "--log-level", "ERROR")
    assert ended.returncode == 2
    assert "192.0.2.1" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("argv", "environ", "says"),
    [
        (["--port", "x"], {}, "--port is 'x'"),
        ([], {"BRIDGE_MAX_CARTS": "0"}, "BRIDGE_MAX_CARTS is '0'"),
        (["--heartbeat-s", "nan"], {}, "--heartbeat-s is 'nan'"),
        ([], {"BRIDGE_LOG_LEVEL": "LOUD"}, "BRIDGE_LOG_LEVEL is 'LOUD'"),
    ],
)
def test_a_wrong_setting_is_one_sentence_and_status_2(argv: list[str], environ: dict[str, str], says: str) -> None:
    ended = run(*argv, **environ)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"bridge: {says}; it must be ")
    assert ended.stderr.count("\n") == 1


def test_the_help_names_every_setting() -> None:
    ended = run("--help")
    assert ended.returncode == 0
    assert all(flag_name(entry.name) in ended.stdout for entry in fields(BridgeSettings))


async def test_work_that_crashes_stops_the_bridge_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    async def crash(_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(bridge_main.Relay, "sweep", crash)
    with pytest.raises(BaseExceptionGroup) as caught:
        await bridge_main.serve(BridgeSettings(port=0))
    assert caught.group_contains(RuntimeError, match="a bug")


async def test_the_longest_stop_is_shorter_than_a_container_engine_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines kill a container ten seconds after SIGTERM; a stop waits for these, one after the other, and no more."""
    waits_s = [BridgeSettings().leave_s, FAREWELL_S + CLOSE_SPARE_S]

    class NotedRunner(bridge_main.web.AppRunner):
        def __init__(self, *arguments: Any, shutdown_timeout: float, **options: Any) -> None:
            waits_s.append(shutdown_timeout)
            super().__init__(*arguments, shutdown_timeout=shutdown_timeout, **options)

    async def end(_: object) -> None:
        raise SystemError

    monkeypatch.setattr(bridge_main.web, "AppRunner", NotedRunner)
    monkeypatch.setattr(bridge_main.Relay, "sweep", end)
    with pytest.raises(BaseExceptionGroup):
        await bridge_main.serve(BridgeSettings(port=0))
    assert len(waits_s) == 3
    assert sum(waits_s) < 10


def test_a_system_without_mallopt_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"no {name}")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    raise_malloc_thresholds()


@pytest.mark.parametrize(
    "url", ["http://bridge.example", "wss://", "ws://a/b", "ws://me@a:1", "ws://a:99999", "ws://a:0"]
)
def test_a_public_url_that_is_none_is_named(url: str) -> None:
    with pytest.raises(SettingError, match=r"--public-url \(BRIDGE_PUBLIC_URL\) is"):
        bridge_main.build(BridgeSettings(public_url=url))


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        (BridgeSettings(), "ws://127.0.0.1:9100"),
        (BridgeSettings(host="::1", tls_cert="chain.pem"), "wss://[::1]:9100"),
        (BridgeSettings(host="0.0.0.0", public_url="wss://bridge.example/"), "wss://bridge.example"),
    ],
)
def test_where_carts_reach_a_bridge(settings: BridgeSettings, url: str) -> None:
    assert settings.url(9100) == url


async def welcome_of(*argv: str) -> str:
    with started(*argv) as bridge:
        async with greeted(bridge.ws) as cart:
            bridge_id: str = cart.welcome["bridge_id"]
            return bridge_id


async def test_a_bridge_with_a_data_folder_is_the_same_after_a_restart(tmp_path: Path) -> None:
    folder = ("--data-dir", str(tmp_path / "kept"))
    first = await welcome_of(*folder)
    assert await welcome_of(*folder) == first
    assert await welcome_of() != first
    key = tmp_path / "kept" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert Identity.load_or_create(key).cart_id.hex() == first


def test_two_bridges_on_one_data_folder_are_one_too_many(tmp_path: Path) -> None:
    with started("--data-dir", str(tmp_path)):
        ended = run("--port", "0", "--data-dir", str(tmp_path))
    assert ended.returncode == 2
    assert "A bridge is running on the data folder" in ended.stderr
    assert "BRIDGE_DATA_DIR" in ended.stderr


def test_a_broken_key_file_is_status_2(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    ended = run("--port", "0", "--data-dir", str(tmp_path))
    assert ended.returncode == 2
    assert ended.stderr.startswith("bridge: The key file")


@pytest.mark.parametrize(("setting", "least"), [("max_bytes_per_s", 524_360), ("max_frames_per_s", 10)])
def test_a_rate_at_which_nothing_works_is_named(setting: str, least: int) -> None:
    flag = setting.replace("_", "-")
    with pytest.raises(SettingError, match=rf"--{flag} \(BRIDGE_{setting.upper()}\) is {least - 1}; .* {least}: with"):
        bridge_main.build(BridgeSettings(**{setting: least - 1}))
    bridge_main.build(BridgeSettings(**{setting: least}))


def test_a_window_that_no_chunk_fits_is_named() -> None:
    with pytest.raises(SettingError, match=r"--max-window-bytes .* is 65536; it must be at least .* 524288"):
        bridge_main.build(BridgeSettings(max_window_bytes=65536))
