"""What every backend of the store must do; each test runs on all of them."""

import threading
from dataclasses import replace

import pytest

from child_cart.db.records import (
    BillLine,
    Item,
    ModelVersion,
    Origin,
    Outcome,
    RoundRecord,
    Sale,
    SetAsideRow,
    SourcedRow,
    Verdict,
)
from child_cart.db.sqlite import SqliteStore
from child_cart.db.store import HOLD_OUT_EVERY, StoreError

BREAD = Item("2000000000015", "Rye bread", 1, 349)
SALE = Sale("sale-1", 1.5, "2026-05-01", 1, (BillLine("2000000000015", "Rye bread", 1, 349, 2),), 698)


def version(number, trained_from=0, trained_to=0, **changes):
    made = ModelVersion(
        number, "task", Origin.LOCAL, f"{number}.h5", "ab", "cd", 0.5, 7, trained_from, trained_to, 2.5, 3, {"a": 1}
    )
    return replace(made, **changes)


def rows(count, start=0):
    return [{"n": number} for number in range(start, start + count)]


def test_an_empty_store(reopen):
    store = reopen()
    assert store.items() == store.sales(5) == store.versions(5) == store.rounds(5) == []
    assert store.current_version() is None
    assert store.waiting_count() == store.row_count() == store.sale_count() == 0
    assert store.settings() == {}


def test_items_are_kept_and_changed(reopen):
    store = reopen()
    milk = Item("2000000000022", "Milk", 2, 119)
    store.put_items([milk, BREAD])
    store.put_items([replace(BREAD, price_cents=399), milk])
    assert store.items() == reopen().items() == [replace(BREAD, price_cents=399), milk]
    reopen().put_items([milk])
    assert reopen().items() == [milk]


def test_single_items_are_added_and_changed_beside_the_others(reopen):
    store = reopen()
    milk, tea = Item("2000000000022", "Milk", 2, 119), Item("2000000000039", "Tea", 4, 250)
    store.put_items([milk, BREAD])
    store.change_items([])
    assert store.items() == [BREAD, milk]
    store.change_items([tea, replace(milk, price_cents=129, retired=True)])
    assert store.items() == reopen().items() == [BREAD, replace(milk, price_cents=129, retired=True), tea]


def test_a_retired_item_stays_and_can_come_back(reopen):
    store = reopen()
    store.put_items([replace(BREAD, retired=True)])
    store = reopen()
    assert store.items() == [replace(BREAD, retired=True)]
    store.put_items([BREAD])
    assert reopen().items() == [BREAD]


def test_a_sale_and_its_rows_are_kept_once(reopen):
    store = reopen()
    assert store.record_sale(SALE, rows(3))
    assert not store.record_sale(replace(SALE, total_cents=1), rows(3))
    assert store.record_sale(replace(SALE, sale_id="sale-2"), [])
    store = reopen()
    assert [sale.sale_id for sale in store.sales(5)] == ["sale-2", "sale-1"]
    assert store.sales(5)[1] == SALE == store.sale("sale-1")
    assert store.sale("sale-3") is None
    assert store.sale_count() == 2
    assert [entry.row for entry in store.waiting_rows(9)] == rows(3)


def test_waiting_rows_know_the_sale_that_made_them(reopen):
    store = reopen()
    store.record_sale(SALE, rows(2))
    store.record_sale(replace(SALE, sale_id="sale-2", sold_at=SALE.sold_at + 5), rows(1))
    store.record_rows("batch", rows(1))
    store.load_rows([SourcedRow(rows(1)[0]), *(SourcedRow(row, "sale-1") for row in rows(2))])
    assert [entry.sale_id for entry in store.every_row()] == ["sale-1", "sale-1", "sale-2", "", "", "sale-1", "sale-1"]
    sources = [(entry.sale_id, entry.sold_at) for entry in reopen().waiting_rows(9)]
    assert (
        sources
        == [*[("sale-1", SALE.sold_at)] * 2, ("sale-2", SALE.sold_at + 5), ("", 0.0), ("", 0.0)]
        + [("sale-1", SALE.sold_at)] * 2
    )


def test_held_out_rows_know_the_sale_that_made_them(reopen):
    store = reopen()
    store.record_rows("batch", rows(10))
    store.record_sale(SALE, rows(9))
    store.record_sale(replace(SALE, sale_id="sale-2", sold_at=SALE.sold_at + 5), rows(11))
    store.add_version(version(0, 0, 30))
    sources = [(entry.sequence, entry.held_out, entry.sale_id, entry.sold_at) for entry in reopen().held_out_rows(9)]
    later = SALE.sold_at + 5
    assert sources == [(30, True, "sale-2", later), (20, True, "sale-2", later), (10, True, "", 0.0)]


