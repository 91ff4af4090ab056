"""Simulated shoppers at carts that already run, that come later, and that go away."""

import os
import subprocess
import sys
import time

import pytest

from demo.visit import MOST_NAME_BYTES, VisitedCart, address_of, slots
from tests.support.processes.programs import (
    LIGHT_TASK,
    ROOT,
    BridgeProcess,
    CartProcess,
    RestartableProcess,
    free_port,
    get,
    running,
    wait_for,
)


class SlotCart(CartProcess):
    """A cart with its own address, as in a container, whose slot names its host."""

    def __init__(self, folder, number, bridge, port):
        self.host = f"127.0.0.{number + 1}"
        slot = folder / str(number)
        super().__init__(slot, bridge, "--host", self.host, "--port", str(port), "--dataset-size", "20")
        self.port = port
        (slot / "slot").write_text(f"{self.host}\n")

    def status(self):
        try:
            return get(f"http://{self.host}:{self.port}/api/status")
        except OSError:
            return {}

    def has_ended(self, rounds):
        return self.status().get("rounds_ended", 0) >= rounds


class Visit(RestartableProcess):
    def __init__(self, folder, port):
        given = ["--folder", str(folder), "--port", str(port), "--task", LIGHT_TASK]
        super().__init__(["-m", "demo.visit", *given], folder.with_suffix(".log"))


def test_shoppers_buy_at_all_carts_whenever_they_come(tmp_path):
    folder, bridge = tmp_path / "carts", BridgeProcess(tmp_path)
    port = free_port()  # of all carts, each at an address of its own
    carts = [SlotCart(folder, number, bridge.url, port) for number in (1, 2)]
    visit = Visit(folder, port)
    with running(bridge, *carts, visit):
        wait_for(lambda: all(cart.has_ended(2) for cart in carts), what="two rounds of each")
        late = SlotCart(folder, 3, bridge.url, port)
        with running(late):
            ended = carts[0].status()["rounds_ended"]
            wait_for(lambda: late.has_ended(1) and carts[0].has_ended(ended + 1), what="a round of old and new")
        assert visit.stop() == 0
        # New shoppers at the same carts: the ids of their purchases are new.
        ended = carts[1].status()["rounds_ended"]
        visit.start()
        wait_for(lambda: carts[1].has_ended(ended + 2), what="rounds with other shoppers")
        assert visit.stop() == 0


def status(ended, waiting=0, stage="SERVING"):
    rows = {"waiting": waiting, "dataset_size": 100, "total": 0}
    return {"stage": stage, "round": None, "rounds_ended": ended, "rows": rows, "model": None, "epoch": None}


def seen(*ended):
    fleet, now = [], time.monotonic()
    for number, rounds in enumerate(ended, 1):
        fleet.append(VisitedCart(number, "http://x", others=fleet))
        fleet[-1].take(status(rounds), now)
    return fleet, now


def test_rounds_of_a_cart_that_comes_later_count_as_if_it_had_been_there():
    (first, second), now = seen(40, 0)
    assert (first.rounds_ended, second.rounds_ended) == (40, 40)
    second.take(status(1), now)
    assert (first.rounds_ended, second.rounds_ended) == (40, 41)


def test_no_cart_waits_for_one_whose_model_was_reset():
    (first, second), now = seen(40, 40)
    second.take(status(0), now)
    assert second.rounds_ended == 40
    first.take(status(41), now)
    assert first.rounds_ended == 41


def test_slots_are_read_as_they_are(tmp_path):
    for name, host in {"1": "one\n", "10": "x" * 1000, "2": "", "x": "y\n", "3": None, "4": b"\xff\xfe"}.items():
        (tmp_path / name).mkdir()
        if host is not None:
            (tmp_path / name / "slot").write_bytes(host if isinstance(host, bytes) else host.encode())
    assert dict(slots(tmp_path)) == {1: "one", 10: "x" * MOST_NAME_BYTES}
    assert list(slots(tmp_path / "nowhere")) == []


@pytest.mark.parametrize("host", ["no.such.host.invalid", "x" * 300, "a..b", "\0"])
async def test_a_host_that_is_away_has_no_address(host):
    assert await address_of(host, 5001) is None


async def test_a_host_has_an_address_in_numbers():
    assert await address_of("localhost", 5001) in ("http://127.0.0.1:5001", "http://[::1]:5001")
    assert await address_of("::1", 5001) == "http://[::1]:5001"


def test_wrong_settings_are_named():
    done = subprocess.run(
        [sys.executable, "-m", "demo.visit"],
        cwd=ROOT,
        env={**os.environ, "SHOPPERS_PORT": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("shoppers: SHOPPERS_PORT is '0'; it must be a whole number from 1 to 65535.")
