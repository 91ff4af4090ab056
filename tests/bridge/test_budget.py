"""What waits in the bridge is bounded, whichever receivers do not read; those that read go on."""

from __future__ import annotations

import math
import os
import random
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.bridges.in_process import running_bridge, until
from support.carts.raw_cart import attached, open_transfer
from support.carts.unsigned_messages import model_request, sealed_offer
from support.clock import Clock

from cart_common.process.settings import SettingError
from cart_common.wire.chunk import HEADER_BYTES, SEAL_BYTES, ChunkHeader
from cart_common.wire.messages import Cancel, Cluster, Code, Credit, Done, Resume, Role
from parent_cart.bridge.budget import DRAIN_S, KERNEL_SHARE, STALLED_S, Budget
from parent_cart.bridge.hub import Hub
from parent_cart.bridge.rules import Delivery, Limits
from parent_cart.config import BridgeSettings
from parent_cart.main import build

CHUNK, WINDOW, MOST, TOTAL, PAIRS = 1024, 16 * 1024, 64 * 1024, 40 * 1024, 12
MODEL = "aa" * 16


def account_of(cart_id: str) -> str:
    return cart_id


def test_half_is_for_everybody_and_the_rest_for_those_who_drain() -> None:
    clock = Clock()
    budget = Budget(1000, clock, account_of)
    assert budget.room_for("a", 10) == 500
    budget.promise("a", 500)
    assert budget.room_for("a", 10) == 0
    assert budget.room_for("b", 10) == 10  # one chunk to begin with
    budget.promise("b", 10)
    assert budget.room_for("b", 10) == 0
    budget.promise("b", -10)
    kernel_bytes = 1000 // KERNEL_SHARE
    budget.wait("b", kernel_bytes)
    budget.wait("b", -kernel_bytes)
    assert budget.room_for("b", 10) == 10  # the kernel may hold that
    budget.wait("b", 10)
    budget.wait("b", -10)
    assert budget.room_for("b", 10) == 20  # what it has drained, and a chunk
    clock.now += DRAIN_S
    assert budget.room_for("b", 10) == 20
    clock.now += 2 * DRAIN_S
    assert budget.room_for("b", 10) == 10  # that was long ago
    budget.wait("b", 490)
    assert budget.room_for("c", 10) == 10
    assert budget.room_for("c", 11) < 11  # less than a chunk is not passed on
    budget.promise("a", -500)
    budget.drop("b")
    assert budget.free_bytes == 1000
    assert not budget.promised
    assert not budget.waiting


def test_who_drains_nothing_for_long_is_named_and_who_drains_is_not() -> None:
    clock = Clock()
    budget = Budget(1000, clock, account_of)
    for cart in ("holds credit", "lets bytes wait", "drains", "has ended"):
        budget.promise(cart, 100)
    budget.promise("has ended", -100)
    budget.promise("lets bytes wait", -100)
    budget.wait("lets bytes wait", 100)
    clock.now += STALLED_S
    budget.wait("drains", 50)
    budget.wait("drains", -1)
    assert not budget.stalled()
    clock.now += 0.1
    assert not budget.stalled()  # there is room
    budget.promise("drains", 500)
    assert budget.stalled() == ["holds credit", "lets bytes wait"]


def test_what_was_drained_is_forgotten_when_nothing_is_held() -> None:
    clock = Clock()
    budget = Budget(1000, clock, account_of)
    for cart in ("a", "b"):
        budget.wait(cart, 10)
    budget.wait("a", -10)
    clock.now += 3 * DRAIN_S
    budget.forget_idle()
    assert list(budget._receivers) == list(budget._drains) == ["b"]


def test_bytes_that_are_lost_with_a_link_were_not_drained() -> None:
    budget = Budget(1000, Clock(), account_of)
    budget.promise("others", 600)
    budget.wait("a", 300)
    budget.drop("a")
    assert budget.room_for("a", 10) == 10


