"""Dealing gives each row to exactly one share, mostly to an owner of its group, and is the same everywhere."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.model.digits import DIGITS, DIGITS_PER_CART, OWN_DIGITS
from child_cart.model.partition import Partition, partition_rows

GROUPS = [number % 10 for number in range(500)]


@given(st.integers(1, 12), st.floats(0, 1), st.floats(0, 12), st.integers(0, 99))
def test_every_row_is_dealt_once(count, strength, width, seed):
    hands = [partition_rows(GROUPS, 10, Partition(index, count), strength, width, seed) for index in range(count)]
    assert sorted(place for hand in hands for place in hand) == list(range(len(GROUPS)))
    assert hands[0] == partition_rows(GROUPS, 10, Partition(0, count), strength, width, seed)


@pytest.mark.parametrize("count", [4, 5, 8, 10])
def test_a_cart_sees_mostly_two_or_three_digits(count):
    groups = [number % 10 for number in range(4000)]
    for index in range(count):
        hand = partition_rows(groups, DIGITS, Partition(index, count), OWN_DIGITS, DIGITS_PER_CART, seed=4)
        common = Counter(groups[place] for place in hand).most_common()
        assert sum(rows for _, rows in common[:3]) > 0.75 * len(hand)
        assert sum(rows for _, rows in common[:4]) > 0.95 * len(hand)


@pytest.mark.parametrize(
    ("text", "share"), [("1/1", Partition(0, 1)), ("2/4", Partition(1, 4)), ("4/4", Partition(3, 4))]
)
def test_shares_as_text(text, share):
    assert Partition.parse(text) == share


@pytest.mark.parametrize("text", ["", "1", "0/4", "5/4", "a/b", "1/", "/2", "-1/2", "1/2/3", "1.0/2", "1/99999999"])
def test_wrong_shares_are_named(text):
    with pytest.raises(ValueError, match="is not a share like 2/4"):
        Partition.parse(text)
