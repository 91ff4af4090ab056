"""No cart is picked twice before each was picked once, whichever carts come, go or ask meanwhile."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parent_cart.bridge.peer_picker import PeerPicker

carts = st.integers(0, 11).map("cart-{}".format)
picks = st.tuples(st.just("pick"), st.integers(0, 14), carts | st.just("nobody"))
steps = st.lists(
    st.one_of(picks, picks, st.tuples(st.sampled_from(["add", "discard"]), st.just(0), carts)), max_size=60
)
seeds = st.integers(0, 2**32)


@settings(max_examples=200)
@given(st.sets(carts), steps, seeds)
def test_the_choice_is_fair_whatever_happens(start: set[str], plan: list[tuple[str, int, str]], seed: int) -> None:
    peer_picker = PeerPicker(random.Random(seed).randrange)
    members: set[str] = set()
    for cart in sorted(start):
        peer_picker.add(cart)
        members.add(cart)
    # Fairness is owed to those who are there all the time and who do not themselves ask.
    steady = start - {cart for _, _, cart in plan}
    picked: Counter[str] = Counter()
    for step, count, cart in plan:
        match step:
            case "add":
                peer_picker.add(cart)
                members.add(cart)
            case "discard":
                peer_picker.discard(cart)
                members.discard(cart)
            case "pick":
                chosen = peer_picker.pick(count, without=cart)
                assert len(set(chosen)) == len(chosen) == min(count, len(members - {cart}))
                assert set(chosen) <= members - {cart}
                picked.update(chosen)
        assert len(peer_picker) == len(members)
        assert all(cart in peer_picker for cart in members)
        times = [picked[cart] for cart in steady]
        assert not times or max(times) - min(times) <= 1


@given(st.integers(2, 12), st.lists(st.integers(1, 12), max_size=40), seeds)
def test_each_pass_picks_each_cart_once(size: int, counts: list[int], seed: int) -> None:
    peer_picker = PeerPicker(random.Random(seed).randrange)
    for number in range(size):
        peer_picker.add(f"{number}")
    picked: list[str] = []
    for count in counts:
        picked += peer_picker.pick(count, without="nobody")
    for at in range(0, len(picked) - size + 1, size):
        assert len(set(picked[at : at + size])) == size


def test_the_one_who_asks_keeps_its_turn_and_gains_none() -> None:
    peer_picker = PeerPicker(random.Random(1).randrange)
    for cart in "abcdef":
        peer_picker.add(cart)
    first = peer_picker.pick(3, without="nobody")
    asker = first[0]
    second = peer_picker.pick(1, without=asker)  # it was picked in this pass
    rest = peer_picker.pick(2, without="nobody")
    assert sorted(first + second + rest) == list("abcdef")
    waiting = peer_picker.pick(5, without="a")
    assert waiting.count("a") == 0
    assert peer_picker.pick(1, without="nobody") == ["a"]  # its turn of the pass was still to come


def test_a_cart_that_comes_during_a_pass_is_picked_in_it() -> None:
    peer_picker = PeerPicker(random.Random(2).randrange)
    for cart in "abc":
        peer_picker.add(cart)
    picked = peer_picker.pick(2, without="nobody")
    peer_picker.add("d")
    assert sorted(picked + peer_picker.pick(2, without="nobody")) == list("abcd")


@pytest.mark.parametrize("cart", ["a", "nobody"])
def test_of_no_carts_none_is_picked(cart: str) -> None:
    peer_picker = PeerPicker(random.Random(3).randrange)
    assert peer_picker.pick(3, without=cart) == []
    peer_picker.discard("a")
    assert len(peer_picker) == 0
    assert "a" not in peer_picker


def test_where_the_asker_is_alone_none_is_picked() -> None:
    peer_picker = PeerPicker(random.Random(4).randrange)
    peer_picker.add("a")
    peer_picker.add("a")
    assert peer_picker.pick(3, without="a") == []
    assert peer_picker.pick(3, without="b") == ["a"]