class Pairs:
    """Senders and receivers at one hub, and what waits for each receiver as a relay would count it."""

    def __init__(self) -> None:
        self.now = 0.0
        limits = Limits(max_window_bytes=WINDOW, max_chunk_bytes=CHUNK, max_buffered_bytes=MOST)
        self.hub = Hub(limits, lambda: self.now, time.time, lambda: os.urandom(16).hex(), random.Random(1).randrange)
        self.senders = [f"{number:032x}" for number in range(PAIRS)]
        self.receivers = [f"{100 + number:032x}" for number in range(PAIRS)]
        self.ids = [f"{200 + number:032x}" for number in range(PAIRS)]
        self.sent, self.credit, self.granted, self.waiting = ([0] * PAIRS for _ in range(4))
        for sender in self.senders:
            self.hub.attach(sender, Role.SHELL, MODEL, 1)
        for number in range(PAIRS):
            self.open(number)

    def open(self, number: int) -> None:
        sender, receiver, transfer = self.senders[number], self.receivers[number], self.ids[number]
        self.hub.attach(receiver, Role.KERNEL, MODEL, 0)
        (answer,) = self.hub.receive(receiver, Cluster("ee" * 16, PAIRS, 1))
        self.hub.receive(receiver, model_request(transfer, answer.message.cluster, receiver, sender))  # type: ignore[attr-defined]
        self.hub.receive(sender, sealed_offer(transfer, sender, receiver, TOTAL, CHUNK))

    def take(self, told: list[Delivery]) -> None:
        for delivery in told:
            if isinstance(delivery.message, Credit):
                number = self.ids.index(delivery.message.transfer)
                assert delivery.cart_id == self.senders[number]
                self.credit[number] = delivery.message.up_to_bytes
            if isinstance(delivery.message, Resume):
                number = self.ids.index(delivery.message.transfer)
                self.sent[number], self.credit[number] = delivery.message.position_bytes, delivery.message.up_to_bytes

    def grant(self, number: int) -> None:
        up_to = min(self.sent[number] - self.waiting[number] + WINDOW, TOTAL)
        if up_to > self.granted[number]:
            self.granted[number] = up_to
            self.take(self.hub.receive(self.receivers[number], Credit(self.ids[number], up_to)))

    def send(self, number: int) -> None:
        while self.sent[number] + CHUNK <= self.credit[number]:
            ends = (self.senders[number], self.receivers[number], self.ids[number])
            header = ChunkHeader(*map(bytes.fromhex, ends), self.sent[number] // CHUNK, False)
            assert self.hub.route(self.senders[number], header, HEADER_BYTES + CHUNK + SEAL_BYTES) == ends[1]
            self.sent[number] += CHUNK
            self.waiting[number] += CHUNK

    def read(self, number: int, count: int) -> None:
        self.waiting[number] -= min(self.waiting[number], count)
        self.take(self.hub.note_waiting(self.receivers[number], self.waiting[number]))

    def break_link(self, number: int) -> None:
        """Lose a receiver's link and come back, with nothing of what waited."""
        self.take(self.hub.lose(self.receivers[number]))
        position = self.sent[number] - self.waiting[number]
        self.waiting[number] = 0
        self.hub.attach(self.receivers[number], Role.KERNEL, MODEL, 0)
        up_to = max(min(position + WINDOW, TOTAL), self.granted[number])
        said = Resume(self.ids[number], self.senders[number], self.receivers[number], TOTAL, CHUNK, position, up_to)
        self.take(self.hub.receive(self.receivers[number], replace(said, up_to_bytes=min(up_to, position + WINDOW))))

    @property
    def held(self) -> int:
        return sum(self.credit) - sum(self.sent) + sum(self.waiting)


@given(
    st.lists(st.tuples(st.sampled_from(["grant", "send", "read", "break"]), st.integers(0, PAIRS - 1)), max_size=300)
)
def test_whatever_receivers_do_the_bound_holds_and_those_who_read_end(steps: list[tuple[str, int]]) -> None:
    pairs = Pairs()
    for what, number in steps:
        if what == "read":
            pairs.read(number, 3 * CHUNK)
        elif what == "break":
            pairs.break_link(number)
        else:
            getattr(pairs, what)(number)
        assert pairs.held <= MOST
    # From here on the first one reads nothing, and all others do.
    for _ in range(10 * TOTAL // CHUNK):
        for number in range(PAIRS):
            pairs.grant(number)
            pairs.send(number)
            if number:
                pairs.read(number, CHUNK)
            assert pairs.held <= MOST
    assert all(sent == TOTAL for sent in pairs.sent[1:])


def test_what_waits_for_a_lost_link_holds_no_room_and_gets_it_back() -> None:
    pairs = Pairs()
    budget = pairs.hub.transfers.credit_grants.budget
    for number in range(PAIRS):
        pairs.grant(number)
    assert budget.free_bytes < MOST // 2
    for sender in pairs.senders:
        pairs.take(pairs.hub.lose(sender))
    assert budget.free_bytes == MOST
    for number, sender in enumerate(pairs.senders):
        pairs.hub.attach(sender, Role.SHELL, MODEL, 1)
        again = Resume(pairs.ids[number], sender, pairs.receivers[number], TOTAL, CHUNK, 0, 0)
        pairs.take(pairs.hub.receive(sender, again))
    for _ in range(10 * TOTAL // CHUNK):
        for number in range(PAIRS):
            pairs.grant(number)
            pairs.send(number)
            pairs.read(number, CHUNK)
            assert pairs.held <= MOST
    assert all(sent == TOTAL for sent in pairs.sent)


def hold(pairs: Pairs, number: int, sends: bool) -> None:
    """Let a receiver hold all that it gets: as credit, or as bytes that wait for it."""
    pairs.grant(number)
    if sends:
        pairs.send(number)


@pytest.mark.parametrize("sends", [False, True])
def test_those_who_hold_all_they_get_leave_half_to_who_drains(sends: bool) -> None:
    pairs = Pairs()
    for number in range(1, PAIRS):
        hold(pairs, number, sends)
    passes = 0
    while pairs.sent[0] < TOTAL:
        pairs.grant(0)
        pairs.send(0)
        pairs.read(0, WINDOW)
        passes += 1
    # It begins with single chunks, which the kernel may hold, doubles with each pass, and then has its whole window.
    assert passes <= MOST // KERNEL_SHARE // CHUNK + math.log2(WINDOW // CHUNK) + TOTAL // WINDOW + 2


def fill_by_draining(pairs: Pairs, sends: bool) -> None:
    """Let receivers earn room by draining, and then hold what they get until nothing is left."""
    for number in range(1, PAIRS):
        pairs.grant(number)
    for _ in range(2):
        for number in range(1, PAIRS):
            pairs.send(number)
            pairs.read(number, WINDOW)
            pairs.grant(number)
    for number in 3 * list(range(1, PAIRS)):
        pairs.read(number, 0)
        hold(pairs, number, sends)


@pytest.mark.parametrize("sends", [False, True])
def test_a_full_bridge_takes_credit_back_from_who_drains_nothing(sends: bool) -> None:
    pairs = Pairs()
    fill_by_draining(pairs, sends)
    transfers, budget = pairs.hub.transfers, pairs.hub.transfers.credit_grants.budget
    budget.promise(pairs.senders[0], 4 * CHUNK)
    assert budget.free_bytes < MOST // 4
    pairs.grant(0)
    pairs.now += STALLED_S + 0.1
    stalled = transfers.stalled()
    assert bool(stalled) == sends
    for cart_id in stalled:  # as the relay does, by breaking their links
        pairs.take(pairs.hub.lose(cart_id))
    told = pairs.hub.expire()
    ended = [entry for entry in told if isinstance(entry.message, Cancel)]
    assert bool(ended) != sends
    assert all(entry.message.code is Code.TIMED_OUT for entry in ended)  # type: ignore[attr-defined]
    assert budget.free_bytes >= MOST // 2


async def test_the_link_of_who_drains_nothing_is_broken_in_a_full_bridge(
    no_blocking: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("parent_cart.bridge.budget.STALLED_S", 0.0)
    most, chunk, payload = 2 * 1024 * 1024, 64 * 1024, os.urandom(32 * 1024 * 1024)
    settings = {"max_buffered_bytes": most, "max_chunk_bytes": chunk, "heartbeat_s": 0.4}
    async with running_bridge(**settings) as bridge, AsyncExitStack() as stack:
        shell = await stack.enter_async_context(attached(bridge.url))
        kernel = await stack.enter_async_context(attached(bridge.url, role="KERNEL"))
        opened = await open_transfer(kernel, shell, payload, chunk)
        await kernel.stop_reading()
        await kernel.say("CREDIT", transfer=opened.id, up_to_bytes=4 * 1024 * 1024)
        budget, sent, up_to = bridge.hub.transfers.credit_grants.budget, 0, 0
        while not bridge.hub.counters["stalled_readers"]:
            message = await shell.hear()
            if message["type"] == "PAUSED":
                break
            up_to = message["up_to_bytes"]
            while sent < up_to:
                await shell.socket.send_bytes(opened.frame(sent // chunk))
                sent += chunk
            await kernel.say("CREDIT", transfer=opened.id, up_to_bytes=up_to + 2 * 1024 * 1024)
        await until(lambda: kernel.id not in bridge.hub.carts)
        assert bridge.hub.counters["stalled_readers"] == 1
        assert bridge.hub.transfers.open[opened.id].awaited == {kernel.id}  # it may come back and go on
        assert budget.free_bytes == most


def test_nothing_is_kept_of_what_has_ended() -> None:
    pairs = Pairs()
    for number in range(PAIRS):
        pairs.grant(number)
        pairs.send(number)
    for number in range(PAIRS):
        pairs.hub.receive(pairs.receivers[number], Done(pairs.ids[number]))
        pairs.hub.leave(pairs.receivers[number])
    budget = pairs.hub.transfers.credit_grants.budget
    assert (budget.free_bytes, len(budget.promised), len(budget.waiting)) == (MOST, 0, 0)
    assert not pairs.hub.transfers.credit_grants.short


async def test_carts_that_read_nothing_leave_room_for_one_that_does(no_blocking: object) -> None:
    """Six of them could have 4 MiB wait each; all together get less than two."""
    most, chunk, payload = 2 * 1024 * 1024, 64 * 1024, os.urandom(4 * 1024 * 1024)
    async with running_bridge(max_buffered_bytes=most, max_chunk_bytes=chunk) as bridge, AsyncExitStack() as stack:
        sending = []
        for _ in range(6):
            shell = await stack.enter_async_context(attached(bridge.url))
            kernel = await stack.enter_async_context(attached(bridge.url, role="KERNEL"))
            opened = await open_transfer(kernel, shell, payload, chunk)
            await kernel.stop_reading()
            await kernel.say("CREDIT", transfer=opened.id, up_to_bytes=len(payload))
            sending.append((opened, shell))
        budget = bridge.hub.transfers.credit_grants.budget
        for opened, shell in sending:
            granted = (await shell.hear("CREDIT"))["up_to_bytes"]
            for number in range(granted // chunk):
                await shell.socket.send_bytes(opened.frame(number))
        shell = await stack.enter_async_context(attached(bridge.url))
        kernel = await stack.enter_async_context(attached(bridge.url, role="KERNEL"))
        opened = await open_transfer(kernel, shell, payload, chunk)
        await kernel.say("CREDIT", transfer=opened.id, up_to_bytes=len(payload))
        sent = 0
        while sent < len(payload):
            up_to = (await shell.hear("CREDIT"))["up_to_bytes"]
            while sent < min(up_to, len(payload)):
                await shell.socket.send_bytes(opened.frame(sent // chunk))
                assert await kernel.hear_bytes() == opened.frame(sent // chunk)
                sent += chunk
            assert budget.free_bytes >= 0
        assert bridge.hub.counters["violations"] == 0
        await until(lambda: budget.waiting[kernel.id] == 0)


def test_a_bound_that_holds_no_chunks_is_named() -> None:
    with pytest.raises(SettingError, match=r"--max-buffered-bytes \(BRIDGE_MAX_BUFFERED_BYTES\) is 65536; .* 8 times"):
        build(BridgeSettings(max_buffered_bytes=65536))


@pytest.mark.parametrize("holders", [PAIRS - 1, 3])
def test_what_waits_in_vain_costs_who_drains_next_to_nothing(monkeypatch: pytest.MonkeyPatch, holders: int) -> None:
    """Beyond half of the budget a drained chunk looks at the receiver's own transfers and at one other."""
    pairs = Pairs()
    for number in range(1, 1 + holders):
        hold(pairs, number, sends=False)
    grants, looked_at = pairs.hub.transfers.credit_grants, list[str]()
    assert len(grants.short) == max(holders - 2, 0)
    extend = grants.extend
    monkeypatch.setattr(grants, "extend", lambda transfer: looked_at.append(transfer.receiver) or extend(transfer))
    pairs.grant(0)
    pairs.send(0)
    looked_at.clear()
    pairs.read(0, CHUNK)
    assert len([receiver for receiver in looked_at if receiver != pairs.receivers[0]]) <= 1
    looked_at.clear()
    pairs.take(pairs.hub.expire())
    assert set(looked_at) >= {*pairs.receivers[3 : 1 + holders]}  # and regularly at all
