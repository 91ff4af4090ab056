"""A cart whose database is away, whose disk is full, and whose files were damaged: it says so, and loses nothing."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymongo
import pytest
from support.processes.mongod import Mongod, need_mongod, replica_set_of_one, set_majority
from support.processes.programs import ROOT, CartProcess, running, wait_for
from support.skip_loudly import skip_loudly

from child_cart.db.mongo import MongoStore
from child_cart.db.sqlite import SqliteStore
from child_cart.db.store import Store
from child_cart.shop.billing import CATALOGUE
from tests.soak.proof import prove, prove_training
from tests.soak.sold_task import row_of

SOLD = ("--task", "tests.soak.sold_task:SoldTask", "--dataset-size", "10", "--starter-rows", "20")
# Half a minute on CI; elsewhere so long that the cart has noticed.
AWAY_S = float(os.environ.get("AWAY_S", "30" if os.environ.get("CI", "").lower() in ("1", "true") else "1"))
ALONE = ("--join-wait-s", "0.1", "--cluster-wait-s", "0")


@pytest.fixture
def mongod(tmp_path: Path) -> Iterator[Mongod]:
    need_mongod()
    with Mongod(tmp_path) as server:
        yield server


def new_cart(folder: Path, *arguments: str) -> CartProcess:
    return CartProcess(folder, "ws://127.0.0.1:9", *SOLD, *ALONE, *arguments)


def serve(cart: CartProcess) -> None:
    wait_for(lambda: cart.status().get("stage") == "SERVING", what="the cart serving")


def check_out(cart: CartProcess, name: str, *amounts: int) -> tuple[int, Any]:
    """Return the status and the body of the answer."""
    lines = [{"code": item.code, "amount": amount} for item, amount in zip(CATALOGUE, amounts, strict=False)]
    try:
        return 201, cart.post("/api/checkout", {"sale_id": name, "gender": 0, "lines": lines})
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def feed(cart: CartProcess, name: str, count: int) -> None:
    cart.post("/api/rows", {"batch_id": name, "rows": [row_of(number) for number in range(count)]})


def metrics(cart: CartProcess) -> dict[str, float]:
    """Return the metrics without labels."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{cart.port}/metrics", headers={"Authorization": f"Bearer {cart.token}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        lines = [line.split(" ") for line in answer.read().decode().splitlines() if line[:1] not in ("#", "")]
    return {line[0]: float(line[1]) for line in lines if len(line) == 2 and "{" not in line[0]}


def events(cart: CartProcess) -> str:
    return " ".join(event["text"] for event in cart.status().get("events", []))


@contextmanager
def opened(store: Store) -> Iterator[Store]:
    try:
        yield store
    finally:
        store.close()


def test_a_database_that_is_away_during_a_check_out(tmp_path: Path, mongod: Mongod) -> None:
    """A clear message, and the same check-out again: sold once. ``AWAY_S`` says for how long."""
    cart = new_cart(tmp_path / "cart", "--store", mongod.url("cart"), "--store-timeout-s", "1")
    with running(cart):
        serve(cart)
        assert check_out(cart, "before", 11)[0] == 201
        assert cart.status()["sales"] == 1
        mongod.kill()
        status, said = check_out(cart, "during", 12, 13)
        assert status == 503
        assert "does not answer" in said["error"]
        assert "Nothing that was confirmed is lost; a running cart goes on by itself" in said["error"]
        assert cart.get("/api/items")["items"]  # the shopper goes on scanning, and sees prices
        seen = cart.status()  # the operator sees all that needs no database
        assert "does not answer" in seen["store"]["trouble"]
        assert (seen["sales"], seen["stage"]) == (1, "SERVING")
        tries, back_at = [], time.monotonic() + AWAY_S

        def away_for_long_enough() -> bool:
            tries.append(check_out(cart, "during", 12, 13)[0])
            assert cart.process.poll() is None
            return time.monotonic() > back_at

        wait_for(away_for_long_enough, AWAY_S + 60)
        assert set(tries) == {503}
        mongod.start()
        wait_for(lambda: check_out(cart, "during", 12, 13)[0] == 201, what="selling again")
        for number in range(8):
            assert check_out(cart, f"after {number}", 14)[0] == 201
        wait_for(lambda: cart.status().get("rounds_ended", 0) >= 1, what="learning going on")
        serve(cart)
        assert "Traceback" not in cart.log
        cart.stop()
    sales = {"before": [11], "during": [12, 13]} | {f"after {number}": [14] for number in range(8)}
    with opened(MongoStore(mongod.url("cart"), "", 5.0)) as store:
        prove(store, cart.data / "models", sales, {}, starter=20)
        assert (store.sale_count(), store.row_count()) == (10, 11)


@pytest.fixture
def replica_set(tmp_path: Path) -> Iterator[Mongod]:
    """A replica set of one member; ``set_majority`` takes its majority."""
    need_mongod()
    with replica_set_of_one(tmp_path) as server:
        yield server


def test_nothing_is_confirmed_that_no_majority_has_and_each_sale_is_sold_once(
    tmp_path: Path, replica_set: Mongod
) -> None:
    url = f"{replica_set.url('cart')}?replicaSet=shop"
    cart = new_cart(tmp_path / "cart", "--store", url, "--store-timeout-s", "1")
    with running(cart):
        serve(cart)
        assert check_out(cart, "before", 11)[0] == 201
        set_majority(replica_set, there=False)
        for name in ("first", "first", "second"):  # a repetition confirms nothing either
            status, said = check_out(cart, name, 12)
            assert (status, "does not answer" in said["error"]) == (503, True), said
        assert cart.status()["store"]["trouble"]
        set_majority(replica_set, there=True)
        wait_for(lambda: check_out(cart, "first", 12)[0] in (200, 201), what="selling again")
        assert check_out(cart, "second", 12)[0] in (200, 201)
        wait_for(lambda: cart.status().get("sales") == 3, what="three sales")
        cart.stop()
    with opened(MongoStore(url, "", 5.0)) as store:
        sales = {"before": [11], "first": [12], "second": [12]}
        prove(store, cart.data / "models", sales, {}, starter=20)


def test_carts_with_a_database_each_on_one_server_know_nothing_of_each_other(tmp_path: Path, mongod: Mongod) -> None:
    carts = [new_cart(tmp_path / name, "--store", mongod.url(name)) for name in ("one", "two", "three")]
    with running(*carts):
        for number, cart in enumerate(carts, 1):
            serve(cart)
            for sale in range(number):
                assert check_out(cart, f"sale {sale}", number)[0] == 201  # the same names at each cart
        assert [cart.status()["sales"] for cart in carts] == [1, 2, 3]
        for cart in carts:
            cart.stop()
    for number, cart in enumerate(carts, 1):
        name = cart.data.name
        with opened(MongoStore(mongod.url(name), "", 5.0)) as store:
            prove(store, cart.data / "models", {f"sale {sale}": [number] for sale in range(number)}, {}, starter=20)
    thief = new_cart(tmp_path / "four", "--store", mongod.url("one"))
    with running(thief):
        assert thief.process.wait(30) == 2
        assert "belongs to cart" in thief.log


def test_a_database_that_dies_while_the_cart_learns(tmp_path: Path, mongod: Mongod) -> None:
    cart = new_cart(tmp_path / "cart", "--store", mongod.url("cart"), "--store-timeout-s", "1")
    cart._environment["LIGHT_TASK_EPOCH_S"] = "0.2"
    with running(cart):
        serve(cart)
        feed(cart, "batch", 30)
        wait_for(lambda: cart.status().get("stage") == "TRAINING")
        mongod.kill()
        wait_for(lambda: "Learning is held up: The store" in cart.log)
        mongod.start()
        wait_for(lambda: cart.status().get("rows", {}).get("waiting") == 0, what="the rows being learned")
        serve(cart)
        cart.stop()
    with opened(MongoStore(mongod.url("cart"), "", 5.0)) as store:
        prove_training(store, cart.data / "models", starter=20)


def test_a_shared_catalogue_is_taken_over_and_not_needed_to_sell(tmp_path: Path, mongod: Mongod) -> None:
    def put(*documents: dict[str, Any]) -> None:
        with pymongo.MongoClient(mongod.url("shop")) as client:
            client.get_default_database().items.delete_many({})
            client.get_default_database().items.insert_many(documents)

    tea = {"_id": "4000000000013", "name": "Tea", "category": 4, "price_cents": 250}
    put(tea, {"_id": "bad", "name": "Bad", "category": 4, "price_cents": -1}, {"_id": 7})
    often = ("--catalogue", mongod.url("shop"), "--catalogue-every-s", "0.1", "--store-timeout-s", "0.5")
    cart = new_cart(tmp_path / "cart", *often)
    with running(cart):
        wait_for(lambda: [item["name"] for item in cart.get("/api/items")["items"]] == ["Tea"] if serving(cart) else 0)
        put(tea | {"price_cents": 260}, {"_id": "4000000000020", "name": "Jam", "category": 5, "price_cents": 300})
        wait_for(lambda: len(cart.get("/api/items")["items"]) == 2)
        mongod.kill()
        wait_for(lambda: "Selling goes on with the items that this cart knows" in events(cart))
        cart.kill()
        cart.start()
        serve(cart)
        lines = [{"code": "4000000000013", "amount": 2}]
        sold = cart.post("/api/checkout", {"sale_id": "a", "gender": 1, "lines": lines})
        assert sold["sale"]["total_cents"] == 520
        cart.stop()
    assert cart.log.count("is no item") >= 2
    assert "Traceback" not in cart.log


def serving(cart: CartProcess) -> bool:
    return cart.status().get("stage") == "SERVING"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() != 0:
        skip_loudly("a full disk", "only root may mount a small one", fails_on_ci=False)
    mounting = subprocess.run(mount, capture_output=True, text=True)
    if mounting.returncode != 0:
        skip_loudly("a full disk", f"none may be mounted ({mounting.stderr.strip()})", fails_on_ci=False)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_said_and_costs_nothing(tmp_path: Path, small_disk: Path) -> None:
    cart = new_cart(small_disk / "cart")
    cart._log = tmp_path / "cart.log"
    sales: dict[str, list[int]] = {}
    with running(cart):
        serve(cart)
        assert check_out(cart, "before", 11)[0] == 201
        fill_up(small_disk / "fill")
        # What was written ahead may have room left in its file; then it is really full.
        answers = [check_out(cart, f"full {number}", *range(100, 124)) for number in range(400)]
        refused = [body for status, body in answers if status == 503]
        assert refused
        shown = metrics(cart)
        assert (shown["cart_store_up"], shown["cart_store_refusals_total"] >= len(refused)) == (0, True)
        assert any(said["sentence"].startswith("Nothing is sold or learned.") for said in cart.status()["cautions"])
        assert "If the disk is full, make room" in refused[-1]["error"]
        assert {status for status, _ in answers} <= {201, 503}
        sales = {body["sale"]["sale_id"]: list(range(100, 124)) for status, body in answers if status == 201}
        assert cart.get("/api/items")["items"]
        (small_disk / "fill").unlink()
        wait_for(lambda: metrics(cart)["cart_store_up"] == 1, what="the alarm ending by itself")
        wait_for(lambda: check_out(cart, "after", 12)[0] == 201)
        wait_for(lambda: cart.status().get("rows", {}).get("waiting", 99) < 10, what="learning going on")
        serve(cart)
        assert cart.stop() == 0
    with opened(SqliteStore(cart.data / "cart.db")) as store:
        prove(store, cart.data / "models", sales | {"before": [11], "after": [12]}, {}, starter=20)
        assert store.sale_count() == len(sales) + 2


def fill_up(path: Path) -> None:
    with open(path, "wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(b"x" * 65536)


def learned(tmp_path: Path, rounds: int = 2) -> CartProcess:
    """Return a cart that has learned in rounds, and stopped."""
    cart = new_cart(tmp_path / "cart")
    with running(cart):
        serve(cart)
        for number in range(rounds):
            feed(cart, f"batch {number}", 20)
            wait_for(lambda number=number: cart.status()["rounds_ended"] > number)
            serve(cart)
        cart.stop()
    return cart


def newest_file(cart: CartProcess) -> Path:
    with opened(SqliteStore(cart.data / "cart.db")) as store:
        version = store.current_version()
        assert version is not None
        return cart.data / "models" / version.file_name


@pytest.mark.parametrize("damage", [lambda path: os.truncate(path, 100), lambda path: path.unlink()])
def test_damaged_weights_are_replaced_by_those_before_and_their_rows_wait_again(tmp_path: Path, damage) -> None:
    cart = learned(tmp_path)
    damage(newest_file(cart))
    with running(cart):
        serve(cart)
        assert "20 rows that it was not trained on wait again." in events(cart)
        assert "The weights file" in events(cart)
        wait_for(lambda: cart.status()["rows"]["waiting"] == 0, what="the rows being learned again")
        serve(cart)
        cart.stop()
    with opened(SqliteStore(cart.data / "cart.db")) as store:
        newest, copy, damaged, before = store.versions(4)
        assert copy.copy_of == before.number
        assert (copy.trained_to, copy.digest, copy.samples) == (before.trained_to, before.digest, before.samples)
        assert (newest.trained_from, newest.trained_to) == (damaged.trained_from, damaged.trained_to)
        assert newest.samples == damaged.samples


def test_weights_that_are_damaged_while_the_cart_runs(tmp_path: Path) -> None:
    cart = learned(tmp_path)
    with running(cart):
        serve(cart)
        os.truncate(newest_file(cart), 100)
        feed(cart, "more", 20)
        wait_for(lambda: "Going on from version" in events(cart), what="the cart going back to the version before")
        wait_for(lambda: cart.status()["rows"]["waiting"] == 0, what="the rows being learned again")
        cart.stop()
    assert "Traceback" not in cart.log


def test_without_any_weights_a_cart_names_the_way_out(tmp_path: Path) -> None:
    cart = learned(tmp_path, rounds=1)
    for path in (cart.data / "models").iterdir():
        path.unlink()
    with running(cart):
        assert cart.process.wait(20) == 2
        assert "Restore" in cart.log
        assert "forget the model with the command reset" in cart.log
        command = [*cart._arguments[:2], "reset", "--data-dir", str(cart.data), *SOLD]
        subprocess.run(command, cwd=ROOT, env=cart._environment, check=True, timeout=30)
        cart.start()
        serve(cart)
        wait_for(lambda: cart.status()["rows"]["waiting"] == 0, what="the rows being learned again")
        cart.stop()
