"""What is particular to the SQLite file: its mode, and what a damaged or foreign one gets."""

import sqlite3

import pytest

from child_cart.db.embedded import EmbeddedStore
from child_cart.db.records import Item
from child_cart.db.store import StoreError


def test_nobody_else_can_read_it(tmp_path):
    path = tmp_path / "cart.db"
    store = EmbeddedStore(path)
    store.put_setting("a", "1")
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file
    store.close()


def test_a_damaged_file_is_named_and_not_replaced(tmp_path):
    path = tmp_path / "cart.db"
    path.write_bytes(b"this is no database at all, but it is somebody's only copy" * 100)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"cart\.db cannot be used .*restore it from a backup"):
        EmbeddedStore(path)
    assert path.read_bytes() == before


def test_a_store_of_the_first_schema_is_taken_over(tmp_path):
    path = tmp_path / "cart.db"
    EmbeddedStore(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE items DROP COLUMN retired")
        connection.execute("INSERT INTO items VALUES ('0200000000103', 'Rye bread', 1, 349)")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    for _ in range(2):
        store = EmbeddedStore(path)
        assert store.items() == [Item("0200000000103", "Rye bread", 1, 349)]
        store.close()


def test_a_store_of_a_later_program_is_left_alone(tmp_path):
    path = tmp_path / "cart.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="schema version 99"):
        EmbeddedStore(path)


def test_history_does_not_slow_the_figures_of_a_page(tmp_path):
    store = EmbeddedStore(tmp_path / "cart.db")
    for statement in ("SELECT COALESCE(MAX(sequence), 0) FROM cart_data", "SELECT COALESCE(MAX(number), 0) FROM sales"):
        plan = str(store._all(f"EXPLAIN QUERY PLAN {statement}"))
        assert "SEARCH" in plan
        assert "SCAN" not in plan
    plan = str(
        store._all(
            "EXPLAIN QUERY PLAN SELECT body FROM cart_data WHERE sequence % 10 = 0 AND sequence <= 5 "
            "ORDER BY sequence DESC LIMIT 3"
        )
    )
    assert "held_out_rows" in plan
    store.close()
