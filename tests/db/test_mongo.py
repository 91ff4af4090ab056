"""What is particular to MongoDB: lost answers, late tries, a server that dies, schema steps, plans of queries."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pymongo
import pytest
from support.networks.deaf_proxy import DeafProxy
from support.processes.mongod import Mongod, need_mongod, unique
from support.processes.programs import is_stopped, wait_for
from test_store import SALE, rows, version

from child_cart.db import mongo
from child_cart.db.deadline import remaining_s, within
from child_cart.db.mongo import MongoStore
from child_cart.db.mongo_client import MongoServer
from child_cart.db.records import Item
from child_cart.db.store import StoreAway, StoreError


@pytest.fixture
def url(mongod: Mongod) -> str:
    return mongod.url(unique("particular"))


@pytest.fixture
def store(url: str):
    made = MongoStore(url, "mongodb://here", 5.0)
    yield made
    made.close()


@pytest.fixture
def own(tmp_path):
    """A server of the test's own, to be killed."""
    need_mongod()
    with Mongod(tmp_path) as server:
        yield server


@pytest.fixture
def deaf(mongod: Mongod):
    proxy = DeafProxy(mongod.port)
    store = MongoStore(f"mongodb://127.0.0.1:{proxy.port}/{unique('deaf')}", "mongodb://here", 5.0)
    yield store, proxy
    store.close()
    proxy.close()


def test_writes_are_acknowledged_by_a_majority_and_journaled(store: MongoStore) -> None:
    concern = store._database.write_concern.document
    assert (concern["w"], concern["j"]) == ("majority", True)
    assert concern["wtimeout"] == 5000


def test_a_lost_answer_is_asked_for_again_and_counts_once(deaf) -> None:
    store, proxy = deaf
    store.record_sale(SALE, rows(2))
    for work in (
        lambda: store.record_sale(replace(SALE, sale_id="2"), rows(3)),
        lambda: store.record_rows("batch", rows(4)),
        lambda: store.add_version(version(0, 0, 9)) is None,
    ):
        swallowed = proxy.swallowed
        proxy.deaf_to, proxy.times = b"insert", 1
        assert work()
        assert proxy.swallowed == swallowed + 1
    assert not store.record_sale(replace(SALE, sale_id="2"), rows(3))
    assert (store.sale_count(), store.row_count(), store.waiting_count()) == (2, 9, 0)
    assert [entry.number for entry in store.versions(9)] == [0]


def test_where_no_answer_comes_asking_again_finds_what_was_done(deaf) -> None:
    store, proxy = deaf
    proxy.deaf_to, proxy.times = b"insert", 2
    with pytest.raises(StoreAway, match="Nothing that was confirmed is lost"):
        store.record_sale(SALE, rows(2))
    wait_for(lambda: not _refused(store.row_count))
    assert not store.record_sale(SALE, rows(2))
    assert (store.sale_count(), store.row_count()) == (1, 2)
    proxy.times = 2
    with pytest.raises(StoreAway):
        store.add_version(version(0, 0, 2))
    wait_for(lambda: not _refused(store.row_count))
    assert store.current_version() == version(0, 0, 2)
    store.add_version(version(0, 0, 2))
    with pytest.raises(StoreError, match="does not follow"):
        store.add_version(version(0, 0, 2, file_name="other.h5"))


def _refused(work) -> bool:
    try:
        work()
    except StoreAway:
        return True
    return False


def test_an_entry_that_lands_late_takes_a_number_and_nothing_else(store, url) -> None:
    late = MongoStore(url, "mongodb://here", 5.0)
    store.record_sale(SALE, rows(2))
    late.record_sale(replace(SALE, sale_id="late"), rows(3))
    store.record_sale(replace(SALE, sale_id="next"), rows(4))
    assert not store.record_sale(replace(SALE, sale_id="late"), rows(3))
    assert [sale.sale_id for sale in store.sales(9)] == ["next", "late", "sale-1"]
    assert [entry.sequence for entry in store.waiting_rows(99)] == list(range(1, 10))
    late.close()


