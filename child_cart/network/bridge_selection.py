"""The bridges that a cart knows, and which of them it tries when. Pure: no socket and no file.

A bridge that fails is tried again after growing delays; among the others the choice is random, weighted by load and
distance, so that the carts of a dead bridge do not all go to the same one. Configured bridges are never forgotten.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Final, Protocol

from cart_common.process.backoff import Backoff, jittered
from cart_common.wire.messages import Code
from cart_common.wire.records import is_bridge_url

MOST_BRIDGES: Final = 64
# A bridge that was never measured counts as one on another continent.
UNKNOWN_ROUND_TRIP_S: Final = 0.15
# Nearer than this makes no difference to a cart, so load decides.
NEAR_S: Final = 0.02
# Carts whose bridge died go elsewhere within this many of their shortest delays: spread out, but soon.
SPREAD: Final = 4
FORGET_AFTER_S: Final = 30 * 86400.0
# How much more appeal a bridge needs before a cart at rest goes there: with less, carts would move all the time.
MUCH_BETTER: Final = 4.0
# The weight of a new measurement: a single one says little, since a machine may be busy or a line full.
FRESH_SHARE: Final = 0.25


class AdvertisedBridge(Protocol):
    """What a checked record says about a bridge."""

    @property
    def url(self) -> str:
        """Where carts attach."""

    @property
    def bridge_id(self) -> str:
        """In hexadecimal."""

    @property
    def carts(self) -> int:
        """How many carts are attached."""

    @property
    def max_carts(self) -> int:
        """How many may be."""


@dataclass
class KnownBridge:
    """A bridge as a cart remembers it. Times in seconds since the epoch; 0 is never."""

    url: str
    bridge_id: str = ""
    load: float = 0.0
    round_trip_s: float | None = None
    seen_at: float = 0.0
    """When this cart was last attached to it, or another bridge named it."""
    attached_at: float = 0.0
    """When this cart last attached to it."""
    configured: bool = False

    def note_round_trip(self, round_trip_s: float) -> None:
        """Take a measured round trip into account."""
        known_s = round_trip_s if self.round_trip_s is None else self.round_trip_s
        self.round_trip_s = known_s + FRESH_SHARE * (round_trip_s - known_s)

    @property
    def appeal(self) -> float:
        """The weight of this bridge in the random choice; near and idle bridges have most."""
        distance_s = UNKNOWN_ROUND_TRIP_S if self.round_trip_s is None else self.round_trip_s
        return ((1.01 - min(max(self.load, 0.0), 1.0)) / (max(distance_s, 0.0) + NEAR_S)) ** 2


@dataclass(frozen=True)
class Attempt:
    """The next try to attach: where, and after how many seconds of waiting."""

    url: str
    wait_s: float


@dataclass(frozen=True)
class Measurement:
    """How far away a bridge is, as a round trip in seconds, and the share of its places that is taken, 0 to 1."""

    round_trip_s: float
    load: float


class BridgeSelection:
    """The bridges that a cart knows, and how each has done lately.

    Args:
        urls: the configured bridges. A random one is tried first, since a whole fleet may have the same list.
        first_s: shortest delay before a bridge is tried again.
        cap_s: longest delay.
        clock: returns monotonic seconds.
        wall_clock: returns seconds since the epoch.
        chance: the source of randomness; None for the system's.
    """

    def __init__(
        self,
        urls: Iterable[str],
        first_s: float,
        cap_s: float,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        chance: random.Random | None = None,
    ) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._clock = clock
        self._wall_clock = wall_clock
        self._chance = chance or random.SystemRandom()
        self._known: dict[str, KnownBridge] = {}
        self._backoffs: dict[str, Backoff] = {}
        self._ready_at: dict[str, float] = {}
        self._measured: dict[str, int] = {}
        self._lost = ""
        self._moved = False
        for url in urls:
            self._known[url] = KnownBridge(url, configured=True)
        self._told_at_start = len(self._known)
        self.changes = 0
        """Grows with each change that is worth saving."""
        self._encrypted_only = all(url.startswith("wss://") for url in self._known)
        self.first = self._chance.choice(list(self._known))
        """The bridge to try at the start; empty afterwards."""

    def known(self) -> list[KnownBridge]:
        """Return the known bridges, those with most appeal first. Safe from other threads."""
        return sorted(self._known.copy().values(), key=lambda bridge: -bridge.appeal)

    def remember(self, bridges: Iterable[KnownBridge]) -> None:
        """Take the list that an earlier process has saved.

        The bridge of its last attachment is tried first, unless the configured bridges have changed: then the operator
        wants the cart to go to those.
        """
        now, told_now = self._wall_clock(), set(self._known)
        told_then = set()
        for bridge in bridges:
            if bridge.configured:
                told_then.add(bridge.url)
            if self.may_use(bridge.url) and now - bridge.seen_at < FORGET_AFTER_S:
                self._known[bridge.url] = replace(bridge, configured=bridge.url in told_now)
        last = max(self._known.values(), key=lambda bridge: bridge.attached_at)
        if last.attached_at and told_then == told_now:
            self.first = last.url
        self._forget_some()

    def take_list(self, named: Iterable[AdvertisedBridge]) -> None:
        """Take the live bridges that a bridge has named; their signatures are checked already."""
        now = self._wall_clock()
        for record in named:
            if not self.may_use(record.url):
                continue
            bridge = self._known.setdefault(record.url, KnownBridge(record.url))
            # Any bridge can sign a record with another one's address; where this cart was attached, it knows the id.
            if not bridge.attached_at or bridge.bridge_id == record.bridge_id:
                bridge.bridge_id, bridge.seen_at = record.bridge_id, now
                bridge.load = record.carts / max(record.max_carts, 1)
        self.changes += 1
        self._forget_some()

    # What the link asks and reports.

    def next_try(self) -> Attempt:
        """Return where to attach next, and when."""
        if self.first:
            url, self.first = self.first, ""
            return Attempt(url, 0.0)
        now = self._clock()
        if self._lost:
            # Perhaps the bridge has only restarted, or the line has changed: its carts are best off where they were.
            url, self._lost = self._lost, ""
            return Attempt(url, max(self._ready_at.get(url, now) - now, 0.0))
        ready = [bridge for bridge in self._known.values() if self._ready_at.get(bridge.url, 0.0) <= now]
        if not ready:
            url = min(self._known, key=lambda known: self._ready_at[known])
            return Attempt(url, self._ready_at[url] - now)
        (chosen,) = self._chance.choices(ready, [bridge.appeal for bridge in ready])
        wait_s = 0.0 if self._moved else jittered(SPREAD * self._first_s, 0.0, 1.0, self._chance.uniform)
        self._moved = False
        return Attempt(chosen.url, wait_s)

    def note_attached(self, url: str, bridge_id: str, round_trip_s: float) -> None:
        """Record that the cart is attached."""
        bridge = self._known.setdefault(url, KnownBridge(url))
        bridge.bridge_id = bridge_id
        bridge.note_round_trip(round_trip_s)
        bridge.seen_at = bridge.attached_at = self._wall_clock()
        self.changes += 1

    def note_steady(self, url: str) -> None:
        """Record that a link has held: the delays of its bridge start anew."""
        self._backoffs.pop(url, None)
        self._ready_at.pop(url, None)

    def has_unmeasured(self) -> bool:
        """Return whether there are bridges that this process has not measured yet."""
        return not self._known.keys() <= self._measured.keys()

    def next_to_measure(self) -> KnownBridge | None:
        """Return the bridge to measure next: a new one, or the one measured longest ago."""
        if len(self._known) < 2:
            return None
        self._measured = {url: place for url, place in self._measured.items() if url in self._known}
        chosen = min(self._known.values(), key=lambda bridge: self._measured.get(bridge.url, 0))
        self._measured[chosen.url] = max(self._measured.values(), default=0) + 1
        return chosen

    def note_measured(self, url: str, measured: Measurement | None) -> None:
        """Record a measurement; None for a bridge whose answer was not that of the expected bridge."""
        bridge = self._known.get(url)
        if bridge is not None and measured is not None:
            bridge.note_round_trip(measured.round_trip_s)
            bridge.load = measured.load
            self.changes += 1
        elif bridge is not None:
            self._put_back(url)

    def is_much_better(self, url: str, than: str) -> bool:
        """Return whether a cart at rest is much better off at ``url`` than at the bridge ``than``."""
        one, other = self._known.get(url), self._known.get(than)
        if one is None or other is None or one is other or url in self._ready_at:
            return False
        both_measured = one.round_trip_s is not None and {url, than} <= self._measured.keys()
        return both_measured and one.appeal > MUCH_BETTER * other.appeal

    def note_lost(self, url: str, code: Code | None) -> None:
        """Record that an attached link has ended; ``code`` is the bridge's reason, if it gave one."""
        failed_before = url in self._backoffs
        self._put_back(url)
        self._moved = code is Code.BRIDGE_STOPPING and len(self._known) > 1
        self._lost = "" if self._moved or failed_before else url

    def note_failed(self, url: str) -> None:
        """Record that a try to attach has failed."""
        self._put_back(url)

    def _put_back(self, url: str) -> None:
        backoff = self._backoffs.setdefault(url, Backoff(self._first_s, self._cap_s, self._chance.uniform))
        self._ready_at[url] = self._clock() + backoff.next_delay_s()

    def may_use(self, url: str) -> bool:
        """Return whether the cart may go there: with only ``wss://`` bridges configured, it never goes to ``ws://``."""
        return is_bridge_url(url) and (url.startswith("wss://") or not self._encrypted_only)

    def _forget_some(self) -> None:
        """Bound the number: a list of unknown bridges never drives out one that the cart was attached to."""
        others = [bridge for bridge in self._known.values() if not bridge.configured]
        others.sort(key=lambda bridge: (bridge.attached_at, bridge.seen_at), reverse=True)
        for bridge in others[max(MOST_BRIDGES - self._told_at_start, 0) :]:
            del self._known[bridge.url]
            self._backoffs.pop(bridge.url, None)
            self._ready_at.pop(bridge.url, None)


def as_json(bridges: Iterable[KnownBridge]) -> list[dict[str, object]]:
    """Return the list as it is saved on disk."""
    return [asdict(bridge) for bridge in bridges]


def from_json(value: object) -> list[KnownBridge]:
    """Return the bridges in a file's content; ignore invalid entries."""
    entries = value if isinstance(value, list) else []
    return [bridge for entry in entries[:MOST_BRIDGES] if (bridge := _known_from(entry)) is not None]


def _known_from(entry: object) -> KnownBridge | None:
    if not isinstance(entry, dict):
        return None
    url, bridge_id = entry.get("url"), entry.get("bridge_id")
    if not isinstance(url, str) or not is_bridge_url(url) or not isinstance(bridge_id, str) or len(bridge_id) > 32:
        return None
    numbers = [_number(entry.get(name)) for name in ("load", "seen_at", "attached_at")]
    round_trip_s = _number(entry.get("round_trip_s"))
    if None in numbers or (bridge_id and not bridge_id.isalnum()):
        return None
    load, seen_at, attached_at = (number or 0.0 for number in numbers)
    return KnownBridge(url, bridge_id, load, round_trip_s, seen_at, attached_at, entry.get("configured") is True)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1e12:
        return None
    return float(value)
