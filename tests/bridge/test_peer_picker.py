"""No cart is picked twice before each was picked once, whichever carts come, go or ask meanwhile."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parent_cart.bridge.peer_picker import PeerPicker

cards = st.integers(0, 11).map("cart-{}".format)
hands = st.tuples(st.just("deal"), st.integers(0, 14), cards | st.just("nobody"))
steps = st.lists(
    st.one_of(hands, hands, st.tuples(st.sampled_from(["add", "discard"]), st.just(0), cards)), max_size=60
)
seeds = st.integers(0, 2**32)


@settings(max_examples=200)
@given(st.sets(cards), steps, seeds)
def test_a_deck_is_fair_whatever_happens(start: set[str], plan: list[tuple[str, int, str]], seed: int) -> None:
    peer_picker = PeerPicker(random.Random(seed).randrange)
    members: set[str] = set()
    for card in sorted(start):
        peer_picker.add(card)
        members.add(card)
    # Fairness is owed to those who are there all the time and who do not themselves ask.
    steady = start - {card for _, _, card in plan}
    dealt: Counter[str] = Counter()
    for step, count, card in plan:
        match step:
            case "add":
                peer_picker.add(card)
                members.add(card)
            case "discard":
                peer_picker.discard(card)
                members.discard(card)
            case "deal":
                hand = peer_picker.deal(count, without=card)
                assert len(set(hand)) == len(hand) == min(count, len(members - {card}))
                assert set(hand) <= members - {card}
                dealt.update(hand)
        assert len(peer_picker) == len(members)
        assert all(card in peer_picker for card in members)
        times = [dealt[card] for card in steady]
        assert not times or max(times) - min(times) <= 1


@given(st.integers(2, 12), st.lists(st.integers(1, 12), max_size=40), seeds)
def test_each_pass_deals_everybody_once(size: int, counts: list[int], seed: int) -> None:
    peer_picker = PeerPicker(random.Random(seed).randrange)
    for number in range(size):
        peer_picker.add(f"{number}")
    dealt: list[str] = []
    for count in counts:
        dealt += peer_picker.deal(count, without="nobody")
    for at in range(0, len(dealt) - size + 1, size):
        assert len(set(dealt[at : at + size])) == size


def test_the_one_who_asks_keeps_its_turn_and_gains_none() -> None:
    peer_picker = PeerPicker(random.Random(1).randrange)
    for card in "abcdef":
        peer_picker.add(card)
    first = peer_picker.deal(3, without="nobody")
    asker = first[0]
    second = peer_picker.deal(1, without=asker)  # it was dealt in this pass
    rest = peer_picker.deal(2, without="nobody")
    assert sorted(first + second + rest) == list("abcdef")
    waiting = peer_picker.deal(5, without="a")
    assert waiting.count("a") == 0
    assert peer_picker.deal(1, without="nobody") == ["a"]  # its turn of the pass was still to come


def test_a_card_that_comes_during_a_pass_is_dealt_in_it() -> None:
    peer_picker = PeerPicker(random.Random(2).randrange)
    for card in "abc":
        peer_picker.add(card)
    dealt = peer_picker.deal(2, without="nobody")
    peer_picker.add("d")
    assert sorted(dealt + peer_picker.deal(2, without="nobody")) == list("abcd")


@pytest.mark.parametrize("card", ["a", "nobody"])
def test_an_empty_deck_deals_nothing(card: str) -> None:
    peer_picker = PeerPicker(random.Random(3).randrange)
    assert peer_picker.deal(3, without=card) == []
    peer_picker.discard("a")
    assert len(peer_picker) == 0
    assert "a" not in peer_picker


def test_a_deck_of_the_asker_alone_deals_nothing() -> None:
    peer_picker = PeerPicker(random.Random(4).randrange)
    peer_picker.add("a")
    peer_picker.add("a")
    assert peer_picker.deal(3, without="a") == []
    assert peer_picker.deal(3, without="b") == ["a"]
