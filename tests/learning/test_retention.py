"""What a cart removes by itself: old weights files and records of rounds, never a sale or a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.processes.mongod import Mongod, need_mongod
from support.processes.programs import CartProcess, running, wait_for

from child_cart.model.weights_file import read_weights
from tests.soak.sold_task import row_of

TASK = ("--task", "tests.soak.sold_task:SoldTask", "--dataset-size", "10", "--starter-rows", "20")
ALONE = ("--join-wait-s", "0.1", "--cluster-wait-s", "0")


def learn(cart: CartProcess, rounds: int) -> None:
    for _ in range(rounds):
        before = cart.status()
        first = before["rows"]["total"]
        cart.post("/api/rows", {"batch_id": f"rows from {first}", "rows": [row_of(first + n) for n in range(10)]})
        wait_for(lambda before=before: cart.status().get("rounds_ended", 0) > before["rounds_ended"], what="a round")
    wait_for(lambda: cart.status().get("stage") == "SERVING")


@pytest.mark.parametrize("backend", ["embedded", "mongodb"])
def test_the_last_ones_are_kept_as_the_settings_say(tmp_path: Path, backend: str) -> None:
    store: tuple[str, ...] = ()
    if backend == "mongodb":
        need_mongod()
        mongod = Mongod(tmp_path)
        mongod.start()
        store = ("--store", mongod.url("cart"))
    few = ("--keep-versions", "2", "--keep-rounds", "3", "--momentum", "0")  # momentum needs a third one
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", *TASK, *ALONE, *few, *store)
    models = cart.data / "models"
    try:
        with running(cart):
            wait_for(lambda: cart.status().get("stage") == "SERVING")
            cart.post("/api/checkout", {"sale_id": "s", "gender": 0, "lines": [{"code": "0200000000103", "amount": 1}]})
            learn(cart, 5)
            wait_for(lambda: len(list(models.iterdir())) == 2)
            assert [entry["number"] for entry in cart.get("/api/rounds?limit=99")["rounds"]] == [5, 4, 3]
            status = cart.status()
            assert (status["sales"], status["rows"]["total"]) == (1, 51)
            newest = status["model"]
            assert newest["file_name"] in {path.name for path in models.iterdir()}
            read_weights(models / newest["file_name"], newest["digest"])
            for name, value in (("keep_versions", "4"), ("keep_rounds", "4")):
                cart.put(f"/api/settings/{name}", {"value": value})  # holds from the next round on
            learn(cart, 2)
            wait_for(lambda: len(list(models.iterdir())) == 4)
            assert [entry["number"] for entry in cart.get("/api/rounds?limit=99")["rounds"]] == [7, 6, 5, 4]
            cart.stop()
            (models / "nobody's.h5").write_bytes(b"left behind by a trainer that was killed")
            cart.start()
            wait_for(lambda: cart.status().get("stage") == "SERVING")
            learn(cart, 1)
            wait_for(lambda: not (models / "nobody's.h5").exists())
            assert cart.status()["rows"]["total"] == 81
            cart.stop()
    finally:
        if backend == "mongodb":
            mongod.__exit__()