def test_a_batch_of_rows_is_kept_once(reopen):
    store = reopen()
    assert store.record_rows("batch", rows(2))
    assert not store.record_rows("batch", rows(2))
    assert store.record_rows("sale-1", rows(1))  # a batch and a sale may have the same id
    assert store.record_sale(SALE, rows(1))
    assert reopen().row_count() == 4


def test_rows_that_cannot_be_kept_leave_no_sale(reopen):
    store = reopen()
    with pytest.raises(TypeError):
        store.record_sale(SALE, [{"n": 1}, {"n": object()}])
    assert store.sale_count() == store.row_count() == 0
    assert store.record_sale(SALE, rows(2))
    assert reopen().row_count() == 2


def test_a_version_spends_its_rows(reopen):
    store = reopen()
    store.record_rows("b", rows(25))
    assert store.waiting_count() == 25
    assert [entry.sequence for entry in store.waiting_rows(3)] == [1, 2, 3]
    store.add_version(version(0))
    store.add_version(version(1, 0, 20))
    store = reopen()
    assert store.waiting_count() == 5
    assert [entry.row["n"] for entry in store.waiting_rows(99)] == [20, 21, 22, 23, 24]
    assert store.current_version() == version(1, 0, 20)
    assert [entry.number for entry in store.versions(9)] == [1, 0]


def test_every_tenth_row_is_held_out_and_only_spent_ones_measure(reopen):
    store = reopen()
    store.record_rows("b", rows(45))
    assert [e.sequence for e in store.waiting_rows(99) if e.held_out] == [10, 20, 30, 40]
    assert store.held_out_rows(9) == []
    store.add_version(version(0, 0, 35))
    assert [entry.row["n"] + 1 for entry in store.held_out_rows(9)] == [30, 20, 10]
    assert [entry.row["n"] + 1 for entry in store.held_out_rows(2)] == [30, 20]
    assert HOLD_OUT_EVERY == 10


def test_versions_follow_each_other_and_never_take_rows_back(reopen):
    store = reopen()
    store.record_rows("b", rows(50))
    with pytest.raises(StoreError, match="does not follow"):
        store.add_version(version(1))
    store.add_version(version(0, 0, 30))
    for wrong in (version(0), version(2, 30, 40), version(1, 30, 20), version(1, 30, 51)):
        with pytest.raises(StoreError, match="does not follow"):
            store.add_version(wrong)
    store.add_version(version(1, 30, 30))
    assert reopen().waiting_count() == 20


def test_a_copy_of_an_earlier_version_lets_the_rows_after_it_wait_again(reopen):
    store = reopen()
    store.record_rows("b", rows(50))
    store.add_version(version(0, 0, 30))
    store.add_version(version(1, 30, 50))
    store.add_version(version(2, 30, 30, copy_of=0))
    store = reopen()
    assert store.current_version() == version(2, 30, 30, copy_of=0)
    assert [entry.sequence for entry in store.waiting_rows(99)] == list(range(31, 51))


def test_old_records_are_pruned_and_the_newest_stay(reopen):
    store = reopen()
    store.prune(1, 1)
    for number in range(6):
        store.add_version(version(number))
        store.save_round(RoundRecord("id", number + 1, 3.5))
    store.prune(4, 2)
    store.prune(0, 9)
    store = reopen()
    assert [entry.number for entry in store.versions(9)] == [5]
    assert [record.number for record in store.rounds(9)] == [6, 5]
    store.add_version(version(6))


def test_sales_without_rows_and_rows_without_sales_keep_their_numbers(reopen):
    store = reopen()
    for number in range(4):
        store.record_sale(replace(SALE, sale_id=f"empty-{number}"), [])
        store.record_rows(f"batch-{number}", rows(7, 7 * number))
    store.add_version(version(0, 0, 12))
    assert store.sale_count() == 4
    assert [(entry.sequence, entry.row["n"]) for entry in store.waiting_rows(99)] == [(n, n - 1) for n in range(13, 29)]
    assert [entry.sequence for entry in store.waiting_rows(5)] == [13, 14, 15, 16, 17]
    assert [entry.row["n"] for entry in store.held_out_rows(9)] == [9]
    assert [sale.sale_id for sale in store.sales(2)] == ["empty-3", "empty-2"]


