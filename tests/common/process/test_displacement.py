"""Whose connection ends where there are too many: that of a crowd, and of it the one that has been idle longest."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.displacement import to_displace


def test_the_crowd_loses_its_oldest_until_it_is_none() -> None:
    since = {"a1": 5, "a2": 6, "a3": 7, "b1": 1, "b2": 9, "c1": 0}
    accounts = [["a3", "a1", "a2"], ["b1", "b2"], ["c1"]]
    assert to_displace(accounts, since.get, 1) == ["a1"]
    assert to_displace(accounts, since.get, 4) == ["a1", "b1", "a2", "c1"]
    assert to_displace(accounts, since.get, 0) == to_displace([], since.get) == []


def test_what_is_busy_stays_and_another_goes() -> None:
    since = {"a1": None, "a2": None, "b1": 1}
    assert to_displace([["a1", "a2"], ["b1"]], since.get, 9) == ["b1"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 9)), max_size=60), st.integers(0, 70))
def test_an_account_loses_none_while_another_has_more(open_since: list[tuple[str, int]], count: int) -> None:
    members = [(account, since, number) for number, (account, since) in enumerate(open_since)]
    accounts = [[one for one in members if one[0] == name] for name in "abcdef"]
    gone = to_displace(accounts, lambda one: one[1], count)
    assert len(gone) == len(set(gone)) == min(count, len(members))
    left = Counter(one[0] for one in set(members) - set(gone))
    for account, since, _ in gone:
        assert left[account] + 1 >= max(left.values(), default=0)
        assert all(other[1] >= since for other in set(members) - set(gone) if other[0] == account)
