"""The nginx configuration that is ready for operators, in a real nginx before a real bridge and real carts."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from support.networks.certificates import Authority
from support.processes.programs import HELD, ROOT, BridgeProcess, CartProcess, free_port, running, wait_for

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
PHOTO_BYTES = 3_000_000
ROWS = [{"degrees": angle, "third": angle // 120} for angle in range(0, 360, 12)]


@contextmanager
def nginx(folder: Path, ports: dict[str, int], certificate: str, key: str) -> Iterator[None]:
    """Run nginx with the operators' configuration at these ports: of bridge and cart, outside and behind."""
    text = (ROOT / "deploy/nginx/federated-carts.conf").read_text()
    for outside in (ports["bridge"], ports["cart"]):
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{outside} ssl;", 1)
    text = text.replace("127.0.0.1:9000", f"127.0.0.1:{ports['behind_bridge']}")
    text = text.replace("127.0.0.1:5001", f"127.0.0.1:{ports['behind_cart']}")
    text = re.sub(r"/etc/federated-carts/\w+\.crt", certificate, text)
    text = re.sub(r"/etc/federated-carts/\w+\.key", key, text)
    user = "user root; " if os.geteuid() == 0 else ""  # who may write to the folder of a test
    (folder / "main.conf").write_text(
        f"{user}daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n"
        f"{text}\n}}\n"
    )
    process = subprocess.Popen([NGINX, "-e", folder / "error.log", "-c", folder / "main.conf"])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.needs("nginx")
def test_carts_share_and_pages_are_served_through_nginx(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.vouch()
    bridge = BridgeProcess(tmp_path, "--trusted-proxies", "127.0.0.1")
    at = {"bridge": free_port(), "cart": free_port()}
    given = ("--bridge-ca", str(authority.path), "--dataset-size", "20", "--trusted-proxies", "127.0.0.1")
    url = f"wss://127.0.0.1:{at['bridge']}"
    (tmp_path / "cart").mkdir()
    (tmp_path / "cart" / "password").write_text("the operator's own")
    chosen = ("--admin-password-file", str(tmp_path / "cart" / "password"))
    cart, peer = CartProcess(tmp_path / "cart", url, *given, *chosen), CartProcess(tmp_path / "peer", url, *given)
    trusting = ssl.create_default_context(cafile=authority.path)

    def ask(
        port: int, method: str, path: str, body: bytes | None = None, source: str = "127.0.0.1", **headers: str
    ) -> tuple[int, http.client.HTTPMessage, str]:
        client = http.client.HTTPSConnection(
            "127.0.0.1", port, timeout=20, context=trusting, source_address=(source, 0)
        )
        with closing(client) as connection:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    behind = {"behind_bridge": bridge.port, "behind_cart": cart.port}
    with running(bridge, cart, peer), nginx(tmp_path, at | behind, certificate, key):
        for one in (cart, peer):
            wait_for(lambda one=one: one.status().get("link", {}).get("state") == "ATTACHED", what="a cart at wss://")
        wait_for(lambda: bridge.health()["carts"] == 2)
        wait_for(lambda: {one.status()["stage"] for one in (cart, peer)} == {"SERVING"})
        body = json.dumps({"batch_id": "one", "rows": ROWS}).encode()
        bearer = f"Bearer {cart.token}"
        status, *_ = ask(at["cart"], "POST", "/api/rows", body, Content_Type="application/json", Authorization=bearer)
        assert status == 201
        (record,) = wait_for(
            lambda: [entry for entry in cart.get("/api/rounds")["rounds"] if entry["outcome"]][:1], what="a round"
        )
        assert record["outcome"] in HELD, record

        status, headers, page = ask(at["cart"], "GET", "/login")
        assert status == 200
        cookie = headers["Set-Cookie"]
        assert "; secure" in cookie.lower()
        token = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', page)[1]
        origin = {"Origin": f"https://127.0.0.1:{at['cart']}", "Cookie": cookie.partition(";")[0]}
        typed = origin | {"Content_Type": "application/x-www-form-urlencoded"}
        form = f"csrf_token={token}&password=wrong-password".encode()
        wrong = ask(at["cart"], "POST", "/login", form, **typed)
        assert "not the password" in wrong[2]
        # Five wrong passwords of one client, who claims to be others, do not lock out the operator at another address.
        guesses = (
            ask(at["cart"], "POST", "/login", form, source="127.0.0.7", X_Forwarded_For=f"10.0.0.{number}", **typed)[0]
            for number in range(6)
        )
        assert list(guesses) == [403] * 5 + [429]
        password = (cart.data / "password").read_text()
        right = f"csrf_token={token}&password={password}".encode()
        assert ask(at["cart"], "POST", "/login", right, **typed)[0] == 302
        assert "a wrong password came from 127.0.0.7" in cart.log
        photo = ask(at["cart"], "POST", "/api/scan", bytes(PHOTO_BYTES), Content_Type="image/jpeg")
        assert photo[0] == 400  # it has reached the cart, which finds no picture in it
        assert ask(at["bridge"], "GET", "/")[0] == 200
        assert ask(at["cart"], "GET", "/", Host="elsewhere.example")[0] == 403
    assert "Traceback" not in bridge.log + cart.log + peer.log
