"""What learning needs of a store, on the store of a real cart and on that of a simulated one."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.db.records import ModelVersion, Origin, Outcome, RoundRecord, SetAsideRow
from child_cart.db.sqlite import SqliteStore
from child_cart.db.store import StoreError
from lab.carts.memory import MemoryStore

VERSION = ModelVersion(0, "task", Origin.LOCAL, "0.h5", "ab", "cd", 0.5, 7, 0, 0, 2.5, 3, {"a": 1})
ROUND = RoundRecord("ab", 1, 10.0)


def version(number, trained_to, trained_from=0):
    return replace(VERSION, number=number, file_name=f"{number}.h5", trained_from=trained_from, trained_to=trained_to)


def rows(count, start=0):
    return [{"n": number} for number in range(start, start + count)]


class Sqlite(SqliteStore):
    batches = 0

    def add_rows(self, rows):
        self.batches += 1
        self.record_rows(f"batch-{self.batches}", rows)


@pytest.fixture(params=["sqlite", "memory"])
def store(request, tmp_path):
    made = Sqlite(tmp_path / "cart.db") if request.param == "sqlite" else MemoryStore()
    yield made
    if request.param == "sqlite":
        made.close()


def test_an_empty_store_for_learning(store):
    assert store.waiting_count() == store.row_count() == 0
    assert store.waiting_rows(5) == store.held_out_rows(5) == store.versions(5) == store.rounds(5) == []
    assert store.current_version() is None
    assert store.settings() == {}


def test_rows_that_are_set_aside_neither_wait_nor_measure(store):
    store.add_rows(rows(45))
    store.add_version(version(0, 0))
    store.add_version(version(1, 30))
    store.set_aside([SetAsideRow(number, {}, "wrong", 1.0) for number in (20, 31, 40)])
    assert store.waiting_count() == 13
    assert [one.sequence for one in store.waiting_rows(3)] == [32, 33, 34]
    assert [one.sequence for one in store.held_out_rows(9)] == [30, 10]
    store.add_version(version(2, 45))
    assert [one.sequence for one in store.held_out_rows(9)] == [30, 10]


def test_rows_wait_until_a_version_spends_them(store):
    store.add_rows(rows(25))
    store.add_version(version(0, 0))
    assert (store.row_count(), store.waiting_count()) == (25, 25)
    assert [(one.sequence, one.row, one.held_out) for one in store.waiting_rows(11)] == [
        (number, {"n": number - 1}, number == 10) for number in range(1, 12)
    ]
    assert store.held_out_rows(9) == []
    store.add_version(version(1, 21))
    assert store.waiting_count() == 4
    assert [one.sequence for one in store.waiting_rows(99)] == [22, 23, 24, 25]
    store.add_version(version(2, 21, 21))
    assert store.waiting_count() == 4


def test_only_spent_rows_measure_the_newest_first(store):
    store.add_rows(rows(45))
    store.add_version(version(0, 0))
    store.add_version(version(1, 39))
    assert [stored.row["n"] for stored in store.held_out_rows(9)] == [29, 19, 9]
    assert [stored.row["n"] for stored in store.held_out_rows(2)] == [29, 19]
    assert store.held_out_rows(0) == []
    store.add_version(version(2, 45, 39))
    assert [stored.row["n"] for stored in store.held_out_rows(9)] == [39, 29, 19, 9]


@pytest.mark.parametrize("wrong", [version(2, 0), version(0, 0), version(1, 6), version(1, 3)])
def test_versions_of_learning_follow_each_other(store, wrong):
    store.add_rows(rows(5))
    store.add_version(version(0, 4))
    with pytest.raises(StoreError):
        store.add_version(wrong)
    assert store.versions(9) == [version(0, 4)]
    assert store.waiting_count() == 1


def test_versions_are_newest_first_and_the_newest_stays(store):
    for number in range(5):
        store.add_version(version(number, 0))
    assert [one.number for one in store.versions(3)] == [4, 3, 2]
    store.prune(2, 1)
    assert [one.number for one in store.versions(9)] == [4, 3]
    store.prune(0, 0)
    assert store.versions(9) == [store.current_version()] == [version(4, 0)]


def test_the_newest_round_is_kept_as_it_goes_on(store):
    store.save_round(ROUND)
    store.save_round(replace(ROUND, rows=7))
    assert store.rounds(1) == [replace(ROUND, rows=7)]
    ended = replace(ROUND, outcome=Outcome.AGGREGATED, ended_at=11.0)
    store.save_round(ended)
    store.save_round(replace(ROUND, round_id="cd", number=2, started_at=12.0))
    assert [one.number for one in store.rounds(1)] == [2]


@given(st.lists(st.tuples(st.integers(0, 40), st.floats(0, 1)), max_size=12))
def test_both_stores_tell_the_same_after_any_rounds(tmp_path_factory, steps):
    kept, memory = Sqlite(tmp_path_factory.mktemp("store") / "cart.db"), MemoryStore()
    try:
        spent, given = 0, 0
        for number, (count, part) in enumerate(steps):
            spent, before = given + round(part * count), spent
            for store in (kept, memory):
                store.add_rows(rows(count, given))
                store.add_version(version(number, spent, before))
                store.prune(2, 1)
            given += count
            assert kept.waiting_rows(1000) == memory.waiting_rows(1000)
            assert kept.held_out_rows(7) == memory.held_out_rows(7)
            assert kept.spent_rows(range(0, 99, 3)) == memory.spent_rows(range(0, 99, 3))
            assert kept.versions(9) == memory.versions(9)
            assert kept.waiting_count() == memory.waiting_count()
    finally:
        kept.close()


def test_a_simulated_cart_goes_on_with_what_it_had_not_spent():
    whole, later = MemoryStore(), MemoryStore()
    whole.add_rows(rows(37))
    whole.add_version(version(0, 0))
    whole.add_version(version(1, 31))
    whole.set_aside([SetAsideRow(number, {}, "wrong", 1.0) for number in (4, 20, 33)])
    later.go_on_from([version(1, 31)], rows(37), whole.set_aside_numbers)
    numbers = range(1, 38)
    assert [one.sequence for one in whole.spent_rows(numbers)] == [n for n in range(1, 32) if n not in (4, 20)]
    assert later.spent_rows(numbers) == whole.spent_rows(numbers)
    assert later.set_aside_numbers == whole.set_aside_numbers
    assert later.waiting_rows(99) == whole.waiting_rows(99)
    assert later.held_out_rows(99) == whole.held_out_rows(99)
    assert later.current_version() == whole.current_version()


def test_a_simulated_cart_refuses_what_it_cannot_do():
    store = MemoryStore()
    with pytest.raises(NotImplementedError):
        store.forget_model()
    with pytest.raises(NotImplementedError):
        store.put_setting("sharing", "off")
