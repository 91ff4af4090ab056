"""Which rows a round learns from: many sales and days, never one long bill or one busy client alone."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.db.records import StoredRow
from child_cart.learning.row_choice import (
    ALWAYS_TAKEN,
    chosen_rows,
    judging_rows,
    rehearsal_numbers,
    rehearsed_rows,
)

DATASET = 100
DAY_S = 86_400
NOON_S = 12 * 3600


def rows_of(*sales: tuple[str, int, int]) -> list[StoredRow]:
    """Return rows of sales, each given as its id, its day and its number of lines."""
    sources = [(sale_id, float(day * DAY_S + NOON_S)) for sale_id, day, lines in sales for _ in range(lines)]
    return [StoredRow(number, {"n": number}, number % 10 == 0, *source) for number, source in enumerate(sources, 1)]


def by_sale(rows: list[StoredRow]) -> Counter[str]:
    return Counter(row.sale_id for row in rows)


def test_ordinary_bills_are_taken_whole() -> None:
    waiting = rows_of(*((f"s{number}", number // 9, 1 + number % 10) for number in range(18)))
    assert chosen_rows(waiting, DATASET) == waiting


def test_a_single_sale_makes_no_round() -> None:
    assert len(chosen_rows(rows_of(("flood", 1, 200)), DATASET)) == 20
    waiting = rows_of(*((f"s{number}", 1, 4) for number in range(20)), ("flood", 1, 200))
    assert by_sale(chosen_rows(waiting, DATASET))["flood"] == 28
    assert by_sale(chosen_rows(waiting, DATASET))["s7"] == 4


def test_rows_of_programs_are_all_taken() -> None:
    waiting = rows_of(("", 0, 5000))
    assert chosen_rows(waiting, DATASET) == waiting


def test_a_flood_of_a_day_is_held_against_the_days_before() -> None:
    honest = [(f"s{number}", 1 + number // 40, 3) for number in range(80)]
    flood = [(f"f{number}", 3, 4) for number in range(1000)]
    chosen = by_sale(chosen_rows(rows_of(*honest, *flood), DATASET))
    assert all(chosen[sale_id] == lines for sale_id, _, lines in honest)
    from_flood = {sale_id: count for sale_id, count in chosen.items() if sale_id.startswith("f")}
    assert sum(from_flood.values()) == 2 * 240
    assert max(from_flood.values()) == 1, "many sales a little, not a few sales whole"


def test_a_flood_over_midnight_gets_no_more_than_one_of_a_day() -> None:
    honest = [(f"h{number}", 1 + number // 10, 3) for number in range(30)]
    for halves in ((800, 0), (400, 400), (300, 500)):
        flood = [(f"f{day}-{number}", 5 + day, 1) for day, half in enumerate(halves) for number in range(half)]
        chosen = by_sale(chosen_rows(rows_of(*honest, *flood), 50))
        assert sum(count for sale_id, count in chosen.items() if sale_id.startswith("h")) == 90
        assert sum(count for sale_id, count in chosen.items() if sale_id.startswith("f")) == 180, halves


@pytest.mark.parametrize("zone", ["XXX-14", "XXX+12"])
def test_days_are_those_of_the_cart(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        honest, flood = rows_of(*((f"h{number}", 3 + number // 10, 3) for number in range(20))), []
        midnight_s = datetime(2026, 3, 5).timestamp()
        for number in range(400):
            at = midnight_s + number * (DAY_S // 400)
            flood.append(StoredRow(100 + number, {}, False, f"f{number}", at))
        quiet = StoredRow(600, {}, False, "quiet", midnight_s - 1)
        assert len(chosen_rows([*honest, *flood, quiet], 20)) == 61 + 122
    finally:
        monkeypatch.undo()
        time.tzset()


def test_steady_days_are_taken_whole() -> None:
    waiting = rows_of(*((f"s{number}", 1 + number // 200, 3) for number in range(1000)))
    assert chosen_rows(waiting, DATASET) == waiting


def test_a_cart_whose_sales_are_all_of_one_day_learns_from_all_of_them() -> None:
    waiting = rows_of(*((f"s{number}", 1, 3) for number in range(500)))
    assert chosen_rows(waiting, DATASET) == waiting


def test_a_busy_day_after_a_quiet_one_is_not_cut_in_an_ordinary_round() -> None:
    waiting = rows_of(("quiet", 1, 1), *((f"s{number}", 2, 3) for number in range(60)))
    assert chosen_rows(waiting, DATASET) == waiting


@given(
    st.lists(st.tuples(st.sampled_from(["", *"abcdefgh"]), st.integers(0, 3), st.integers(1, 40)), max_size=60),
    st.integers(1, 200),
)
def test_rows_stay_in_order_and_within_the_limits(sales: list[tuple[str, int, int]], dataset_size: int) -> None:
    waiting = rows_of(*sales)
    chosen = chosen_rows(waiting, dataset_size)
    assert chosen == [row for row in waiting if row in chosen], "a part of the waiting rows, in their order"
    assert len({row.sequence for row in chosen}) == len(chosen)
    assert [row for row in chosen if not row.sale_id] == [row for row in waiting if not row.sale_id]
    most = max(ALWAYS_TAKEN, -(-len(waiting) // 10))
    assert all(count <= most for sale_id, count in by_sale(chosen).items() if sale_id)
    assert bool(chosen) == bool(waiting)


def test_a_single_sale_is_not_the_judge() -> None:
    judges = by_sale(judging_rows(rows_of(*((f"s{number}", 1, 1) for number in range(30)), ("flood", 1, 900)), 200))
    assert judges["flood"] == 20
    assert sum(judges.values()) == 50, "and all of the other sales"


def test_a_flood_of_a_day_does_not_push_out_the_days_before() -> None:
    honest = [(f"s{number}", 1 + number // 10, 3) for number in range(40)]
    flood = [(f"f{number}", 5, 9) for number in range(200)]
    judges = by_sale(judging_rows(rows_of(*honest, *flood), 100))
    assert sum(count for sale_id, count in judges.items() if sale_id.startswith("f")) == 20
    assert all(judges[sale_id] >= 1 for sale_id, _, _ in honest)


def test_rows_of_programs_alone_judge_by_the_newest() -> None:
    held_out = rows_of(("", 0, 500))
    assert judging_rows(held_out, 200) == held_out[:-201:-1]


@given(
    st.lists(st.tuples(st.sampled_from(["", *"abcdefgh"]), st.integers(0, 3), st.integers(1, 40)), max_size=60),
    st.integers(1, 200),
    st.randoms(),
)
def test_no_day_and_no_sale_judges_more_than_its_share(
    sales: list[tuple[str, int, int]], most: int, random: Random
) -> None:
    held_out = rows_of(*[(f"{name}{day}" if name else "", day if name else 0, lines) for name, day, lines in sales])
    judges = judging_rows(held_out, most)
    assert len(judges) <= most
    assert len({row.sequence for row in judges}) == len(judges)
    assert set(by_sequence(judges)) <= set(by_sequence(held_out))
    most_of_a_sale = max(1, -(-min(most, len(held_out)) // 10))
    counts = by_sale(judges)
    assert all(count <= most_of_a_sale for sale_id, count in counts.items() if sale_id)
    days, all_days = (Counter(int(row.sold_at // DAY_S) for row in rows) for rows in (judges, held_out))
    left_out = {
        int(row.sold_at // DAY_S)
        for row in held_out
        if row not in judges and (not row.sale_id or counts[row.sale_id] < most_of_a_sale)
    }
    assert all(days[day] <= days[cut] + 1 for cut in left_out for day in all_days), "days take turns"
    assert len(judges) == most or not left_out, "no row is left out without need"
    shuffled = held_out.copy()
    random.shuffle(shuffled)
    assert judging_rows(shuffled, most) == judges


def by_sequence(rows: list[StoredRow]) -> list[int]:
    return [row.sequence for row in rows]


@given(st.integers(0, 5000), st.integers(0, 300))
def test_rows_of_which_some_are_rehearsed_are_spent_and_not_held_out(spent_to: int, most: int) -> None:
    numbers = rehearsal_numbers(spent_to, most)
    assert numbers == sorted(set(numbers)) == rehearsal_numbers(spent_to, most)
    assert all(0 < number <= spent_to and number % 10 for number in numbers)
    assert min(most, spent_to - spent_to // 10) <= len(numbers) <= 4 * most


@given(
    st.lists(st.tuples(st.sampled_from(["", *"abcdefgh"]), st.integers(0, 3), st.integers(1, 40)), max_size=60),
    st.integers(0, 200),
    st.integers(0, 99),
)
def test_no_sale_is_rehearsed_more_than_its_share(sales: list[tuple[str, int, int]], most: int, seed: int) -> None:
    candidates = rows_of(*sales)
    taken = rehearsed_rows(candidates, most, seed)
    assert taken == [row for row in candidates if row in taken] == rehearsed_rows(candidates, most, seed)
    assert len(taken) <= most
    share = max(1, -(-min(most, len(candidates)) // 10))
    assert all(count <= share for sale_id, count in by_sale(taken).items() if sale_id)
    from_programs = sum(not row.sale_id for row in candidates)
    assert len(taken) >= min(most, from_programs)


def test_all_past_times_are_rehearsed_alike() -> None:
    taken: Counter[int] = Counter()
    rounds = range(2000, 2400)
    for spent_to in rounds:
        past = rows_of(("", 0, spent_to))
        candidates = [past[number - 1] for number in rehearsal_numbers(spent_to, 40)]
        taken.update((row.sequence - 1) // 200 for row in rehearsed_rows(candidates, 40, spent_to))
    first_ten = [taken[block] / len(rounds) for block in range(10)]
    assert max(first_ten) < 1.25 * min(first_ten)
    assert sum(taken.values()) == 40 * len(rounds)


def test_a_flood_of_a_day_is_rehearsed_as_a_day() -> None:
    honest = [(f"s{number}", 1 + number // 10, 3) for number in range(90)]
    flood = [(f"f{number}", 20, 4) for number in range(300)]
    taken = by_sale(rehearsed_rows(rows_of(*honest, *flood), 100, seed=1))
    assert sum(taken.values()) == 100
    assert sum(count for sale_id, count in taken.items() if sale_id.startswith("f")) == 10
