"""A lookup comes nearer, waits for no silent node, ends, and takes the newest record."""

from __future__ import annotations

import asyncio
import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from kademlia.node import Node
from support.bridges.directories import cart_record

from cart_common.wire.identity import Identity
from parent_cart.directory.lookup import AT_ONCE, BUCKET_NODES, ENOUGH_HOLDERS, MOST_ASKED, Lookup, LookupAnswer

KEY = bytes(20)
CART = Identity.generate()
RECORDS = [cart_record(CART, sequence=sequence) for sequence in range(4)]


def node(number: int) -> Node:
    """Return a node at this distance from the key."""
    return Node(number.to_bytes(20, "big"), "10.0.0.1", 9001)


class World:
    """Nodes that answer, or not, and what they know."""

    def __init__(self, knows: dict[int, list[int]], dead: set[int] | None = None) -> None:
        self.knows = knows
        self.dead = dead or set()
        self.asked: list[int] = []
        self.at_once = self.most_at_once = 0
        self.never = asyncio.Event()

    async def ask(self, asked: Node) -> LookupAnswer | None:
        self.asked.append(asked.long_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        if asked.long_id in self.dead:
            return None
        return LookupAnswer(None, [node(each) for each in self.knows.get(asked.long_id, [])])


async def test_it_goes_from_node_to_nearer_node() -> None:
    world = World({1000: [900, 800], 800: [500], 500: [100], 900: [], 100: []})
    lookup = Lookup(KEY, [node(1000)], world.ask)
    await lookup.run()
    assert [each.long_id for each in lookup.reached()] == [100, 500, 800, 900, 1000]
    assert sorted(world.asked) == [100, 500, 800, 900, 1000]
    assert (lookup.hops, lookup.asked) == (4, 5)


@settings(max_examples=15)
@given(st.integers(0, 2**32))
def test_it_finds_the_nearest_that_are_alive_in_any_network(seed: int) -> None:
    chance = random.Random(seed)
    numbers = chance.sample(range(1, 10_000), 120)
    # Each knows those at about every distance, as Kademlia's buckets do.
    knows = {each: sorted(numbers, key=lambda other, each=each: each ^ other)[1::3] for each in numbers}
    knows = {each: chance.sample(others, 20) + sorted(numbers)[:2] for each, others in knows.items()}
    dead = set(chance.sample(numbers, 24))

    async def walk() -> tuple[World, Lookup]:
        world = World(knows, dead)
        lookup = Lookup(KEY, [node(each) for each in chance.sample(numbers, 12)], world.ask)
        await lookup.run()
        return world, lookup

    world, lookup = asyncio.run(walk())
    reached = [each.long_id for each in lookup.reached()]
    assert reached == sorted(reached)
    assert dead.isdisjoint(reached)
    assert len(world.asked) == len(set(world.asked)) == lookup.asked <= MOST_ASKED
    assert world.most_at_once <= AT_ONCE
    nearest = min(set(numbers) - dead)
    assert nearest in reached or nearest not in sorted(numbers)[:2]


async def test_one_that_never_answers_holds_nobody_up() -> None:
    world = World({9: [1], 8: [2], 7: [3]})

    async def ask(asked: Node) -> LookupAnswer | None:
        if asked.long_id == 9:
            await world.never.wait()
        return LookupAnswer(RECORDS[1]) if asked.long_id < 4 else await world.ask(asked)

    lookup = Lookup(KEY, [node(9), node(8), node(7), node(3)], ask)
    async with asyncio.timeout(10):
        lookup.holders = ENOUGH_HOLDERS - 2
        await lookup.run()
    assert lookup.record == RECORDS[1]


async def test_the_newest_of_several_records_counts_not_the_most_common() -> None:
    held = {1: RECORDS[1], 2: RECORDS[1], 3: RECORDS[2], 4: RECORDS[3]}

    async def ask(asked: Node) -> LookupAnswer | None:
        await asyncio.sleep(0)
        return LookupAnswer(held[asked.long_id])

    lookup = Lookup(KEY, [node(each) for each in held], ask)
    await lookup.run()
    assert lookup.record == RECORDS[2]  # enough holders have answered before the farthest was asked
    assert lookup.holders == ENOUGH_HOLDERS


async def test_it_ends_however_many_nodes_are_invented() -> None:
    asked = 0

    async def ask(_: Node) -> LookupAnswer | None:
        nonlocal asked
        asked += 1
        left = 2**150 - asked * 2**100
        return LookupAnswer(
            None, [Node((left + each).to_bytes(20, "big"), "10.0.0.1", 9) for each in range(BUCKET_NODES)]
        )

    lookup = Lookup(KEY, [Node(os.urandom(20), "10.0.0.1", 9)], ask)
    await lookup.run()
    assert asked == lookup.asked == MOST_ASKED


async def test_it_leaves_no_task_behind_when_it_is_given_up() -> None:
    world = World({})

    async def ask(_: Node) -> LookupAnswer | None:
        await world.never.wait()
        return None

    before = asyncio.all_tasks()
    walking = asyncio.create_task(Lookup(KEY, [node(1), node(2)], ask).run())
    await asyncio.sleep(0.01)
    assert len(asyncio.all_tasks() - before) == 3
    walking.cancel()
    await asyncio.gather(walking, return_exceptions=True)
    assert asyncio.all_tasks() == before
