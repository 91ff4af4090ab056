"""The fleet of docker-compose.yml in a real engine: it learns, grows, loses bridge and cart, and keeps all it has.

Takes some minutes, and much longer the first time, when the packages are installed into the images.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from tests.support.networks.certificates import Authority
from tests.support.processes import container_engine as engine
from tests.support.processes.container_engine import ComposedFleet, Container, inspect
from tests.support.processes.programs import ROOT, get, wait_for

pytestmark = [pytest.mark.containers, pytest.mark.timeout(4 * 3600)]

MB = 1_000_000
PATIENCE_S = 300.0
STORES = """
import pymongo
server = pymongo.MongoClient("mongodb://mongodb", serverSelectionTimeoutMS=5000)
for name in sorted(server.list_database_names()):
    if name.startswith("cart_"):
        print(name, sum(server[name][each].estimated_document_count() for each in server[name].list_collection_names()))
"""


HTTPS_STATUS = """
import ssl, urllib.request
trusting = ssl._create_unverified_context()
print(urllib.request.urlopen("https://127.0.0.1:5001/api/status", context=trusting, timeout=10).read().decode())
"""
PASSWORD = """
from pathlib import Path
from child_cart.api.access.account import Account
password = Path("/secrets/carts/admin.password").read_text().strip()
for slot in Path("/data").iterdir():
    print(Account(slot).is_password(password))
