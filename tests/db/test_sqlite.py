"""What is particular to the SQLite file: its mode, and what a damaged or foreign one gets."""

import sqlite3
import threading

import pytest

from child_cart.db import sqlite as embedded
from child_cart.db.deadline import within
from child_cart.db.records import Item
from child_cart.db.sqlite import SqliteStore
from child_cart.db.store import StoreAway, StoreError


def test_nobody_else_can_read_it(tmp_path):
    path = tmp_path / "cart.db"
    store = SqliteStore(path)
    store.put_setting("a", "1")
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    store.close()


def test_a_damaged_file_is_named_and_not_replaced(tmp_path):
    path = tmp_path / "cart.db"
    path.write_bytes(b"this is no database at all, but it is somebody's only copy" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"cart\.db cannot be used .*restore it from a backup"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_store_of_a_later_program_is_left_alone(tmp_path):
    path = tmp_path / "cart.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema version 99"):
        SqliteStore(path)


def test_history_does_not_slow_the_figures_of_a_page(tmp_path):
    store = SqliteStore(tmp_path / "cart.db")
    for statement in ("SELECT COALESCE(MAX(sequence), 0) FROM cart_data", "SELECT COALESCE(MAX(number), 0) FROM sales"):
        plan = str(store._file.rows(f"EXPLAIN QUERY PLAN {statement}"))
        assert "SEARCH" in plan
        assert "SCAN" not in plan
    plan = str(
        store._file.rows(
            "EXPLAIN QUERY PLAN SELECT sequence, sale_id FROM cart_data LEFT JOIN sales ON number = sale "
            "WHERE sequence % 10 = 0 AND sequence <= 5 ORDER BY sequence DESC LIMIT 3"
        )
    )
    assert "held_out_rows" in plan
    store.close()


@pytest.mark.parametrize("version", range(1, len(embedded.MIGRATIONS)))
def test_a_store_of_an_earlier_program_is_brought_up_to_date(tmp_path, version):
    path = tmp_path / "cart.db"
    connection = sqlite3.connect(path)
    connection.executescript(";".join([*embedded.MIGRATIONS[:version], f"PRAGMA user_version = {version}"]))
    connection.execute(
        "INSERT INTO items (code, name, category, price_cents) VALUES ('0200000000103', 'Rye bread', 1, 349)"
    )
    connection.commit()
    connection.close()
    store = SqliteStore(path)
    store.record_rows("b", [{"n": 1}])
    store.put_note("owner", "me")
    store.close()
    store = SqliteStore(path)
    assert store.items() == [Item("0200000000103", "Rye bread", 1, 349)]
    assert (store.row_count(), store.note("owner")) == (1, "me")
    store.close()


def test_a_schema_step_that_fails_changes_nothing_and_is_tried_again(tmp_path, monkeypatch):
    store = SqliteStore(tmp_path / "cart.db")
    store.record_rows("b", [{"n": 1}])
    store.close()
    steps = embedded.MIGRATIONS
    monkeypatch.setattr(embedded, "MIGRATIONS", [*steps, "CREATE TABLE new (a); INSERT INTO nowhere VALUES (1)"])
    with pytest.raises(StoreError, match="nowhere"):
        SqliteStore(tmp_path / "cart.db")
    monkeypatch.setattr(embedded, "MIGRATIONS", [*steps, "CREATE TABLE new (a); INSERT INTO new VALUES (1)"])
    store = SqliteStore(tmp_path / "cart.db")
    assert store._file.value("SELECT a FROM new") == store.row_count() == 1
    store.close()


@pytest.mark.parametrize("damage", ["top", "cut", "noise"])
def test_a_file_that_was_damaged_later_is_named(tmp_path, damage):
    path = tmp_path / "cart.db"
    store = SqliteStore(path)
    store.record_rows("b", [{"n": number} for number in range(3000)])
    store.close()
    content = path.read_bytes()
    half = len(content) // 2
    broken = {"top": b"\0" * 100 + content[100:], "cut": content[:half], "noise": content[:4096] + b"\x5a" * half}
    path.write_bytes(broken[damage])
    with pytest.raises(StoreError, match=r"cart\.db .*(restore|Restore)"):
        SqliteStore(path)
    assert path.read_bytes() == broken[damage]


@pytest.fixture
def held(tmp_path):
    """A store whose file another program writes to, for as long as it likes."""
    store = SqliteStore(tmp_path / "cart.db", timeout_s=30.0)
    other = sqlite3.connect(tmp_path / "cart.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield store
    other.close()
    store.put_setting("a", "2")  # it goes on by itself
    assert store.refusals.count == 2
    store.close()


@pytest.mark.timeout(20)  # SQLite would wait for much longer than the test
def test_nobody_waits_longer_for_another_program_than_is_set(held):
    with within(0.1), pytest.raises(StoreAway, match="is busy"):  # what is left to a request counts
        held.put_setting("a", "1")
    held._file._timeout_s = 0.1
    with pytest.raises(StoreAway, match=r"cart\.db is busy \(database is locked\)"):
        held.put_setting("a", "1")
    assert held.settings() == {}  # reading does not wait


def test_nobody_waits_longer_for_another_thread_than_is_set(tmp_path):
    store = SqliteStore(tmp_path / "cart.db", timeout_s=0.1)
    taken, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with store._file.transaction():
            taken.set()
            ended.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(30)
    with pytest.raises(StoreAway, match="others of this cart wait for it already"):
        store.items()
    ended.set()
    thread.join()
    assert store.items() == []
    store.close()
