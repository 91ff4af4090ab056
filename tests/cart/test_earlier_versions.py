"""What version 0.1.0 has left on disk is taken as it is: a data folder, and a backup.

``tests/data/cart-0.1.0.zip`` was written by that version: a cart of two that had learned two rounds together, sold
three times and held seven rows. Its key and its password belong to no real cart.
"""

from __future__ import annotations

import http.cookiejar
import json
import re
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import pytest
from support.carts.light_task import points
from support.processes.programs import LIGHT_TASK, ROOT, CartProcess, running, wait_for

from child_cart.db.records import ACCURACY, RENAMED
from child_cart.main import main

ARCHIVE = ROOT / "tests/data/cart-0.1.0.zip"
PASSWORD = "a password of 0.1.0"


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder with what the earlier version has left."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(tmp_path)
    return tmp_path


def expected(left: Path) -> dict[str, Any]:
    return dict(json.loads((left / "expected.json").read_text()))


def as_then(now: Any, then: Any) -> Any:
    """Return of what a cart tells now that which it told then, by the names of then."""
    if isinstance(then, dict):
        return {name: as_then(now[RENAMED.get(name, name)], value) for name, value in then.items()}
    if isinstance(then, list) and len(now) == len(then):
        return [as_then(*both) for both in zip(now, then, strict=True)]
    return now


def without_link(folder: Path) -> CartProcess:
    """A cart on this folder that finds no bridge."""
    return CartProcess(folder, "ws://127.0.0.1:9", "--cluster-wait-s", "0", "--dataset-size", "20")


def is_let_in(cart: CartProcess, password: str) -> bool:
    """Log in as a browser does."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    address = f"http://127.0.0.1:{cart.port}"
    page = browser.open(f"{address}/login").read().decode()
    (token,) = re.findall(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    form = urllib.parse.urlencode({"csrf_token": token, "password": password}).encode()
    return bool(browser.open(urllib.request.Request(f"{address}/login", form)).url.endswith("/admin"))


def test_a_cart_goes_on_with_the_data_folder_of_an_earlier_version(left: Path) -> None:
    before = expected(left)
    cart = without_link(left / "data")
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        status = cart.status()
        assert as_then(status, before["status"]) == before["status"]
        assert status["model"]["metric"] == ACCURACY
        assert as_then(cart.get("/api/rounds?limit=10")["rounds"], before["rounds"]) == before["rounds"]
        (setting,) = (entry for entry in cart.get("/api/settings")["settings"] if entry["name"] == "cluster_size")
        assert (setting["value"], setting["changed"]) == (2, True)
        assert is_let_in(cart, PASSWORD)
        again = cart.post("/api/checkout", {"sale_id": "sale-1", "gender": 0, "lines": []})
        assert not again["added"]  # the receipt of then
        cart.post("/api/rows", {"batch_id": "more", "rows": points(13, seed=3)})
        wait_for(lambda: cart.status()["rounds_ended"] == before["status"]["rounds_ended"] + 1)
        assert cart.status()["model"]["number"] == before["status"]["model"]["number"] + 1
        assert cart.stop() == 0


def test_a_backup_of_an_earlier_version_is_restored(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = expected(left)["status"]
    folder = left / "new"
    assert main(["import", str(left / "export"), "--data-dir", str(folder), "--task", LIGHT_TASK]) == 0
    capsys.readouterr()
    cart = without_link(folder)
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING")
        status = cart.status()
        assert as_then(status["rows"], before["rows"]) == before["rows"]
        assert status["sales"] == before["sales"]
        assert status["model"]["digest"] == before["model"]["digest"]
        assert cart.stop() == 0
