"""What a bridge tells its carts of others, and how often."""

from __future__ import annotations

import random
from collections import Counter

from support.bridges.directories import SIGNATURE, bridge_record, cart_record

from cart_common.wire.identity import Identity
from cart_common.wire.messages import MOST_ELSEWHERE, MOST_NEIGHBOURS
from cart_common.wire.records import BridgeRecord, CartRecord, Refusal
from parent_cart.bridge.neighbourhood import TELL_EVERY_S, TELL_MANY_EVERY_S, Neighbourhood
from parent_cart.directory.directory import LoneDirectory


class Listed(LoneDirectory):
    """A directory with neighbours of the test's own."""

    def __init__(self) -> None:
        super().__init__(None)
        self.records: list[BridgeRecord] = []

    def neighbours(self) -> list[BridgeRecord]:
        return list(self.records)


class World:
    def __init__(self, *carts: int) -> None:
        self.now = 1000.0
        self.directory = Listed()
        self.neighbourhood = Neighbourhood(self.directory, lambda: self.now, random.Random(1))
        self.add(*carts)

    def add(self, *carts: int) -> None:
        """Add a bridge for each number of carts that can be asked."""
        for count in carts:
            self.directory.records.append(
                bridge_record(Identity.generate(), shells={SIGNATURE: count} if count else {"cd" * 16: 9})
            )

    def place_of(self, text: str) -> int:
        return [record.encoded.decode() for record in self.directory.records].index(text)

    def elsewhere(self, wanted: int) -> list[int]:
        return [self.place_of(text) for text in self.neighbourhood.elsewhere(SIGNATURE, wanted)]


def test_only_bridges_with_carts_of_the_model_are_named_and_no_more_than_are_needed() -> None:
    world = World(0, 100, 0)
    assert world.elsewhere(3) == [1]
    assert world.elsewhere(0) == []
    assert World().elsewhere(3) == []


def test_several_are_named_where_each_has_few_but_not_many() -> None:
    world = World(*[1] * 10)
    assert len(world.elsewhere(2)) == 2
    assert len(set(world.elsewhere(200))) == MOST_ELSEWHERE


def test_a_bridge_with_many_carts_is_named_more_often() -> None:
    world = World(1000, 10, 10)
    first = Counter(world.elsewhere(1)[0] for _ in range(200))
    assert first[0] > 150


def test_a_cart_is_told_of_others_by_chance_where_there_are_many() -> None:
    world = World(*[1] * (MOST_NEIGHBOURS + 10))
    one, other = world.neighbourhood.list_for_cart(), world.neighbourhood.list_for_cart()
    assert len(set(one.bridges)) == MOST_NEIGHBOURS
    assert set(one.bridges) != set(other.bridges)
    assert World().neighbourhood.list_for_cart().bridges == ()


def test_a_change_is_told_once_and_not_too_often() -> None:
    world = World(1)
    assert world.neighbourhood.has_changed()
    assert not world.neighbourhood.has_changed()
    world.add(1)
    world.now += TELL_EVERY_S - 1
    assert not world.neighbourhood.has_changed()
    world.now += 1
    assert world.neighbourhood.has_changed()
    world.now += TELL_EVERY_S
    assert not world.neighbourhood.has_changed()
    world.directory.records.pop()
    assert world.neighbourhood.has_changed()


def test_where_there_are_many_a_change_waits() -> None:
    world = World(*[1] * MOST_NEIGHBOURS)
    world.now += TELL_MANY_EVERY_S
    assert world.neighbourhood.has_changed()
    world.add(1)
    world.now += TELL_EVERY_S
    assert not world.neighbourhood.has_changed()
    world.now += TELL_MANY_EVERY_S
    assert world.neighbourhood.has_changed()


async def test_a_bridge_that_stops_keeps_its_last_list_and_looks_for_nobody() -> None:
    world = World(1, 1)
    cart = Identity.generate()
    record = cart_record(cart)
    assert world.neighbourhood.take_record(cart.cart_id.hex(), record.encoded.decode()) is None
    assert await world.neighbourhood.find(cart.cart_id.hex()) == record.encoded.decode()
    world.neighbourhood.keep_last()
    world.directory.records.clear()
    assert len(world.neighbourhood.list_for_cart().bridges) == 2
    assert await world.neighbourhood.find(cart.cart_id.hex()) is None


async def test_a_record_that_is_refused_says_why_and_one_that_was_taken_back_is_not_found() -> None:
    world = World()
    cart, other = Identity.generate(), Identity.generate()
    record: CartRecord = cart_record(cart)
    assert world.neighbourhood.take_record(other.cart_id.hex(), record.encoded.decode()) is Refusal.WRONG_KEY
    assert world.neighbourhood.take_record(cart.cart_id.hex(), "nonsense") is Refusal.MALFORMED
    assert world.neighbourhood.take_record(cart.cart_id.hex(), record.encoded.decode()) is None
    world.neighbourhood.forget(cart.cart_id.hex())
    assert await world.neighbourhood.find(cart.cart_id.hex()) is None
