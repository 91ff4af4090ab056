"""How rows of the user's own, or those of a task, are split among the carts."""

from collections import Counter

import pytest

from child_cart.model.csv_rows import read_rows
from child_cart.model.shopping import Shopping
from demo.config import DemoSettings, Plan
from demo.own_rows import (
    LEAST_ROWS_OF_A_CART,
    MOST_TEST_ROWS,
    RowsError,
    measured_file,
    rows_to_buy,
    split,
    starter_file,
)
from tests.support.carts.light_task import LightTask, TurnTask

PLAN = Plan(starter_rows=30, dataset_size=20)


@pytest.mark.parametrize(("count", "carts"), [(20, 2), (1000, 7), (100_000, 3), (640, 64)])
def test_each_row_goes_to_one_cart_or_is_measured_on(count, carts):
    parts = split(range(count), carts, 30)
    everything = Counter(parts.test)
    for starter, later in zip(parts.starter, parts.later, strict=True):
        assert 1 <= len(starter) <= min(30, len(later))
        everything.update(starter + later)
    assert everything == Counter(range(count))
    assert count / 6 < len(parts.test) <= count / 5 or len(parts.test) == MOST_TEST_ROWS
    assert split(range(count), carts, 30) == parts, "the same each time"


def test_a_sorted_file_makes_carts_that_see_different_things():
    parts = split(range(1000), 4, 30)
    assert [max(starter + later) for starter, later in zip(parts.starter, parts.later, strict=True)] == [
        249,
        499,
        749,
        999,
    ]
    assert max(parts.starter[0]) > 200, "what a cart starts from is like what comes later"


def of_csv(tmp_path, task, name, text, carts=2):
    (tmp_path / "rows.csv").write_text(text)
    settings = DemoSettings(carts=carts, task=name, data=str(tmp_path / "rows.csv"))
    return rows_to_buy(settings, PLAN, task, tmp_path)


def test_a_cart_gets_the_fields_as_they_stand_in_the_file(tmp_path):
    to_buy = of_csv(tmp_path, TurnTask(), "x:TurnTask", "Third, turn\n" + "0, 0.2500\n1, 0.5\n" * 50)
    assert {tuple(fields.items()) for rows in to_buy for fields in rows} == {
        (("third", "0"), ("turn", "0.2500")),
        (("third", "1"), ("turn", "0.5")),
    }
    assert [len(rows) for rows in to_buy] == [20, 20]
    assert [len(read_rows(TurnTask(), starter_file(tmp_path, number))) for number in (1, 2)] == [20, 20]
    assert len(read_rows(TurnTask(), measured_file(tmp_path))) == 20


def test_bills_are_made_of_parsed_rows(tmp_path):
    to_buy = of_csv(tmp_path, Shopping(), "shopping", "item,month,gender\n" + "3,12,1\n" * 100)
    assert to_buy[0][0] == {"month": 12, "gender": 1, "item": 3}


def test_too_few_rows_are_refused(tmp_path):
    enough = "third,turn\n" + "0,0.1\n" * (2 * LEAST_ROWS_OF_A_CART)
    assert all(of_csv(tmp_path, TurnTask(), "x:TurnTask", enough))
    with pytest.raises(RowsError, match="has 20 rows; 3 carts need at least 30"):
        of_csv(tmp_path, TurnTask(), "x:TurnTask", enough, carts=3)


def test_without_a_file_a_cart_gets_the_rest_of_its_partition():
    settings = DemoSettings(carts=2, task="light")
    to_buy = rows_to_buy(settings, PLAN, LightTask(), None)
    assert sum(map(len, to_buy)) == 600 - 2 * PLAN.starter_rows


class OneSided(LightTask):
    def starter_rows(self, partition):
        return super().starter_rows(partition) if partition.index else []


class Broken(LightTask):
    def starter_rows(self, partition):
        raise ZeroDivisionError("no parts")


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (OneSided(), "has no starter rows for cart 1 of 2, so there is nothing"),
        (TurnTask(), "has no starter rows for any cart, so there is nothing"),
        (Broken(), "gives no starter rows: ZeroDivisionError: no parts."),
    ],
)
def test_a_task_without_rows_is_refused(task, words):
    with pytest.raises(RowsError, match=words):
        rows_to_buy(DemoSettings(carts=2, task="x:Y"), PLAN, task, None)