"""


@pytest.fixture(scope="module")
def compose(tmp_path_factory) -> Iterator[list[str]]:
    with engine.engine(tmp_path_factory.mktemp("engine")) as command:
        engine.build_images()
        yield command


@pytest.fixture
def settings() -> dict[str, str]:
    return {"CART_DATASET_SIZE": "40"}


@pytest.fixture
def fleet(compose: list[str], tmp_path: Path, settings: dict[str, str]) -> Iterator[ComposedFleet]:
    made = ComposedFleet(compose, tmp_path, **settings)
    try:
        yield made
    except BaseException:
        with suppress(AssertionError):
            print(made.compose("logs", "--tail", "40"))
        raise
    finally:
        made.compose("down", "-v", "--remove-orphans")
    assert made.remains() == ""


def run_in(image: str, *command: str) -> str:
    name, _ = engine.IMAGES[image]
    return engine.run("docker", "run", "--rm", "--network", "none", "--entrypoint", command[0], name, *command[1:])


def test_the_images_hold_what_they_need_and_no_more(compose):
    base = inspect(engine.BASES[0])["Size"]
    bridge, cart = (inspect(name)["Size"] for name, _ in engine.IMAGES.values())
    print(f"base {base / MB:.0f} MB, bridge {bridge / MB:.0f} MB, cart {cart / MB:.0f} MB")
    assert bridge - base < 80 * MB
    heavy = run_in("BRIDGE_IMAGE", "find", "/venv", "/app", "-name", "tensorflow", "-o", "-name", "numpy")
    assert heavy == ""
    for image in engine.IMAGES:
        tools = run_in(image, "sh", "-c", "command -v gcc cc make strip ld; ls /venv/bin/pip* 2>/dev/null; true")
        assert tools == ""
        assert run_in(image, "id", "-u").strip() == "10001"
        unwritten = run_in(image, "find", "/app", "-name", "*.py", "-not", "-empty", "-not", "-name", "__main__.py")
        compiled = run_in(image, "find", "/app", "-name", "*.pyc")
        assert len(compiled.split()) >= len(unwritten.split()) > 10
    assert "tests" not in run_in("CART_IMAGE", "ls", "/app").split()


def check_hardening(fleet: ComposedFleet) -> None:
    """Look into the containers from inside: what does not have to be there is not."""
    (bridge,), carts = fleet.containers("parent_cart"), fleet.containers("child_cart")
    for container in (bridge, *carts):
        assert container.exec("python", "-c", "print(open('/proc/1/cmdline').read())").startswith("python\0-m\0")
        status = container.exec("cat", "/proc/1/status")
        assert "NoNewPrivs:\t1" in status
        assert "CapEff:\t0000000000000000" in status
        with pytest.raises(AssertionError, match="Read-only file system"):
            container.exec("touch", "/app/new")
    assert bridge.exec("find", "/secrets", "-type", "f").split() == ["/secrets/bridges/bridge.token"]
    secrets = carts[0].exec("find", "/secrets", "-type", "f").split()
    assert sorted(secrets) == ["/secrets/carts/admin.password", "/secrets/carts/fleet.key"]
    with pytest.raises(AssertionError):
        bridge.exec("python", "-c", "import socket; socket.create_connection(('mongodb', 27017), 3)")


def check_password(fleet: ComposedFleet, carts: int) -> None:
    """Make sure that the password that an operator is told of is that of all carts."""
    one = fleet.containers("child_cart")[0]
    assert one.exec("python", "-c", PASSWORD).split() == ["True"] * carts


def check_stores(fleet: ComposedFleet, carts: int) -> None:
    """Look into MongoDB: each cart has a database of its own there, and no store elsewhere."""
    one = fleet.containers("child_cart")[0]
    found = dict(line.split() for line in one.exec("python", "-c", STORES).splitlines())
    assert set(found) == {f"cart_{number}" for number in range(1, carts + 1)}
    assert all(int(count) > 0 for count in found.values())
    assert one.exec("find", "/data", "-name", "cart.db") == ""


def wait_for_rounds(fleet: ComposedFleet, carts: int, more_than: dict[str, dict[str, Any]] | None = None) -> Any:
    """Wait until this many carts have each ended a round, or one more than before; return their statuses."""

    def ended() -> dict[str, dict[str, Any]] | None:
        sleep(1)  # each look starts programs
        now = fleet.statuses()
        before = {key: seen["rounds_ended"] for key, seen in (more_than or {}).items()}
        done = len(now) == carts and all(seen["rounds_ended"] > before.get(key, 0) for key, seen in now.items())
        return now if done else None

    return wait_for(ended, PATIENCE_S, f"a round of each of {carts} carts")


def attached(bridge: Container) -> int:
    """Return how many carts are attached; none while the bridge does not answer."""
    try:
        return int(get(f"{bridge.url(9000)}/healthz")["carts"])
    except OSError:
        return 0


def neighbours(fleet: ComposedFleet) -> list[int]:
    """Return how many others each bridge knows."""
    urls = [bridge.url(9000) for bridge in fleet.containers("parent_cart")]
    try:
        return [len(get(f"{url}/bridge/neighbours")["neighbours"]) for url in urls]
    except OSError:
        return []


def check_kept(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> None:
    """Hold the carts of two moments against each other: the same ones, and each with all that it had."""
    assert after.keys() == before.keys()
    for key, seen in before.items():
        for what in ("rounds_ended", "rows", "model"):
            old, new = (seen[what], after[key][what])
            if what != "rounds_ended":
                old, new = (old["total"], new["total"]) if what == "rows" else (old["number"], new["number"])
            assert new >= old, f"cart {key}: {what}"


def test_a_fleet_learns_grows_and_keeps_what_it_has(fleet: ComposedFleet):
    fleet.up()
    wait_for_rounds(fleet, 3)
    check_hardening(fleet)
    check_stores(fleet, 3)
    (bridge,) = fleet.containers("parent_cart")
    assert attached(bridge) == 3

    fleet.up(5)
    five = wait_for_rounds(fleet, 5)
    check_stores(fleet, 5)
    check_password(fleet, 5)

    fleet.compose("stop", "parent_cart")
    assert bridge.state()["ExitCode"] == 0, "the bridge did not stop by itself"
    states = {seen["link"]["state"] for seen in fleet.statuses().values()}
    assert "ATTACHED" not in states
    fleet.compose("start", "parent_cart")
    wait_for(lambda: attached(bridge) == 5, PATIENCE_S, "all carts at the bridge again")
    five = wait_for_rounds(fleet, 5, five)

    victim = fleet.containers("child_cart")[2]
    lost = victim.status()["cart_id"]
    victim.kill()
    assert lost not in fleet.statuses()
    fleet.up(5)
    back = wait_for_rounds(fleet, 5, {lost: five[lost]})
    check_kept(five, back)

    bridge.end_main_process()
    wait_for(lambda: inspect(bridge.id)["RestartCount"] == 1, PATIENCE_S, "the bridge started again by the engine")
    wait_for(lambda: attached(bridge) == 5, PATIENCE_S, "all carts at the bridge again")

    fleet.compose("stop", "--timeout", "10", "child_cart")
    codes = [cart.state()["ExitCode"] for cart in fleet.containers("child_cart")]
    assert codes == [0] * 5, "a cart did not stop by itself within 10 s"
    fleet.compose("run", "--rm", "-e", "SLOT_NUMBER=2", "child_cart", "export", "/data/2/backup")
    fleet.compose("down")
    assert fleet.containers("child_cart") == []
    fleet.up(5)
    again = wait_for_rounds(fleet, 5, back)
    check_kept(back, again)

    fleet.up(5, bridges=2)
    wait_for(lambda: neighbours(fleet) == [1, 1], PATIENCE_S, "two bridges that know each other")


class TestWithFilesOfTheOperators:
    """Certificates, starter rows and a task that lie on the host."""

    @pytest.fixture
    def settings(self, tmp_path: Path) -> dict[str, str]:
        files = tmp_path / "files"
        files.mkdir()
        authority = Authority(files)
        for name, address in (("bridge", "parent_cart"), ("cart", "127.0.0.1")):
            for made, ending in zip(authority.vouch(address), ("pem", "key"), strict=True):
                (files / f"{name}.{ending}").write_bytes(Path(made).read_bytes())
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/own-model.md").read_text(), re.DOTALL)
        source = next(block for block in blocks if "class Machines(" in block)
        (files / "machines.py").write_text(source)
        (files / "machines.csv").write_text("heat,noise,load,fails\n" + "0.7,0.2,0.9,1\n0.1,0.2,0.3,0\n" * 20)
        return {
            **{"FILES": str(files), "CARTS": "2", "SHOPPERS": "1", "SLOT_SHARES": "0"},
            **{f"BRIDGE_TLS_{what}": f"/files/bridge.{end}" for what, end in (("CERT", "pem"), ("KEY", "key"))},
            **{f"CART_TLS_{what}": f"/files/cart.{end}" for what, end in (("CERT", "pem"), ("KEY", "key"))},
            **{"BRIDGE_PUBLIC_URL": "wss://<host>:9000", "CART_BRIDGE": "wss://parent_cart:9000"},
            **{"CART_BRIDGE_CA": "/files/ca.pem", "CART_TASK": "machines:Machines", "CART_DATA": "/files/machines.csv"},
        }

    def test_they_are_served_and_learned_from(self, fleet: ComposedFleet) -> None:
        fleet.up()
        carts = fleet.containers("child_cart")
        assert len(carts) == 2

        def said() -> list[dict[str, Any]]:
            try:
                return [json.loads(cart.exec("python", "-c", HTTPS_STATUS)) for cart in carts]
            except AssertionError:  # one does not answer yet
                return [{}]

        def learned() -> bool:
            sleep(1)
            return all(seen.get("model") and seen["link"]["state"] == "ATTACHED" for seen in said())

        wait_for(learned, PATIENCE_S, "two carts with a model at a bridge, over TLS")
        assert {seen["task"] for seen in said()} == {"machines"}
        wait_for(lambda: all(cart.state()["Health"]["Status"] == "healthy" for cart in carts), PATIENCE_S, "health")
