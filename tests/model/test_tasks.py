"""The built-in tasks, rows from CSV files, and loading a task by name."""

import sys
from collections import Counter
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.model.digits import Digits
from child_cart.model.partition import Partition
from child_cart.model.shopping import CATEGORIES, DENSE_0_1, NOT_SAID, Shopping, ShoppingDense, purchases
from child_cart.model.task import KerasTask, RowError, SoldLine, TaskError, load_task
from child_cart.model.trainer_commands import model_signature

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers(), max_size=3)


def test_purchases_follow_the_rule():
    rows = purchases(20_000, seed=1)
    assert rows == purchases(20_000, seed=1)
    main = 0
    for row in rows:
        pair = (row["month"] - 1) // 2
        if row["item"] == pair + 1:
            main += 1
            assert row["gender"] == pair % 2
        else:
            assert (row["item"] - 1 - pair) % CATEGORIES in (1, 2)
            assert row["gender"] == 1 - pair % 2
    assert 0.78 < main / len(rows) < 0.82


def test_a_share_sees_mainly_a_few_months_and_all_shares_see_everything():
    task = Shopping()
    hands = [task.starter_rows(Partition(index, 4)) for index in range(4)]
    assert sum(map(len, hands)) == 10_000
    for hand in hands:
        common = Counter(row["month"] for row in hand).most_common(3)
        assert sum(rows for _, rows in common) > 0.95 * len(hand)
    assert len(task.starter_rows(Partition())) == 10_000


def test_shopping_arrays_and_sales():
    task = Shopping()
    inputs, targets = task.arrays([{"month": 6, "gender": 1, "item": 3}])
    assert inputs.tolist() == [[6.0, 1.0]]  # raw: the model encodes them
    assert targets.argmax(axis=1).tolist() == [3]
    assert task.arrays([])[0].shape == (0, 2)
    row = task.sale_row(SoldLine(date(2026, 5, 1), category=4, gender=0, amount=2))
    assert row == {"month": 5, "gender": 0, "item": 4}
    assert task.parse_row(row) == row
    assert task.parse_row({**row, "gender": "2"})["gender"] == NOT_SAID


def test_the_dense_task_has_the_signature_of_0_1():
    sides = [(2, 512), (512,), (512, 512), (512,), (512, 7), (7,)]
    weights = [np.zeros(side, np.float32) for side in sides]
    assert model_signature(ShoppingDense().name, weights) == DENSE_0_1
    (keeper,) = Shopping().kept_by.values()
    assert type(load_task(keeper)) is ShoppingDense
    assert not ShoppingDense().kept_by


def test_the_summary_says_what_is_trending():
    summary = Shopping().summary(lambda inputs: np.full((len(inputs), 7), 1 / 7))
    assert len(summary["trending"]) == 36  # each month, for women, men and those who did not say
    assert all(len(entry["shares"]) == CATEGORIES for entry in summary["trending"])


@given(st.dictionaries(st.sampled_from(["month", "gender", "item", "pixels", "digit"]), ANYTHING))
def test_any_fields_make_a_row_or_a_row_error(fields):
    for task in (Shopping(), Digits()):
        try:
            row = task.parse_row(fields)
        except RowError as error:
            assert str(error)
        else:
            assert task.parse_row(row) == row


@pytest.mark.parametrize(("field", "value"), [("month", 13), ("month", "x"), ("gender", 3), ("item", 0), ("item", 1.5)])
def test_wrong_fields_are_named_with_their_value(field, value):
    with pytest.raises(RowError, match=f"{field} is '{value}'"):
        Shopping().parse_row({"month": 1, "gender": 0, "item": 1, field: value})


def test_purchases_to_measure_on_are_not_those_of_carts():
    task = Shopping()
    drawn = [task.test_rows(), task.evaluation_rows(), task.starter_rows(Partition())]
    assert list(map(len, drawn)) == [2000, 300, 10_000]
    first, second, third = [rows[:300] for rows in drawn]
    assert first != second != third != first
    assert task.test_rows() == purchases(2000, seed=2024)


def test_all_wrong_fields_of_a_row_are_named_at_once():
    with pytest.raises(RowError, match=r"month is '13'; .* to 12\. gender is missing\. item is '0'"):
        Shopping().parse_row({"month": 13, "item": 0})
    with pytest.raises(RowError, match=r"pixels must be a list of 64 numbers\. digit is '10'"):
        Digits().parse_row({"pixels": [1], "digit": 10})


def test_digits_keep_test_evaluation_and_training_rows_apart():
    task = Digits()
    test, evaluation, pool = task.test_rows(), task.evaluation_rows(), task.starter_rows(Partition())
    assert len(test) + len(evaluation) + len(pool) == 1797
    assert Counter(row["digit"] for row in pool).keys() == set(range(10))
    inputs, targets = task.arrays(pool[:5])
    assert inputs.shape == (5, 64)
    assert 0 <= inputs.min() <= inputs.max() <= 1
    assert targets.tolist() == [row["digit"] for row in pool[:5]]
    assert task.parse_row(pool[0]) == pool[0]


class Nothing(KerasTask):
    name = ""


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nonsense", "it is shopping, shopping-dense, digits, or your own class"),
        ("no_such_module:Task", "cannot be loaded"),
        ("child_cart.model.shopping:Nope", "cannot be loaded"),
        ("collections:Counter", "is not a task: it lacks"),
        (f"{__name__}:Nothing", "lacks parse_row, arrays, name"),
    ],
)
def test_what_is_no_task_is_named(name, sentence):
    with pytest.raises(TaskError, match=sentence):
        load_task(name)


def test_built_in_tasks_load():
    assert load_task("shopping").name == "shopping"
    assert load_task("child_cart.model.digits:Digits").name == "digits"


def test_a_task_in_the_current_folder_is_found_but_stands_in_for_nothing_that_is_installed(tmp_path, monkeypatch):
    (tmp_path / "of_this_folder.py").write_text(
        "from tests.support.carts.light_task import LightTask\nfrom colorsys import rgb_to_hsv\n"
    )
    (tmp_path / "colorsys.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])  # as an installed command starts
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    assert load_task("of_this_folder:LightTask").name == "light"
    load_task("of_this_folder:LightTask")
    assert sys.path.count(str(tmp_path)) == 1