@pytest.mark.parametrize("row", [{"big": 1 << 80, "a.b": None, "$x": [1.5, "\x00"], "": {"deep": [[]]}}])
def test_any_json_makes_a_row(reopen, row):
    store = reopen()
    store.record_rows("b", [row])
    assert reopen().waiting_rows(1)[0].row == row


def test_notes_are_not_settings(reopen):
    store = reopen()
    store.put_note("owner", "me")
    store.put_note("gone", "1")
    store.put_note("gone", None)
    store = reopen()
    assert (store.note("owner"), store.note("gone"), store.settings()) == ("me", None, {})


def test_everything_can_be_taken_out_and_put_in(reopen):
    store, other = reopen(), reopen("other")
    store.record_sale(SALE, rows(3))
    store.record_rows("batch", rows(250, 3))
    store.record_sale(replace(SALE, sale_id="sale:2"), [])
    other.load_batch_ids(list(store.batch_ids()))
    other.load_sales(list(store.every_sale()))
    other.load_rows(list(store.every_row()))
    other.load_versions([version(7, 0, 100), version(8, 100, 200)])
    other = reopen("other")
    assert list(other.batch_ids()) == ["batch"]
    assert [sale.sale_id for sale in other.every_sale()] == ["sale-1", "sale:2"]
    assert list(other.every_row()) == list(store.every_row())
    assert [entry.row["n"] for entry in other.waiting_rows(999)] == list(range(200, 253))
    assert not other.record_rows("batch", rows(1))
    assert not other.record_sale(SALE, rows(1))
    other.add_version(version(9, 200, 200))
    assert (other.sale_count(), other.row_count()) == (2, 253)


def test_rounds_are_replaced_as_they_go_on(reopen):
    store = reopen()
    record = RoundRecord("id", 1, 3.5)
    store.save_round(record)
    verdict = Verdict("ab" * 16, "ACCEPTED", "It takes part.", 0.5, 3, 100, 1000)
    done = replace(record, verdicts=(verdict,), outcome=Outcome.AGGREGATED, ended_at=4.5, phase_s={"training": 0.5})
    store.save_round(done)
    store.save_round(RoundRecord("id2", 2, 5.5))
    assert reopen().rounds(9) == [RoundRecord("id2", 2, 5.5), done]


def test_forgetting_the_model_keeps_sales_and_rows(reopen):
    store = reopen()
    store.record_sale(SALE, rows(5))
    store.add_version(version(0, 0, 5))
    store.save_round(RoundRecord("id", 1, 3.5))
    store.forget_model()
    store = reopen()
    assert store.current_version() is None
    assert store.rounds(9) == []
    assert store.sale_count() == 1
    assert store.waiting_count() == 5


def test_settings_are_kept_changed_and_forgotten(reopen):
    store = reopen()
    store.put_setting("a", "1")
    store.put_setting("a", "2")
    store.put_setting("b", "3")
    store.put_setting("b", None)
    store.put_setting("c", None)
    assert reopen().settings() == {"a": "2"}


def test_many_threads_at_once(reopen):
    store = reopen()
    store.add_version(version(0))
    errors = []

    def sell(who):
        try:
            for number in range(20):
                store.record_sale(replace(SALE, sale_id=f"{who}-{number}"), rows(2))
                store.waiting_count()
                store.waiting_rows(10)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=sell, args=(who,)) for who in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    store = reopen()
    assert store.sale_count() == 120
    assert [entry.sequence for entry in store.waiting_rows(999)] == list(range(1, 241))


def test_closing_twice_is_safe(reopen):
    store = reopen()
    store.close()
    store.close()


def test_what_is_refused_is_noted_until_a_write_succeeds(tmp_path) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    store.put_note("before", "1")
    assert (store.refusals.count, store.refusals.sentence) == (0, "")
    pages = store._file.value("PRAGMA page_count")
    store._file.value(f"PRAGMA max_page_count = {pages}")  # as a disk that is full
    with pytest.raises(StoreError, match="database or disk is full"):
        store.put_note("large", "x" * 100_000)
    assert store.refusals.count == 1
    assert "If the disk is full, make room" in store.refusals.sentence
    assert store.note("before") == "1"
    assert store.refusals.sentence
    store._file.value(f"PRAGMA max_page_count = {pages + 1000}")
    store.put_note("large", "x" * 100_000)
    assert (store.refusals.count, store.refusals.sentence) == (1, "")
    store.close()


