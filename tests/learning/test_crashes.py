"""A fleet of real processes: whatever is killed with SIGKILL, it goes on, and no row is lost or used twice."""

from __future__ import annotations

import os
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.processes.programs import LIGHT_TASK, BridgeProcess, CartProcess, is_running, running, wait_for

from child_cart.db.records import Origin, Outcome
from child_cart.db.sqlite import SqliteStore
from child_cart.db.store import HOLD_OUT_EVERY
from child_cart.model.partition import Partition
from child_cart.model.task import load_task
from child_cart.model.weights_file import read_weights

SIZE = 40
STARTER = 20
SLOW = {"LIGHT_TASK_EPOCH_S": "0.02", "LIGHT_TASK_PREDICT_S": "0.02"}


class Fed:
    """A cart and the batches that it has acknowledged."""

    def __init__(self, folder: Path, bridge: BridgeProcess, number: int, *arguments: str, **environment: str) -> None:
        self.rows = load_task(LIGHT_TASK).starter_rows(Partition(number, 3))
        self.acknowledged = 0
        self._batches = 0
        sizes = ["--dataset-size", str(SIZE), "--starter-rows", str(STARTER), "--share", f"{number + 1}/3"]
        self.cart = CartProcess(folder / f"cart{number}", bridge.url, *sizes, *arguments, **SLOW, **environment)

    def feed(self, count: int = SIZE) -> None:
        """Send rows, in batches of ten, until the cart has acknowledged them: what is sent again is not kept twice."""
        for _ in range(count // 10):
            rows = [self.rows[(self.acknowledged + place) % len(self.rows)] for place in range(10)]
            batch = {"batch_id": f"batch-{self._batches}", "rows": rows}
            wait_for(lambda batch=batch: self._try(batch), what="a batch being acknowledged")
            self._batches += 1
            self.acknowledged += 10

    def _try(self, batch: dict[str, Any]) -> bool:
        try:
            self.cart.post("/api/rows", batch)
        except OSError:
            return False
        return True

    def rounds_ended(self) -> int:
        return self.cart.status().get("rounds_ended", 0)

    def is_serving(self) -> bool:
        return self.cart.status().get("stage") == "SERVING"

    def check_store(self) -> None:
        """Prove from the contents that every acknowledged row was trained on exactly once, or waits still."""
        store = SqliteStore(self.cart.data / "cart.db")
        versions = store.versions(10_000)[::-1]
        assert store.row_count() == self.acknowledged
        assert [version.number for version in versions] == list(range(len(versions)))
        for before, after in pairwise(versions):
            assert after.trained_from == before.trained_to
            spent = range(after.trained_from + 1, after.trained_to + 1)
            trained = [number for number in spent if number % HOLD_OUT_EVERY]
            starter = STARTER if after.origin is Origin.STARTER else 0
            assert after.samples - before.samples == len(trained) + starter
            assert bool(spent) == (after.origin is Origin.LOCAL)
        newest = versions[-1]
        assert newest.trained_to + store.waiting_count() == self.acknowledged
        assert [entry.sequence for entry in store.waiting_rows(10_000)] == list(
            range(newest.trained_to + 1, self.acknowledged + 1)
        )
        assert read_weights(self.cart.data / "models" / newest.file_name, newest.digest)
        assert os.listdir(self.cart.data / "incoming") == []
        store.close()


@pytest.fixture
def fleet(tmp_path: Path) -> tuple[BridgeProcess, list[Fed]]:
    bridge = BridgeProcess(tmp_path)
    quick = ["--cluster-size", "2", "--cluster-wait-s", "20", "--accept-backward", "100", "--accept-forward", "100"]
    return bridge, [Fed(tmp_path, bridge, number, *quick) for number in range(3)]


def let_all_serve(fleet: list[Fed]) -> None:
    for fed in fleet:
        wait_for(fed.is_serving, what="a cart serving")


def finish(fleet: list[Fed], rounds: int) -> None:
    for fed in fleet:
        wait_for(lambda fed=fed: fed.rounds_ended() >= rounds and fed.is_serving(), what=f"{rounds} rounds")
        assert fed.cart.stop() == 0
        fed.check_store()


def test_a_fleet_learns_and_stops_cleanly(fleet) -> None:
    bridge, carts = fleet
    with running(bridge, *(fed.cart for fed in carts)):
        let_all_serve(carts)
        assert bridge.health()["carts"] == 3
        for number in (1, 2):
            for fed in carts:
                fed.feed()
            for fed in carts:
                wait_for(lambda fed=fed, number=number: fed.rounds_ended() >= number)
        trainers = [fed.cart.status()["trainer_process"] for fed in carts]
        finish(carts, rounds=2)
        assert not any(process and is_running(process) for process in trainers)
        wait_for(lambda: bridge.health()["carts"] == 0)
        assert bridge.stop() == 0
    for fed in carts:
        store = SqliteStore(fed.cart.data / "cart.db")
        records = store.rounds(9)
        assert len(records) == 2
        assert {record.outcome for record in records} <= {Outcome.AGGREGATED, Outcome.KEPT_OWN}
        store.close()


@pytest.mark.parametrize("stage", ["TRAINING", "COLLECTING", "SERVING"])
def test_a_cart_is_killed(fleet, stage) -> None:
    bridge, carts = fleet
    victim = carts[0]
    with running(bridge, *(fed.cart for fed in carts)):
        let_all_serve(carts)
        for fed in carts[::-1]:
            fed.feed()
        wait_for(lambda: victim.cart.status().get("stage") == stage or victim.rounds_ended() > 0)
        trainer = victim.cart.status().get("trainer_process")
        victim.cart.kill()
        if trainer:
            wait_for(lambda: not is_running(trainer), what="the trainer ending with its cart")
        for fed in carts[1:]:
            wait_for(lambda fed=fed: fed.rounds_ended() >= 1, what="the others going on")
        victim.cart.start()
        victim.feed()
        finish(carts, rounds=1)


def test_the_bridge_is_killed(fleet) -> None:
    bridge, carts = fleet
    with running(bridge, *(fed.cart for fed in carts)):
        let_all_serve(carts)
        for fed in carts:
            fed.feed()
        bridge.kill()
        for fed in carts:
            wait_for(lambda fed=fed: fed.cart.status()["link"]["state"] != "ATTACHED")
            fed.feed()  # selling goes on
        bridge.start()
        for fed in carts:
            wait_for(lambda fed=fed: fed.cart.status()["link"]["state"] == "ATTACHED", what="attaching again")
        finish(carts, rounds=2)


@pytest.mark.parametrize("stage", ["TRAINING", "COLLECTING"])
def test_a_trainer_is_killed(fleet, stage) -> None:
    bridge, carts = fleet
    victim = carts[0]
    with running(bridge, *(fed.cart for fed in carts)):
        let_all_serve(carts)
        for tried in range(1, 9):  # a round may be over before the kill
            for fed in carts[1:]:  # a model that has taken part once is not scored again
                fed.feed()
            for fed in carts[1:]:
                wait_for(lambda fed=fed, tried=tried: fed.rounds_ended() >= tried)
            victim.feed()

            def caught_or_over(tried: int = tried) -> dict | None:
                now = victim.cart.status()
                return now if now["stage"] == stage or now["rounds_ended"] >= tried else None

            status = wait_for(caught_or_over, what=stage)
            if status["stage"] == stage:
                os.kill(status["trainer_process"], signal.SIGKILL)
            wait_for(lambda: victim.rounds_ended() >= tried, what="the round ending")  # noqa: B023
            failed = victim.cart.get("/api/rounds")["rounds"][0]
            if failed["outcome"] == "TRAINER_FAILED":
                break
        assert failed["outcome"] == "TRAINER_FAILED"
        assert "by signal 9" in failed["sentence"]
        if stage == "COLLECTING":
            victim.feed()  # its rows were spent: the next round needs others
        finish(
            carts[:1], rounds=tried + 1
        )  # rows of a training that was killed wait still, so the next round takes them
        for fed in carts[1:]:
            assert fed.is_serving()


def test_a_cart_is_killed_again_and_again_while_it_is_fed(fleet) -> None:
    bridge, carts = fleet
    victim = carts[0]
    with running(bridge, *(fed.cart for fed in carts)):
        let_all_serve(carts)
        for _ in range(8):
            victim.feed(20)
            victim.cart.kill()
            victim.cart.start()
        finish(carts, rounds=0)