def test_a_server_that_is_killed_is_missed_at_once_and_found_again(
    own: Mongod, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MongoStore(own.url("cart"), "mongodb://here", 1.0)
    store.record_sale(SALE, rows(2))
    own.kill()
    with pytest.raises(StoreAway, match="The store mongodb://here does not answer"):
        store.record_sale(replace(SALE, sale_id="2"), rows(2))
    asked: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr(MongoServer, "_tried", lambda *arguments: asked.append(arguments))
        for _ in range(200):
            with pytest.raises(StoreAway, match="no connection"):
                store.waiting_count()
    assert asked == []  # nothing has waited for the server
    own.start()
    wait_for(lambda: not _refused(lambda: store.record_sale(replace(SALE, sale_id="2"), rows(2))))
    assert (store.sale_count(), store.row_count()) == (2, 4)
    assert store.waiting_rows(9)[-1].sequence == 4
    store.close()


def test_a_server_that_hangs_is_given_up_in_time_and_loses_nothing(own: Mongod) -> None:
    store = MongoStore(own.url("cart"), "mongodb://here", 0.5)
    store.record_sale(SALE, rows(2))
    os.kill(own.process.pid, signal.SIGSTOP)
    wait_for(lambda: is_stopped(own.process.pid))  # until then it may answer
    try:
        with pytest.raises(StoreAway):
            store.record_sale(replace(SALE, sale_id="2"), rows(2))
    finally:
        os.kill(own.process.pid, signal.SIGCONT)
    wait_for(lambda: not _refused(lambda: store.record_sale(replace(SALE, sale_id="2"), rows(2))))
    wait_for(lambda: not _refused(lambda: store.record_sale(replace(SALE, sale_id="3"), rows(2))))
    assert (store.sale_count(), store.row_count()) == (3, 6)
    assert [entry.sequence for entry in store.waiting_rows(99)] == list(range(1, 7))
    store.close()


def test_many_sales_under_a_server_that_is_killed_are_kept_once(own: Mongod) -> None:
    store = MongoStore(own.url("cart"), "mongodb://here", 1.0)
    confirmed: list[str] = []
    for number in range(90):
        if number % 30 == 10:
            own.process.send_signal(signal.SIGKILL)  # and no waiting: the next sale may still get through
        if number % 30 == 12:
            own.process.wait()
            own.start()
        name = f"sale {number}"
        try:
            store.record_sale(replace(SALE, sale_id=name), rows(2))
            confirmed.append(name)
        except StoreAway:
            pass
    wait_for(lambda: not _refused(store.row_count))
    kept = [sale.sale_id for sale in store.every_sale()]
    assert set(confirmed) <= set(kept)
    assert len(kept) == len(set(kept)) == store.sale_count()
    assert [entry.sequence for entry in store.waiting_rows(9999)] == list(range(1, 2 * len(kept) + 1))
    store.close()


def test_items_of_an_earlier_program_are_sold_as_before(store, url) -> None:
    with pymongo.MongoClient(url) as client:
        database = client.get_default_database()
        database.items.insert_one({"_id": "0200000000103", "name": "Rye bread", "category": 1, "price_cents": 349})
        database.notes.update_one({"_id": "schema"}, {"$set": {"value": "1"}})
        again = MongoStore(url, "mongodb://here", 5.0)
        assert again.items() == [Item("0200000000103", "Rye bread", 1, 349)]
        again.close()
        assert database.items.find_one()["retired"] is False
        assert database.notes.find_one({"_id": "schema"})["value"] == str(len(mongo.MIGRATIONS))


def test_schema_steps_are_done_in_order_and_again_if_they_were_cut_short(store, url, monkeypatch) -> None:
    done = []

    def cut_short(database):
        done.append("tried")
        database.entries.create_index("new")
        if len(done) == 1:
            raise pymongo.errors.OperationFailure("as told")

    monkeypatch.setattr(mongo, "MIGRATIONS", [*mongo.MIGRATIONS, cut_short])
    store.record_sale(SALE, rows(1))
    with pytest.raises(StoreError, match="refuses"):
        MongoStore(url, "mongodb://here", 5.0)
    for _ in range(2):
        again = MongoStore(url, "mongodb://here", 5.0)
        assert again.sale_count() == 1
        again.close()
    assert done == ["tried", "tried"]
    monkeypatch.setattr(mongo, "MIGRATIONS", mongo.MIGRATIONS[:1])
    with pytest.raises(StoreError, match="schema version 5; this program reads up to 1"):
        MongoStore(url, "mongodb://here", 5.0)


def test_no_question_is_answered_by_going_through_everything(store, url, mongod: Mongod) -> None:
    for number in range(60):
        store.record_sale(replace(SALE, sale_id=f"{number}"), rows(3))
        store.record_sale(replace(SALE, sale_id=f"empty {number}"), [])
    store.add_version(version(0, 0, 90))
    with pymongo.MongoClient(mongod.url("admin")) as client:
        database = client[url.rpartition("/")[2]]
        database.command("profile", 2)
        store._entries.forget_head()
        store.sale("7"), store.sales(5), store.sale_count(), store.waiting_count(), store.rounds(3)
        assert len(store.waiting_rows(10)) == 10
        assert len(store.held_out_rows(2)) == 2
        store.record_sale(replace(SALE, sale_id="last"), rows(1))
        database.command("profile", 0)
        seen = list(database.system.profile.find({"op": {"$in": ["query", "getmore"]}}))
    assert len(seen) > 8
    for entry in seen:
        if entry["ns"].endswith(".entries"):
            assert "COLLSCAN" not in entry["planSummary"], entry["command"]
            assert entry.get("docsExamined", 0) <= 25, entry["command"]


def test_a_sale_and_its_rows_are_one_document(store, url) -> None:
    """The reason why no transaction is needed; reports read it as it is."""
    store.record_sale(SALE, rows(2))
    with pymongo.MongoClient(url) as client:
        (entry,) = client.get_default_database().entries.find()
    assert (entry["sale"]["total_cents"], entry["rows_from"], entry["rows_to"]) == (SALE.total_cents, 1, 2)
    assert entry["rows"] == ['{"n":0}', '{"n":1}']


def test_a_request_without_time_left_asks_nothing(mongod) -> None:
    url = mongod.url(unique("late"))
    store = MongoStore(url, "mongodb://here", 5.0)
    store.record_rows("b", [{"a": 1}])
    with within(0.0):
        for late in (lambda: store.sale("s"), lambda: store.record_rows("c", [{"a": 2}])):
            with pytest.raises(StoreAway, match="does not answer"):
                late()
    assert store.row_count() == 1
    store.close()


def test_who_holds_the_store_is_waited_for_only_as_long_as_the_request_has(mongod) -> None:
    store = MongoStore(mongod.url(unique("held")), "mongodb://here", 600.0)
    with ThreadPoolExecutor() as pool, store._lock:

        def ask() -> None:
            with within(0.05):
                store.record_rows("b", [{"a": 1}])

        with pytest.raises(StoreAway, match="others wait for it already"):
            pool.submit(ask).result()
    assert store.record_rows("b", [{"a": 1}])
    store.close()


def test_an_inner_deadline_is_never_later_than_the_outer() -> None:
    assert remaining_s(7.0) == 7.0
    with within(0.0), within(5.0):
        assert remaining_s(7.0) == 0.0
    with within(500.0), within(100.0):
        assert remaining_s(7.0) <= 100.0
    assert remaining_s(7.0) == 7.0
