"""Which bridge a cart tries, when, and what it remembers of them."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.messages import Code
from cart_common.wire.records import is_bridge_url
from child_cart.network.bridge_file import BridgeFile
from child_cart.network.bridge_selection import (
    FORGET_AFTER_S,
    MOST_BRIDGES,
    SPREAD,
    BridgeSelection,
    KnownBridge,
    Measurement,
    as_json,
    from_json,
)

HOME, OTHER, THIRD = "ws://home:9000", "ws://other:9000", "ws://third:9000"


@dataclass
class Record:
    url: str
    bridge_id: str = "ab" * 16
    carts: int = 0
    max_carts: int = 100


class World:
    """Bridges with clocks that a test turns."""

    def __init__(self, *urls: str, seed: int = 1, first_s: float = 0.5, cap_s: float = 15.0) -> None:
        self.now = 1000.0
        self.bridges = BridgeSelection(
            urls or (HOME,), first_s, cap_s, lambda: self.now, lambda: 1e9 + self.now, random.Random(seed)
        )

    def attach_to(self, url: str) -> None:
        """Attach to this bridge at first, whatever chance says."""
        self.bridges.first = url
        assert self.attach() == url

    def attach(self) -> str:
        """Attach at the next try, which must be at once."""
        following = self.bridges.next_try()
        assert following.wait_s == 0
        self.bridges.note_attached(following.url, "ab" * 16, 0.01)
        return following.url

    def urls(self) -> set[str]:
        return {bridge.url for bridge in self.bridges.known()}


def test_one_of_those_told_is_tried_at_once_by_chance() -> None:
    tried = Counter(World(HOME, OTHER, seed=seed).attach() for seed in range(100))
    assert min(tried[HOME], tried[OTHER]) > 25


def test_a_lost_bridge_is_tried_once_more_and_then_another_one_soon() -> None:
    world = World(HOME, OTHER)
    world.attach_to(HOME)
    world.bridges.note_lost(HOME, None)
    again = world.bridges.next_try()
    assert again.url == HOME
    assert 0.25 <= again.wait_s <= 0.5
    world.now += again.wait_s
    world.bridges.note_failed(HOME)
    elsewhere = world.bridges.next_try()
    assert elsewhere.url == OTHER
    assert 0 <= elsewhere.wait_s <= SPREAD * 0.5


def test_a_bridge_that_is_lost_again_and_again_is_not_tried_first_each_time() -> None:
    world = World(HOME, OTHER)
    world.attach_to(HOME)
    world.bridges.note_lost(HOME, None)
    world.bridges.next_try()
    world.bridges.note_attached(HOME, "ab" * 16, 0.01)
    world.bridges.note_lost(HOME, None)
    assert world.bridges.next_try().url == OTHER


def test_a_link_that_held_makes_the_delays_start_anew() -> None:
    world = World(HOME)
    for _ in range(6):
        world.bridges.note_failed(HOME)
    world.bridges.note_attached(HOME, "ab" * 16, 0.01)
    world.bridges.note_steady(HOME)
    world.bridges.next_try()
    world.bridges.note_lost(HOME, None)
    assert world.bridges.next_try().wait_s <= 0.5


def test_a_bridge_that_stops_sends_its_carts_elsewhere_at_once() -> None:
    world = World(HOME, OTHER)
    world.attach_to(HOME)
    world.bridges.note_lost(HOME, Code.BRIDGE_STOPPING)
    following = world.bridges.next_try()
    assert (following.url, following.wait_s) == (OTHER, 0.0)


def test_a_bridge_that_stops_and_is_the_only_one_is_tried_again() -> None:
    world = World(HOME)
    world.attach()
    world.bridges.note_lost(HOME, Code.BRIDGE_STOPPING)
    assert world.bridges.next_try().url == HOME


def test_with_all_away_the_delays_grow_to_their_cap_and_the_one_that_is_due_is_tried() -> None:
    world = World(HOME, OTHER, cap_s=4.0)
    waits = []
    for _ in range(40):
        following = world.bridges.next_try()
        waits.append(following.wait_s)
        world.now += following.wait_s
        world.bridges.note_failed(following.url)
    assert max(waits) <= 4.0
    assert sum(waits[-10:]) > 8.0  # two bridges, each after 2 to 4 s


def test_the_carts_of_a_dead_bridge_spread_by_chance() -> None:
    chosen: Counter[str] = Counter()
    for seed in range(300):
        world = World(HOME, seed=seed)
        world.attach()
        world.bridges.take_list([Record(OTHER), Record(THIRD)])
        world.bridges.note_lost(HOME, None)
        world.bridges.next_try()
        world.bridges.note_failed(HOME)
        chosen[world.bridges.next_try().url] += 1
    assert set(chosen) == {OTHER, THIRD}
    assert min(chosen.values()) > 100


@pytest.mark.parametrize(
    ("other", "third"),
    [
        (Record(OTHER, carts=10), Record(THIRD, carts=95)),
        (Record(OTHER), Record(THIRD, carts=100)),
    ],
)
def test_an_idle_bridge_draws_more_carts_than_a_loaded_one(other: Record, third: Record) -> None:
    chosen: Counter[str] = Counter()
    for seed in range(200):
        world = World(HOME, seed=seed)
        world.bridges.next_try()
        world.bridges.take_list([other, third])
        world.bridges.note_failed(HOME)
        chosen[world.bridges.next_try().url] += 1
    assert chosen[OTHER] > 5 * chosen[THIRD]


def test_a_near_bridge_draws_more_carts_than_a_far_one() -> None:
    chosen: Counter[str] = Counter()
    for seed in range(200):
        world = World(HOME, seed=seed)
        world.bridges.next_try()
        world.bridges.take_list([Record(OTHER), Record(THIRD)])
        world.bridges.note_measured(OTHER, Measurement(0.02, 0.0))
        world.bridges.note_measured(THIRD, Measurement(0.2, 0.0))
        world.bridges.note_failed(HOME)
        chosen[world.bridges.next_try().url] += 1
    assert chosen[OTHER] > 5 * chosen[THIRD]


def test_a_bridge_that_does_not_answer_a_measurement_is_put_back() -> None:
    world = World(HOME, OTHER)
    world.bridges.next_try()
    world.bridges.note_measured(OTHER, None)
    assert world.bridges.next_try().url == HOME
    world.bridges.note_measured("ws://nobody:1", None)
    assert world.urls() == {HOME, OTHER}


def test_bridges_are_measured_in_turn_those_first_that_never_were() -> None:
    world = World(HOME)
    assert world.bridges.next_to_measure() is None  # with one there is nothing to choose
    world.attach()
    world.bridges.take_list([Record(OTHER), Record(THIRD)])
    assert world.bridges.has_unmeasured()
    turns = []
    for _ in range(6):
        bridge = world.bridges.next_to_measure()
        assert bridge is not None
        turns.append(bridge.url)
        world.bridges.note_measured(bridge.url, None if bridge.url == THIRD else Measurement(0.02, 0.0))
    assert not world.bridges.has_unmeasured()
    assert turns == [HOME, OTHER, THIRD] * 2


def test_one_measurement_counts_for_a_part() -> None:
    world = World(HOME)
    world.attach()  # at 10 ms
    world.bridges.note_measured(HOME, Measurement(0.41, 0.5))
    (home,) = world.bridges.known()
    assert home.round_trip_s == pytest.approx(0.11)
    assert home.load == 0.5


@pytest.mark.parametrize(
    ("home", "other", "goes"),
    [
        (Measurement(0.1, 0.0), Measurement(0.02, 0.0), True),
        (Measurement(0.03, 0.0), Measurement(0.02, 0.0), False),
        (Measurement(0.02, 0.95), Measurement(0.02, 0.1), True),
        (Measurement(0.02, 0.4), Measurement(0.02, 0.1), False),
        (Measurement(0.02, 0.0), Measurement(0.2, 0.0), False),
        (Measurement(0.1, 0.0), None, False),
    ],
)
def test_a_cart_at_rest_goes_only_to_a_bridge_that_is_much_better(
    home: Measurement, other: Measurement | None, goes: bool
) -> None:
    world = World(HOME, OTHER)
    assert not world.bridges.is_much_better(OTHER, HOME)  # nothing is known of either
    for _ in range(2):
        bridge = world.bridges.next_to_measure()
        assert bridge is not None
        world.bridges.note_measured(bridge.url, home if bridge.url == HOME else other)
    assert world.bridges.is_much_better(OTHER, HOME) is goes
    assert not world.bridges.is_much_better(HOME, HOME)
    assert not world.bridges.is_much_better("ws://nobody:1", HOME)
    world.bridges.note_failed(OTHER)
    assert not world.bridges.is_much_better(OTHER, HOME)


# What is remembered.


def test_the_first_bridge_is_never_needed_again(tmp_path: Path) -> None:
    file = BridgeFile(tmp_path / "bridges.json")
    world = World(HOME)
    world.attach()
    world.bridges.take_list([Record(OTHER)])
    world.bridges.note_lost(HOME, None)
    world.now += 1
    world.bridges.note_attached(OTHER, "cd" * 16, 0.02)
    file.save(world.bridges.known())
    again = World(HOME)
    again.bridges.remember(file.load())
    assert again.attach() == OTHER
    assert again.urls() == {HOME, OTHER}
    assert (tmp_path / "bridges.json").stat().st_mode & 0o777 == 0o600


def test_a_cart_that_is_told_another_bridge_goes_there() -> None:
    world = World(HOME)
    world.attach()
    again = World(THIRD)
    again.bridges.remember(world.bridges.known())
    assert again.attach() == THIRD
    assert again.urls() == {HOME, THIRD}


def test_the_number_is_bounded_and_strangers_drive_out_nobody_who_has_proved_itself() -> None:
    world = World(HOME, OTHER)
    world.bridges.note_attached(THIRD, "ab" * 16, 0.01)
    changes = world.bridges.changes
    for number in range(100):
        world.now += 1
        world.bridges.take_list([Record(f"ws://stranger{number}-{place}:1") for place in range(16)])
    assert len(world.bridges.known()) == MOST_BRIDGES
    assert {HOME, OTHER, THIRD, "ws://stranger99-0:1"} <= world.urls()
    assert world.bridges.changes == changes + 100


def test_a_bridge_long_unseen_is_forgotten_unless_the_cart_was_told_it() -> None:
    world = World(HOME)
    old = 1e9 + world.now - FORGET_AFTER_S - 1
    world.bridges.remember([KnownBridge(OTHER, seen_at=old), KnownBridge(HOME, seen_at=old)])
    assert world.urls() == {HOME}


def test_nobody_can_speak_for_a_bridge_that_the_cart_knows() -> None:
    world = World(HOME)
    world.attach()
    world.bridges.take_list([Record(HOME, "cd" * 16, 100)])
    (home,) = world.bridges.known()
    assert (home.bridge_id, home.load) == ("ab" * 16, 0.0)
    world.bridges.take_list([Record(HOME, "ab" * 16, 50)])
    assert home.load == 0.5


def test_whoever_asked_for_encrypted_links_is_not_led_away_from_them() -> None:
    world = World("wss://home:9000")
    world.bridges.take_list([Record(OTHER), Record("wss://other:9000")])
    world.bridges.remember([KnownBridge(THIRD, seen_at=1e9)])
    assert world.urls() == {"wss://home:9000", "wss://other:9000"}


@pytest.mark.parametrize(
    "text",
    [
        *("", "home:9000", "http://home", "ws://", "ws://home:0", "ws://home:99999", "ws://[::1", "ws://a b"),
        *("ws://user@home", "ws://home/path", "ws://home?x=1", "ws://home#x", "ws://home\n", "ws://" + "a" * 200),
    ],
)
def test_what_is_no_address_of_a_bridge(text: str) -> None:
    assert not is_bridge_url(text)


@pytest.mark.parametrize("text", [HOME, "wss://home", "ws://[::1]:9000", "ws://192.0.2.1:1"])
def test_what_is_one(text: str) -> None:
    assert is_bridge_url(text)


# The file may hold anything.


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)
GOOD = as_json([KnownBridge(HOME, "ab" * 16, 0.5, 0.02, 10.0, 5.0)])[0]


@given(JSON, st.sampled_from(sorted(GOOD)))
def test_a_file_with_anything_in_it_gives_bridges_or_nothing(value: object, spoiled: str) -> None:
    for content in (value, [value], [GOOD | {spoiled: value}, GOOD]):
        for bridge in from_json(content):
            assert is_bridge_url(bridge.url)
            assert 0 <= bridge.appeal < 1e6
    assert from_json([GOOD | {spoiled: value}, GOOD])[-1] == from_json([GOOD])[0]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[" * 100_000, b"\xff\xfe", b"[]" + b" " * 300_000])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bridges.json"
    path.write_bytes(content)
    file = BridgeFile(path)
    assert file.load() == []
    file.save([KnownBridge(HOME)])
    assert [bridge.url for bridge in file.load()] == [HOME]


def test_a_disk_that_does_not_take_the_list_costs_nothing_else(tmp_path: Path) -> None:
    BridgeFile(tmp_path / "away" / "bridges.json").save([KnownBridge(HOME)])
    (tmp_path / "folder.json").mkdir()
    assert BridgeFile(tmp_path / "folder.json").load() == []
    assert BridgeFile(tmp_path / "nothing.json").load() == []


def test_the_list_has_the_form_that_is_read(tmp_path: Path) -> None:
    kept = [KnownBridge(HOME, "ab" * 16, 0.5, 0.02, 10.0, 5.0, True), KnownBridge(OTHER)]
    assert from_json(json.loads(json.dumps(as_json(kept)))) == kept
