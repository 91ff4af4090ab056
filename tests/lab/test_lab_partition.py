"""Carts get disjoint rows while they last, in the proportions of the partition, whatever was asked before."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.settings import SettingError
from child_cart.model.partition import Partition
from child_cart.model.shopping import Shopping
from lab.conditions.partition import partition_of
from lab.conditions.pool import Pool, labels_of, pool_of
from tests.support.carts.light_task import LightTask

LIGHT = LightTask()
SPECS = ("iid", "dirichlet:0.3", "labels:2", "months", "own")


def a_pool(count):
    """Return rows of the light task, as many of each label and of each month."""
    rows = [{"degrees": n % 360, "third": n % 3, "month": n % 12 + 1, "number": n} for n in range(count)]
    return pool_of(LIGHT, rows)


POOL = a_pool(600)
STARTER = pool_of(LIGHT, LIGHT.starter_rows(Partition()))


def partition(spec, carts, rows, seed=0, pool=POOL):
    return partition_of(spec, STARTER if spec == "own" else pool, LIGHT, carts, rows, seed)


def all_places(given_rows, carts, rounds):
    return np.concatenate([given_rows.places(cart, n) for n in range(1, rounds + 1) for cart in range(carts)])


@given(st.sampled_from(SPECS), st.integers(1, 9), st.integers(1, 40), st.integers(0, 9))
def test_a_cart_gets_its_rows_in_any_order_of_asking(spec, carts, rows, seed):
    asked = [(cart, n) for n in (1, 2, 3) for cart in range(carts)]
    first, second = partition(spec, carts, rows, seed), partition(spec, carts, rows, seed)
    forwards = {which: first.places(*which).tolist() for which in asked}
    backwards = {which: second.places(*which).tolist() for which in reversed(asked)}
    assert forwards == backwards
    assert {len(places) for places in forwards.values()} == {rows}


@given(st.integers(1, 9), st.integers(1, 30), st.integers(1, 4), st.integers(0, 9))
def test_no_row_twice_where_the_pool_suffices(carts, rows, rounds, seed):
    pool = a_pool(carts * rows * rounds)
    places = all_places(partition("iid", carts, rows, seed, pool), carts, rounds)
    assert sorted(places.tolist()) == list(range(len(pool.rows)))


@given(st.sampled_from(["dirichlet:0.3", "labels:1", "labels:2", "months"]), st.integers(0, 9))
def test_no_row_twice_where_the_rows_of_each_label_suffice(spec, seed):
    places = all_places(partition(spec, carts=4, rows=10, seed=seed, pool=a_pool(3 * 4 * 10 * 12)), 4, 3)
    assert len(set(places.tolist())) == len(places)


def test_rows_come_again_where_the_pool_does_not_suffice():
    few = partition("iid", carts=100, rows=30)
    assert few.words == "30 rows a cart and round, drawn with replacement from 600"
    counts = Counter(all_places(few, 100, 3).tolist())
    assert len(counts) == 600
    assert 5 <= min(counts.values()) < max(counts.values()) <= 40  # 15 in the mean
    many = partition("iid", carts=4, rows=30)
    assert many.words == "30 rows a cart and round, from 600, none twice while they last, then drawn with replacement"
    later = [many.places(0, n).tolist() for n in range(1, 9)]
    assert len({place for places in later[:5] for place in places}) == 150
    assert len({place for places in later for place in places}) < 240


def test_other_seeds_carts_and_rounds_get_other_rows():
    places = [
        partition("iid", 100, 30, seed).places(cart, n).tolist()
        for seed, cart, n in [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2)]
    ]
    assert len({tuple(one) for one in places}) == 4
    while_rows_last = [sorted(partition("iid", 4, 30, seed).places(0, 1).tolist()) for seed in (0, 1)]
    assert while_rows_last[0] != while_rows_last[1]


def test_dirichlet_goes_from_one_label_a_cart_to_the_labels_of_the_pool():
    uneven = Pool(POOL.rows, np.repeat([0, 1, 2], [60, 240, 300]))
    found = {}
    for alpha in ("0.001", "1", "1000000"):
        rows = partition(f"dirichlet:{alpha}", carts=50, rows=100, pool=uneven)
        labels = uneven.labels[np.array([rows.places(cart, 1) for cart in range(50)])]
        found[alpha] = np.array([np.bincount(one, minlength=3) for one in labels]) / 100
    assert (found["0.001"].max(axis=1) > 0.9).sum() >= 48
    assert abs(found["1000000"] - [0.1, 0.4, 0.5]).max() < 0.2
    assert 0.5 < found["1"].max(axis=1).mean() < 0.95
    for proportions in found.values():
        assert abs(proportions.mean(axis=0) - [0.1, 0.4, 0.5]).max() < 0.2
    again = partition("dirichlet:1", carts=50, rows=100, pool=uneven).places(3, 2)
    labels = np.bincount(uneven.labels[again], minlength=3) / 100
    assert abs(labels - found["1"][3]).max() < 0.3, "a cart keeps its proportions"


@given(st.integers(1, 10), st.integers(1, 30), st.integers(0, 9))
def test_each_cart_has_its_labels_and_all_labels_have_carts(kept, carts, seed):
    pool = Pool(POOL.rows, np.arange(600) % 10)
    rows = partition(f"labels:{kept}", carts, 200, seed, pool)
    labels = [set(pool.labels[rows.places(cart, 1)].tolist()) for cart in range(carts)]
    assert {len(one) for one in labels} == {kept}
    assert labels == [set(pool.labels[rows.places(cart, 7)].tolist()) for cart in range(carts)]
    if carts >= -(-10 // kept):
        assert set.union(*labels) == set(range(10))


def test_round_after_round_is_of_the_next_month():
    rows = partition("months", carts=3, rows=10)
    for number in (1, 2, 12, 13, 25):
        months = {POOL.rows[place]["month"] for cart in range(3) for place in rows.places(cart, number)}
        assert months == {(number - 1) % 12 + 1}


class Overlapping(LightTask):
    """Its two parts have three rows in common, and one of them has another row three times."""

    def starter_rows(self, partition):
        common = [{"degrees": 200 + n, "third": 1} for n in range(3)]
        repeated = [{"degrees": 10, "third": 0}] * (3 if partition.index == 0 else 0)
        return [*common, *repeated, *({"degrees": 30 + 10 * partition.index + n, "third": 0} for n in range(4))]


def test_a_part_has_no_row_twice_and_rows_that_several_parts_have_are_told():
    task = Overlapping()
    parts = [task.starter_rows(Partition(index, 2)) for index in (0, 1)]
    kept = [row for row in parts[0] if row["degrees"] != 10][:3] + [{"degrees": 10, "third": 0}] * 2
    pool = pool_of(task, [*kept, *parts[0][6:], *parts[1][3:]])  # one of the three equal rows is kept for the test
    rows = partition_of("own", pool, task, carts=2, rows=5, seed=0)
    assert rows.words.startswith("5 rows a cart and round, from 16, ")  # 9 in the first part and 7 in the second
    assert rows.words.endswith("; the task's own partition into 2, for 2 carts; several parts have 3 of the rows")
    drawn = [set(rows.places(0, n).tolist()) for n in range(1, 40)]
    assert set().union(*drawn) == {0, 1, 2, 3, 4, 5, 6, 7, 8}
    assert len(rows.places(0, 1)) == len(drawn[0]) == 5


@pytest.mark.parametrize("task", [LIGHT, Shopping()])
def test_own_rows_are_those_that_a_real_cart_starts_with(task):
    pool = pool_of(task, task.starter_rows(Partition()))
    rows = partition_of("own", pool, task, carts=4, rows=40, seed=0)
    places = [np.concatenate([rows.places(cart, n) for n in (1, 2)]).tolist() for cart in range(4)]
    assert len({place for one in places for place in one}) == 320, "equal rows are not the same row"
    for cart, own in enumerate(places):
        real = Counter(str(row) for row in task.starter_rows(Partition(cart, 4)))
        assert Counter(str(pool.rows[place]) for place in own) <= real
    assert rows.words.endswith("; the task's own partition into 4, for 4 carts")


def test_more_carts_than_parts_share_them():
    rows = partition("own", carts=50, rows=100)
    assert rows.words.endswith("drawn with replacement from 600; the task's own partition into 4, for 50 carts")
    seen = [{place for n in range(1, 40) for place in rows.places(cart, n).tolist()} for cart in (0, 1, 4)]
    assert seen[0] == seen[2]
    assert seen[0].isdisjoint(seen[1])


@pytest.mark.parametrize(
    ("targets", "labels"),
    [
        (np.array([3, 1, 3]), [3, 1, 3]),
        (np.array([[3], [1]]), [3, 1]),
        (np.eye(4, dtype=np.float32)[[2, 0]], [2, 0]),
        (np.array([1.0, 0.0, 1.0], np.float32), [1, 0, 1]),
        (np.arange(20.0), [n // 2 for n in range(20)]),
        (np.arange(20.0).reshape(-1, 1), [n // 2 for n in range(20)]),
        (np.stack([np.arange(20.0), np.arange(20.0)], axis=1), [n // 2 for n in range(20)]),
    ],
)
def test_labels_of_any_targets(targets, labels):
    assert labels_of(targets).tolist() == labels


WORDS = r"it must be iid, dirichlet:ALPHA \(0.001 to 1000000\), labels:K \(labels of each cart\), months or own\."


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        *[(spec, WORDS) for spec in ("", "even", "iid:2", "months:1", "own:", "labels", "labels:x", "labels:1.5")],
        *[(f"dirichlet{alpha}", WORDS) for alpha in ("", ":", ":x", ":0", ":-1", ":nan", ":inf", ":1e9")],
        ("labels:0", "labels:K with K from 1 to 3, the number of labels in the rows"),
        ("labels:4", "labels:K with K from 1 to 3, the number of labels in the rows"),
    ],
)
def test_a_wrong_partition_is_named(spec, sentence):
    with pytest.raises(SettingError, match=f"^--partition is '{spec}'; it must be .*") as raised:
        partition_of(spec, POOL, LIGHT, 4, 10, 0)
    assert raised.match(sentence)


def test_rows_that_do_not_suit_a_partition_are_named():
    with pytest.raises(SettingError, match=r"since no row has 1, 2, .*, 12 in a field month \(1 to 12\)"):
        partition("months", 4, 10, pool=STARTER)
    with pytest.raises(SettingError, match="since the rows are not the starter rows of the task"):
        partition_of("own", POOL, LIGHT, 4, 10, 0)
    with pytest.raises(SettingError, match="The task 'light' brings no rows; --data must name a file"):
        pool_of(LIGHT, [])
