"""A whole cart at https://, and one whose certificate is invalid."""

from __future__ import annotations

import json
import ssl
import urllib.request
from pathlib import Path

from support.networks.certificates import Authority
from support.processes.programs import CartProcess, running, wait_for


def test_a_cart_with_a_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.vouch()
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--tls-cert", certificate, "--tls-key", key)
    trusting = ssl.create_default_context(cafile=authority.path)

    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"https://127.0.0.1:{cart.port}{path}", timeout=5, context=trusting) as answer:
            return bytes(answer.read())

    with running(cart):
        wait_for(lambda: f"shop page at https://127.0.0.1:{cart.port}/, admin page" in cart.log, what="the pages")
        assert "cart_id" in json.loads(get("/api/status"))
        assert b"<html" in get("/admin")
        assert cart.status() == {}  # http:// is not spoken
        assert cart.stop() == 0
    assert "Traceback" not in cart.log


def test_a_certificate_that_is_none_is_named(tmp_path: Path) -> None:
    certificate, _ = Authority(tmp_path).vouch()
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--tls-cert", certificate, "--tls-key", "/no/key.pem")
    with running(cart):
        assert cart.process.wait(30) == 2
    assert cart.log.startswith("cart: --tls-key (CART_TLS_KEY) is '/no/key.pem'; it cannot be read")
    assert "Traceback" not in cart.log
