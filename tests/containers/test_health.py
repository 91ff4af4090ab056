"""The health check, against real programs."""

import socket
import subprocess
import sys

from containers import health
from tests.support.networks.certificates import Authority
from tests.support.processes.programs import ROOT, BridgeProcess, CartProcess, free_port, running, wait_for


def status_of(*arguments, **environment):
    command = [sys.executable, "-m", "containers.health", *arguments]
    return subprocess.run(command, cwd=ROOT, env={"PATH": "/usr/bin:/bin", **environment}).returncode


def test_a_bridge_and_a_cart_are_healthy_while_they_run(tmp_path):
    bridge = BridgeProcess(tmp_path)
    cart = CartProcess(tmp_path / "cart", bridge.url)
    with running(bridge, cart):
        wait_for(cart.status, what="the cart's page")
        assert status_of("BRIDGE", "1", "/healthz", BRIDGE_PORT=str(bridge.port)) == 0
        assert status_of("CART", str(cart.port), "/") == 0
        bridge.kill()
        assert status_of("BRIDGE", "1", "/healthz", BRIDGE_PORT=str(bridge.port)) == 1
        assert status_of("CART", str(cart.port), "/") == 0, "a cart without a bridge goes on selling"


def test_a_bridge_with_a_certificate_is_asked_over_tls(tmp_path):
    certificate, key = Authority(tmp_path).vouch("192.0.2.1")
    bridge = BridgeProcess(tmp_path, "--tls-cert", certificate, "--tls-key", key)
    settings = {"BRIDGE_PORT": str(bridge.port), "BRIDGE_TLS_CERT": certificate}
    with running(bridge):
        wait_for(lambda: health.answers("BRIDGE", "1", "/healthz", settings), what="an answer")
        assert not health.answers("BRIDGE", str(bridge.port), "/healthz", {})


def test_an_error_is_no_health(tmp_path):
    bridge = BridgeProcess(tmp_path)
    with running(bridge):
        wait_for(lambda: health.answers("BRIDGE", str(bridge.port), "/healthz", {}), what="an answer")
        assert not health.answers("BRIDGE", str(bridge.port), "/nothing-there", {})


def test_who_is_silent_or_not_there_is_not_healthy(monkeypatch):
    monkeypatch.setattr(health, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not health.answers("CART", str(silent.getsockname()[1]), "/", {})
    assert not health.answers("CART", str(free_port()), "/", {})
