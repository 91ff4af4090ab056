"""Each row is in exactly one partition, mostly to an owner of its group, and is the same everywhere."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.model.digits import DIGITS, DIGITS_PER_CART, OWN_DIGITS
from child_cart.model.partition import Partition, partition_rows

GROUPS = [number % 10 for number in range(500)]


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 12), st.integers(0, 99))
def test_every_row_is_in_one_partition(count, strength, width, seed):
    parts = [partition_rows(GROUPS, 10, Partition(index, count), strength, width, seed) for index in range(count)]
    assert sorted(place for part in parts for place in part) == list(range(len(GROUPS)))
    assert parts[0] == partition_rows(GROUPS, 10, Partition(0, count), strength, width, seed)


@pytest.mark.parametrize("count", [4, 5, 8, 10])
def test_a_cart_sees_mostly_two_or_three_digits(count):
    groups = [number % 10 for number in range(4000)]
    for index in range(count):
        part = partition_rows(groups, DIGITS, Partition(index, count), OWN_DIGITS, DIGITS_PER_CART, seed=4)
        common = Counter(groups[place] for place in part).most_common()
        assert sum(rows for _, rows in common[:3]) > 0.75 * len(part)
        assert sum(rows for _, rows in common[:4]) > 0.95 * len(part)


@pytest.mark.parametrize(
    ("text", "partition"), [("1/1", Partition(0, 1)), ("2/4", Partition(1, 4)), ("4/4", Partition(3, 4))]
)
def test_partitions_as_text(text, partition):
    assert Partition.parse(text) == partition


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "a/b", "1/", "/2", "-1/2", "1/2/3", "1.0/2", "1/99999999"])
def test_wrong_partitions_are_named(text):
    with pytest.raises(ValueError, match="is not a share like 2/4"):
        Partition.parse(text)