def test_a_version_that_does_not_follow_is_no_refusal(tmp_path) -> None:
    store = SqliteStore(tmp_path / "cart.db")
    with pytest.raises(StoreError, match="does not follow"):
        store.add_version(ModelVersion(5, "t", Origin.LOCAL, "f", "d", "s", 0.5, 1, 0, 0, 1.0))
    assert store.refusals.count == 0
    store.close()


def test_a_store_that_is_cleared_is_as_new(reopen) -> None:
    store = reopen()
    store.put_items([Item("1", "Tea", 4, 250)])
    store.record_sale(Sale("s", 1.0, "2026-05-01", 0, (), 0), [{"a": 1}])
    store.record_rows("b", [{"a": 2}])
    store.add_version(ModelVersion(0, "t", Origin.INITIAL, "f", "d", "s", 0.5, 1, 0, 0, 1.0))
    store.put_setting("dataset_size", "7")
    store.put_note("unfinished", "x")
    store.clear()
    store = reopen()
    assert (store.items(), store.sale_count(), store.row_count(), store.current_version()) == ([], 0, 0, None)
    assert (store.settings(), store.note("unfinished"), list(store.batch_ids())) == ({}, None, [])
    assert store.record_rows("b", [{"a": 3}])
    assert [(row.sequence, row.row) for row in store.waiting_rows(9)] == [(1, {"a": 3})]


def aside(sequence, reason="no number", at=5.5):
    return SetAsideRow(sequence, {"n": sequence - 1, "x": [0.5]}, reason, at)


def test_rows_that_are_set_aside_wait_no_more_and_measure_nothing_also_after_a_reset(reopen):
    store = reopen()
    store.record_rows("b", rows(24))
    store.add_version(version(0))
    store.set_aside([])
    store.set_aside([aside(3), aside(20)])
    assert store.waiting_count() == reopen().waiting_count() == 22
    store = reopen()
    assert [entry.sequence for entry in store.waiting_rows(4)] == [1, 2, 4, 5]
    assert [entry.sequence for entry in store.waiting_rows(99)] == [n for n in range(1, 25) if n not in (3, 20)]
    store.add_version(version(1, trained_to=22))
    assert store.waiting_count() == len(store.waiting_rows(99)) == 2
    assert [entry.sequence for entry in store.held_out_rows(9)] == [10]
    store.set_aside([aside(10), aside(24)])
    assert store.held_out_rows(9) == []
    assert store.waiting_count() == 1
    store.forget_model()
    assert store.waiting_count() == len(store.waiting_rows(99)) == 20


def test_a_row_that_is_set_aside_keeps_its_first_reason(reopen):
    store = reopen()
    store.record_rows("b", rows(9))
    store.set_aside([aside(3)])
    store.set_aside([aside(3, "another", 7.5), aside(8)])
    assert store.set_aside_count() == 2
    assert reopen().set_aside_rows(9) == [aside(8), aside(3)]
    assert reopen().set_aside_rows(1) == [aside(8)]
    store = reopen()
    store.clear()
    assert (store.set_aside_count(), store.set_aside_rows(9)) == (0, [])


def test_spent_rows_are_given_again_by_their_numbers(reopen):
    store = reopen()
    store.record_rows("b", rows(12))
    store.record_sale(SALE, rows(3, start=12))
    store.record_sale(replace(SALE, sale_id="empty"), [])
    store.record_rows("c", rows(9, start=15))
    store.add_version(version(0))
    assert store.spent_rows([1, 2]) == [], "none is spent yet"
    store.add_version(version(1, trained_to=22))
    store.set_aside([aside(7)])
    store = reopen()
    found = store.spent_rows([22, 2, 7, 10, 13, 15, 16, 0, 23, 24, 99])
    assert [(one.sequence, one.row["n"], one.held_out) for one in found] == [
        (number, number - 1, number == 10) for number in (2, 10, 13, 15, 16, 22)
    ]
    assert [(one.sale_id, one.sold_at) for one in found[1:5]] == [
        ("", 0.0),
        ("sale-1", 1.5),
        ("sale-1", 1.5),
        ("", 0.0),
    ]
    assert store.spent_rows([]) == []
    assert [one.sequence for one in store.spent_rows(range(1, 40_001))] == [n for n in range(1, 23) if n != 7]
