"""What the bridge decides: who gets what, who is refused, and who must go. No socket, no clock, no task."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from support.carts.unsigned_messages import model_request, sealed_offer
from support.clock import Clock

from cart_common.wire.chunk import HEADER_BYTES, SEAL_BYTES, ChunkHeader
from cart_common.wire.messages import (
    Attached,
    Cancel,
    Cluster,
    Code,
    Credit,
    Done,
    ErrorMessage,
    Exit,
    Message,
    ModelParameters,
    Paused,
    PeerList,
    PeerType,
    Resume,
    Role,
    SealedOffer,
)
from parent_cart.bridge.hub import Hub
from parent_cart.bridge.model_shapes import ModelShapes
from parent_cart.bridge.rules import Delivery, Limits, Violation
from parent_cart.bridge.transfer import Transfer, TransferState

MODEL, OTHER_MODEL = "aa" * 16, "bb" * 16
CHUNK, WINDOW, IDLE_S, RESUME_S = 1024, 4096, 10.0, 15.0
LIMITS = Limits(
    max_carts=8,
    max_transfers_per_cart=3,
    max_chunk_bytes=4096,
    max_window_bytes=WINDOW,
    transfer_idle_s=10,
    resume_timeout_s=15,
)


def cart(number: int) -> str:
    return f"{number:032x}"


def new_hub(limits: Limits = LIMITS, seed: int = 0) -> tuple[Hub, Clock]:
    clock, numbers = Clock(), itertools.count(1)
    return Hub(limits, clock, time.time, lambda: f"c{next(numbers):031x}", random.Random(seed).randrange), clock


def offer(transfer: str, source: str, destination: str, total: int, chunk_bytes: int = CHUNK) -> SealedOffer:
    return sealed_offer(transfer, source, destination, total, chunk_bytes)


def old_offer(transfer: str, source: str, destination: str, total: int) -> ModelParameters:
    model = (1, "cd" * 32, "pickle5", MODEL, 1, 0, 0.0, "none", "00" * 32, "00" * 32, "00" * 64)
    return ModelParameters(transfer, source, destination, total, CHUNK, *model)


def header(transfer: str, source: str, destination: str, sequence: int = 0) -> ChunkHeader:
    return ChunkHeader(bytes.fromhex(source), bytes.fromhex(destination), bytes.fromhex(transfer), sequence, False)


def resume(entry: Transfer, position_bytes: int, up_to_bytes: int) -> Resume:
    ends = (entry.transfer_id, entry.sender, entry.receiver, entry.total_bytes, entry.chunk_bytes)
    return Resume(*ends, position_bytes, up_to_bytes)


class HubMachine(RuleBasedStateMachine):
    """Carts that come, go and talk in any order; most of it within the protocol, some of it not."""

    carts = Bundle("carts")
    transfers = Bundle("transfers")

    def __init__(self) -> None:
        super().__init__()
        self.hub, self.clock = new_hub()
        self.transfer_numbers = itertools.count(1)
        self.granted: dict[str, int] = {}

    @initialize(target=carts)
    def open_shop(self) -> Any:
        for number in range(2, 7):
            self.hub.attach(cart(number), Role.SHELL, MODEL, 1)
        return multiple(*(cart(number) for number in range(2, 7)))

    # A violation detaches the cart, as the relay does; so does leaving.

    def attempt(self, cart_id: str, message: Message) -> list[Delivery] | None:
        """Let an attached cart say something; None if it had to go for it."""
        if cart_id not in self.hub.carts:
            return None
        try:
            told = self.hub.receive(cart_id, message)
        except Violation as violation:
            assert violation.sentence
            self.check(self.hub.leave(cart_id))
            return None
        self.check(told)
        return told

    def check(self, told: list[Delivery]) -> None:
        assert all(delivery.cart_id in self.hub.carts for delivery in told)
        for delivery in told:
            if isinstance(delivery.message, Cancel | Done):
                assert delivery.message.transfer not in self.hub.transfers.open

    @rule(target=carts, number=st.integers(1, 10), role=st.sampled_from(Role), version=st.integers(0, 2))
    def attach(self, number: int, role: Role, version: int) -> str:
        cart_id = cart(number)
        if cart_id in self.hub.carts:
            self.check(self.hub.lose(cart_id))
        full = len(self.hub.carts) >= LIMITS.max_carts
        try:
            self.hub.attach(cart_id, role, OTHER_MODEL if number == 1 else MODEL, version)
        except Violation as violation:
            assert full
            assert violation.code is Code.BRIDGE_FULL
        else:
            assert not full
        return cart_id

    @rule(cart_id=consumes(carts))
    def leave(self, cart_id: str) -> None:
        mine = self.hub.transfers.of_cart(cart_id) if cart_id in self.hub.carts else []
        # A transfer that waits for this cart alone goes on where the cart takes it up.
        waiting = [entry for entry in mine if entry.awaited == {cart_id}]
        ended = [entry for entry in mine if entry not in waiting]
        others = {entry.transfer_id for entry in ended if entry.other_than(cart_id) in self.hub.carts}
        told = self.hub.leave(cart_id)
        self.check(told)
        assert {delivery.message.transfer for delivery in told} == others  # type: ignore[attr-defined]
        assert cart_id not in self.hub.carts
        assert not mine or self.hub.transfers.of_cart(cart_id) == waiting

    @rule(cart_id=carts)
    def lose(self, cart_id: str) -> None:
        if cart_id not in self.hub.carts:
            return
        mine = self.hub.transfers.of_cart(cart_id)
        told = self.hub.lose(cart_id)
        self.check(told)
        assert cart_id not in self.hub.carts
        for entry in mine:
            kept = entry.transfer_id in self.hub.transfers.open
            assert kept == (entry.state is not TransferState.REQUESTED and len(entry.awaited) == 1)
            assert cart_id in entry.awaited

    @rule(number=st.integers(0, 99), back_bytes=st.integers(0, 6), ahead=st.sampled_from([0, CHUNK, WINDOW]))
    def come_back(self, number: int, back_bytes: int, ahead: int) -> None:
        """Let a cart that lost its link attach and take up one of its transfers."""
        waiting = sorted(
            (entry.transfer_id, away) for entry in self.hub.transfers.open.values() for away in entry.awaited
        )
        if not waiting:
            return
        transfer_id, cart_id = waiting[number % len(waiting)]
        entry = self.hub.transfers.open[transfer_id]
        if cart_id not in self.hub.carts:
            if len(self.hub.carts) >= LIMITS.max_carts:
                return
            reminders = self.hub.attach(cart_id, Role.SHELL, MODEL, 1)
            assert Delivery(cart_id, Paused(transfer_id)) in reminders
        position = max(entry.passed_bytes // entry.chunk_bytes - back_bytes, 0) * entry.chunk_bytes
        told = self.attempt(cart_id, resume(entry, position, min(position + ahead, entry.total_bytes)))
        assert told is not None
        assert cart_id not in entry.awaited
        if not entry.awaited:
            (answer,) = told
            assert answer == Delivery(entry.sender, resume(entry, entry.passed_bytes, entry.granted_bytes))

    @rule(cart_id=carts, role=st.sampled_from(Role), version=st.integers(0, 3))
    def change_role(self, cart_id: str, role: Role, version: int) -> None:
        assert self.attempt(cart_id, PeerType(role, version)) in ([], None)

    @rule(target=transfers, cart_id=carts, size=st.integers(1, 4), minimum=st.integers(1, 3), asks=st.integers(0, 5))
    def collect(self, cart_id: str, size: int, minimum: int, asks: int) -> Any:
        """Become KERNEL, ask for a cluster and request some of its models."""
        started: list[tuple[str, str, str]] = []
        if self.attempt(cart_id, PeerType(Role.KERNEL, 1)) is None:
            return multiple()
        told = self.attempt(cart_id, Cluster("ee" * 16, size, min(size, minimum)))
        assert told is not None
        (answer,) = told
        assert answer.cart_id == cart_id
        same = [other for other in self.hub.carts.values() if other.model_signature == self.model_of(cart_id)]
        able = {other.cart_id for other in same if other.model_version > 0} - {cart_id}
        if isinstance(answer.message, ErrorMessage):
            assert answer.message.code is Code.NOT_ENOUGH_PEERS
            assert answer.message.available == len(able) < min(size, minimum)
            return multiple()
        assert isinstance(answer.message, PeerList)
        peers = answer.message.peers
        assert len(set(peers)) == len(peers) == min(size, len(able))
        assert set(peers) <= able
        shells = {other for other in able if self.hub.carts[other].role is Role.SHELL}
        assert set(peers) <= shells or shells <= set(peers), "a KERNEL was taken while a SHELL was free"
        for peer in (peers * 3)[:asks]:
            transfer = f"{next(self.transfer_numbers):032x}"
            told = self.attempt(cart_id, model_request(transfer, answer.message.cluster, cart_id, peer))
            assert told is not None
            if transfer in self.hub.transfers.open:
                started.append((transfer, peer, cart_id))
                assert told == [Delivery(peer, model_request(transfer, answer.message.cluster, cart_id, peer))]
            else:
                assert isinstance(told[0].message, Cancel)
                assert told[0].message.code is Code.TOO_MANY_TRANSFERS
        return multiple(*started)

    def model_of(self, cart_id: str) -> str:
        return self.hub.carts[cart_id].model_signature

    @rule(
        target=transfers,
        cart_id=carts,
        total=st.integers(1, 20_000),
        ahead=st.sampled_from([WINDOW] * 4 + [WINDOW + 1]),
        chunks=st.integers(0, 6),
    )
    def open_one(self, cart_id: str, total: int, ahead: int, chunks: int) -> Any:
        """Go all the way to the first chunks."""
        started = self.collect(cart_id, 1, 1, 1)
        for transfer, sender, receiver in started.values:
            self.attempt(sender, offer(transfer, sender, receiver, total))
            told = self.attempt(receiver, Credit(transfer, ahead))
            assert (told is None) == (ahead > WINDOW)
            if told is not None:
                self.send(transfer, chunks, 0)
        return started

    @rule(entry=transfers, total=st.integers(1, 9000), chunk_bytes=st.sampled_from([CHUNK, CHUNK, 4096, 1023, 4097]))
    def make_offer(self, entry: tuple[str, str, str], total: int, chunk_bytes: int) -> None:
        transfer, sender, receiver = entry
        self.attempt(sender, offer(transfer, sender, receiver, total, chunk_bytes))

    @rule(entry=transfers, ahead=st.sampled_from([CHUNK, WINDOW, WINDOW, WINDOW + 1]))
    def grant(self, entry: tuple[str, str, str], ahead: int) -> None:
        transfer, _, receiver = entry
        passed = self.hub.transfers.open[transfer].passed_bytes if transfer in self.hub.transfers.open else 0
        self.attempt(receiver, Credit(transfer, passed + ahead))

    @rule(number=st.integers(0, 99), chunks=st.integers(1, 6), wrong=st.sampled_from([0] * 8 + [1]))
    def send_chunks(self, number: int, chunks: int, wrong: int) -> None:
        running = sorted(
            key
            for key, entry in self.hub.transfers.open.items()
            if entry.state is TransferState.OPEN and not entry.awaited
        )
        if running:
            self.send(running[number % len(running)], chunks, wrong)

    def send(self, transfer_id: str, chunks: int, wrong: int) -> None:
        """Send until the chunks, the payload or the sender's luck is used up."""
        transfer = self.hub.transfers.open[transfer_id]
        for _ in range(chunks):
            due = min(transfer.chunk_bytes, transfer.total_bytes - transfer.passed_bytes)
            allowed = due > 0 and not wrong and transfer.passed_bytes + due <= transfer.granted_bytes
            sequence = transfer.passed_bytes // transfer.chunk_bytes
            frame = header(transfer.transfer_id, transfer.sender, transfer.receiver, sequence)
            try:
                target = self.hub.route(transfer.sender, frame, HEADER_BYTES + SEAL_BYTES + (due or 1) + wrong)
            except Violation as violation:
                assert not allowed
                assert violation.code in {Code.OVERRUN, Code.BAD_CHUNK}
                self.check(self.hub.leave(transfer.sender))
                return
            assert allowed or (transfer.resumed and due == 0)
            assert target == (transfer.receiver if allowed else None)

    @rule(entry=transfers)
    def send_too_late(self, entry: tuple[str, str, str]) -> None:
        transfer, sender, receiver = entry
        if sender in self.hub.carts and transfer not in self.hub.transfers.open:
            assert self.hub.route(sender, header(transfer, sender, receiver), HEADER_BYTES + SEAL_BYTES + CHUNK) is None

    @rule(entry=transfers, by_sender=st.booleans(), done=st.booleans())
    def finish(self, entry: tuple[str, str, str], by_sender: bool, done: bool) -> None:
        transfer, sender, receiver = entry
        actor, other = (sender, receiver) if by_sender else (receiver, sender)
        known = transfer in self.hub.transfers.open
        message = Done(transfer) if done else Cancel(transfer, Code.ABANDONED)
        told = self.attempt(actor, message)
        if told is not None:
            assert told == ([Delivery(other, message)] if known and other in self.hub.carts else [])
            assert transfer not in self.hub.transfers.open

    @rule(entry=transfers, stranger=carts)
    def meddle(self, entry: tuple[str, str, str], stranger: str) -> None:
        transfer, sender, receiver = entry
        if stranger in (sender, receiver) or transfer not in self.hub.transfers.open:
            return
        assert self.attempt(stranger, Cancel(transfer, Code.ABANDONED)) is None
        assert stranger not in self.hub.carts
        assert transfer in self.hub.transfers.open

    @rule(seconds=st.sampled_from([1.0, IDLE_S / 2, IDLE_S + 0.1]))
    def wait(self, seconds: float) -> None:
        self.clock.now += seconds
        told = self.hub.expire()
        self.check(told)
        codes = {Code.TIMED_OUT, Code.PEER_LEFT}
        assert all(isinstance(entry.message, Cancel) and entry.message.code in codes for entry in told)
        for entry in self.hub.transfers.open.values():
            assert self.clock.now - entry.touched_at <= (RESUME_S if entry.awaited else IDLE_S)

    @invariant()
    def transfers_and_carts_agree(self) -> None:
        for transfer in self.hub.transfers.open.values():
            ends = {transfer.sender, transfer.receiver}
            assert all(transfer in self.hub.transfers.of_cart(cart_id) for cart_id in ends)
            assert transfer.awaited <= ends
            assert all(cart_id in self.hub.carts for cart_id in ends - transfer.awaited)
        for cart_id in self.hub.carts:
            assert all(cart_id in (entry.sender, entry.receiver) for entry in self.hub.transfers.of_cart(cart_id))
        named = {cart_id for entry in self.hub.transfers.open.values() for cart_id in (entry.sender, entry.receiver)}
        assert set(self.hub.transfers._of_cart) == named

    @invariant()
    def credit_is_kept(self) -> None:
        for transfer in self.hub.transfers.open.values():
            assert transfer.passed_bytes <= transfer.granted_bytes
            assert transfer.granted_bytes <= transfer.passed_bytes + WINDOW
            assert transfer.passed_bytes <= transfer.total_bytes
            assert (transfer.wanted_bytes > 0) == (transfer.state is TransferState.OPEN)
            assert not transfer.awaited or transfer.granted_bytes == transfer.passed_bytes

    @invariant()
    def peer_pickers_and_carts_agree(self) -> None:
        able = {
            (entry.cart_id, entry.model_signature, entry.role)
            for entry in self.hub.carts.values()
            if entry.model_version > 0
        }
        pickers = self.hub._peer_choice._pickers
        assert {(cart_id, *key) for key, picker in pickers.items() for cart_id in picker._cart_ids} == able
        assert all(len(picker) for picker in pickers.values())
        assert set(self.hub._peer_choice._key_of) == {cart_id for cart_id, _, _ in able}

    @invariant()
    def bytes_are_counted_once(self) -> None:
        assert len(self.hub.carts) <= LIMITS.max_carts
        assert sum(entry.received_bytes for entry in self.hub.carts.values()) <= self.hub.relayed_bytes


HubMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
TestHubMachine = HubMachine.TestCase


# One promise each.


class Fleet:
    """A hub with carts 1 (KERNEL) and 2..n (SHELLs), and a short way to a running transfer."""

    def __init__(self, size: int = 4, limits: Limits = LIMITS) -> None:
        self.hub, self.clock = new_hub(limits)
        self.kernel, self.shells = cart(1), [cart(number) for number in range(2, size + 1)]
        self.hub.attach(self.kernel, Role.KERNEL, MODEL, 1)
        for shell in self.shells:
            self.hub.attach(shell, Role.SHELL, MODEL, 1)
        self.cluster = self.ask().cluster

    def ask(self, size: int = 8, minimum: int = 1, by: str | None = None) -> Any:
        (answer,) = self.hub.receive(by or self.kernel, Cluster("ee" * 16, size, minimum))
        assert answer.cart_id == (by or self.kernel)
        return answer.message

    def request(self, transfer: int = 1, shell: str | None = None) -> str:
        transfer_id = f"{transfer:032x}"
        self.hub.receive(self.kernel, model_request(transfer_id, self.cluster, self.kernel, shell or self.shells[0]))
        return transfer_id

    def open(self, total: int = 10_000, granted: int = WINDOW) -> str:
        transfer = self.request()
        self.hub.receive(self.shells[0], offer(transfer, self.shells[0], self.kernel, total))
        self.hub.receive(self.kernel, Credit(transfer, granted))
        return transfer

    def send(self, transfer: str, payload_bytes: int = CHUNK, sequence: int | None = None) -> str | None:
        if sequence is None:
            entry = self.hub.transfers.open.get(transfer)
            sequence = entry.passed_bytes // CHUNK if entry else 0
        frame = header(transfer, self.shells[0], self.kernel, sequence)
        return self.hub.route(self.shells[0], frame, HEADER_BYTES + SEAL_BYTES + payload_bytes)


def violation_of(act: Callable[[], object]) -> Violation:
    with pytest.raises(Violation) as caught:
        act()
    assert caught.value.sentence == str(caught.value)
    return caught.value


def test_a_transfer_runs_from_request_to_done() -> None:
    fleet = Fleet()
    shell = fleet.shells[0]
    request = model_request("1".zfill(32), fleet.cluster, fleet.kernel, shell)
    assert fleet.hub.receive(fleet.kernel, request) == [Delivery(shell, request)]
    offered = offer("1".zfill(32), shell, fleet.kernel, 1500)
    assert fleet.hub.receive(shell, offered) == [Delivery(fleet.kernel, offered)]
    credit = Credit("1".zfill(32), 1500)
    assert fleet.hub.receive(fleet.kernel, credit) == [Delivery(shell, credit)]
    assert fleet.send("1".zfill(32)) == fleet.kernel
    assert fleet.send("1".zfill(32), 1500 - CHUNK) == fleet.kernel
    done = Done("1".zfill(32))
    assert fleet.hub.receive(fleet.kernel, done) == [Delivery(shell, done)]
    assert not fleet.hub.transfers.open
    assert fleet.hub.relayed_bytes == 1500
    assert fleet.hub.carts[shell].received_bytes == fleet.hub.carts[fleet.kernel].delivered_bytes == 1500
    assert fleet.hub.counters["transfers_done"] == 1


def test_a_full_bridge_refuses_with_its_number() -> None:
    fleet = Fleet(size=8)
    violation = violation_of(lambda: fleet.hub.attach(cart(9), Role.SHELL, MODEL, 1))
    assert violation.code is Code.BRIDGE_FULL
    assert "8 carts" in violation.sentence
    fleet.hub.leave(fleet.shells[0])
    fleet.hub.attach(cart(9), Role.SHELL, MODEL, 1)


def test_an_answer_counts_the_carts_of_the_task_that_have_another_shape() -> None:
    hub, _ = new_hub()
    hub.attach(cart(1), Role.KERNEL, MODEL, 1, task="light")
    hub.attach(cart(2), Role.SHELL, MODEL, 1, task="light")

    def others(minimum: int) -> int:
        (answer,) = hub.receive(cart(1), Cluster("ee" * 16, 5, minimum))
        assert isinstance(answer.message, PeerList if minimum == 1 else ErrorMessage)
        return answer.message.other_shapes

    hub.attach(cart(3), Role.SHELL, OTHER_MODEL, 1, task="heavy")  # another task
    hub.attach(cart(4), Role.SHELL, OTHER_MODEL, 1)  # a cart that does not say what it learns
    assert (others(1), others(3)) == (0, 0)
    hub.attach(cart(5), Role.SHELL, OTHER_MODEL, 0, task="light")
    assert (others(1), others(3)) == (1, 1)
    hub.lose(cart(5))
    assert (others(1), others(3)) == (0, 0)


def test_what_carts_have_named_is_not_kept_after_they_have_gone() -> None:
    shapes = ModelShapes()
    for task in ("light", "heavy", ""):
        shapes.add(task, MODEL)
        shapes.remove(task, MODEL)
    assert list(vars(shapes).values()) == [{}, {}]


def test_too_few_peers_are_counted_in_the_refusal() -> None:
    fleet = Fleet(size=3)
    fleet.hub.attach(cart(50), Role.SHELL, OTHER_MODEL, 1)  # another model
    fleet.hub.attach(cart(51), Role.SHELL, MODEL, 0)  # nothing to give yet
    refusal = fleet.ask(size=5, minimum=3)
    assert isinstance(refusal, ErrorMessage)
    assert (refusal.code, refusal.available, refusal.request) == (Code.NOT_ENOUGH_PEERS, 2, "ee" * 16)
    assert refusal.sentence == (
        "2 other carts of this model are here; at least 3 must be. "
        "Carts with a model of other shapes, or of another task, are here: compare the versions."
    )
    fleet.hub.leave(cart(50))
    refusal = fleet.ask(size=5, minimum=3)
    assert isinstance(refusal, ErrorMessage)
    assert refusal.sentence == "2 other carts of this model are here; at least 3 must be."
    assert isinstance(fleet.ask(size=5, minimum=2), PeerList)
    with pytest.raises(Violation, match="asks for 1 peers, at least 2"):
        fleet.ask(size=1, minimum=2)


def test_a_new_version_is_no_new_turn() -> None:
    fleet = Fleet(size=4)
    (picked,) = fleet.ask(size=1).peers
    fleet.hub.receive(picked, PeerType(Role.SHELL, 7))
    others = {peer for _ in range(len(fleet.shells) - 1) for peer in fleet.ask(size=1).peers}
    assert picked not in others
    assert fleet.hub.carts[picked].model_version == 7


def test_shells_are_preferred_and_kernels_fill_up() -> None:
    fleet = Fleet(size=3)
    for number in (4, 5, 6):
        fleet.hub.attach(cart(number), Role.KERNEL, MODEL, 1)
    for _ in range(20):
        assert set(fleet.ask(size=2).peers) == set(fleet.shells)
        peers = fleet.ask(size=4).peers
        assert set(fleet.shells) < set(peers)
        assert fleet.kernel not in peers
        assert len(set(peers)) == 4


def test_two_kernels_alone_find_each_other() -> None:
    hub, _ = new_hub()
    for number in (1, 2):
        hub.attach(cart(number), Role.KERNEL, MODEL, 1)
    for own, other in ((1, 2), (2, 1)):
        (answer,) = hub.receive(cart(own), Cluster("ee" * 16, 4, 1))
        assert isinstance(answer.message, PeerList)
        assert answer.message.peers == (cart(other),)


def test_a_cart_can_be_picked_only_with_a_model_and_under_its_role() -> None:
    fleet = Fleet(size=3)
    fleet.hub.receive(fleet.shells[0], PeerType(Role.SHELL, 0))
    assert fleet.ask().peers == (fleet.shells[1],)
    fleet.hub.receive(fleet.shells[0], PeerType(Role.KERNEL, 2))
    assert set(fleet.ask().peers) == set(fleet.shells)
    assert fleet.hub.carts[fleet.shells[0]].model_version == 2


def test_clusters_are_fair_over_many_asks() -> None:
    fleet = Fleet(size=7)
    picked = [peer for _ in range(12) for peer in fleet.ask(size=4).peers]
    assert {picked.count(shell) for shell in fleet.shells} == {8}


def test_only_a_kernel_asks_for_a_cluster() -> None:
    fleet = Fleet()
    violation = violation_of(lambda: fleet.ask(by=fleet.shells[0]))
    assert violation.code is Code.UNEXPECTED_MESSAGE
    assert "PEERTYPE" in violation.sentence


@pytest.mark.parametrize("message", [Attached("ab" * 16), Exit(), PeerList("ab" * 16, "ab" * 16, ())])
def test_a_message_that_no_cart_sends_here_is_a_violation(message: Message) -> None:
    fleet = Fleet()
    violation = violation_of(lambda: fleet.hub.receive(fleet.kernel, message))
    assert violation.code is Code.UNEXPECTED_MESSAGE
    assert message.KIND in violation.sentence


def test_a_request_under_another_name_is_a_violation() -> None:
    fleet = Fleet()
    request = model_request("1".zfill(32), fleet.cluster, fleet.shells[1], fleet.shells[0])
    assert violation_of(lambda: fleet.hub.receive(fleet.kernel, request)).code is Code.WRONG_SOURCE


@pytest.mark.parametrize("wrong", ["cluster", "peer", "none left"])
def test_a_request_outside_the_own_cluster_is_a_violation(wrong: str) -> None:
    fleet = Fleet()
    fleet.hub.attach(cart(20), Role.SHELL, MODEL, 1)
    cluster, peer = fleet.cluster, fleet.shells[0]
    if wrong == "cluster":
        cluster = "00" * 16
    elif wrong == "peer":
        peer = cart(20)
    else:
        fleet.hub.receive(fleet.kernel, PeerType(Role.SHELL, 1))
    request = model_request("1".zfill(32), cluster, fleet.kernel, peer)
    assert violation_of(lambda: fleet.hub.receive(fleet.kernel, request)).code is Code.NOT_IN_CLUSTER


def test_a_transfer_id_is_used_once() -> None:
    fleet = Fleet()
    fleet.request(1)
    violation = violation_of(lambda: fleet.request(1, fleet.shells[1]))
    assert violation.code is Code.UNEXPECTED_MESSAGE


def test_a_request_to_a_cart_that_has_left_is_refused_at_once() -> None:
    fleet = Fleet()
    fleet.hub.leave(fleet.shells[0])
    request = model_request("1".zfill(32), fleet.cluster, fleet.kernel, fleet.shells[0])
    (answer,) = fleet.hub.receive(fleet.kernel, request)
    assert answer.cart_id == fleet.kernel
    assert isinstance(answer.message, Cancel)
    assert answer.message.code is Code.PEER_LEFT
    assert fleet.hub.counters["requests_refused"] == 1


def test_too_many_transfers_of_one_cart_are_refused_on_either_side() -> None:
    fleet = Fleet()
    for number in (1, 2, 3):
        fleet.request(number, fleet.shells[0])
    request = model_request("9".zfill(32), fleet.cluster, fleet.kernel, fleet.shells[1])
    (answer,) = fleet.hub.receive(fleet.kernel, request)  # the asker is full
    assert isinstance(answer.message, Cancel)
    assert answer.message.code is Code.TOO_MANY_TRANSFERS
    other = fleet.shells[2]
    fleet.hub.receive(other, PeerType(Role.KERNEL, 1))
    cluster = fleet.ask(by=other).cluster
    (answer,) = fleet.hub.receive(other, model_request("9".zfill(32), cluster, other, fleet.shells[0]))
    assert answer.cart_id == other  # the asked one is full
    assert isinstance(answer.message, Cancel)
    assert "3 open transfers" in answer.message.sentence


def test_an_offer_must_name_the_two_carts() -> None:
    fleet = Fleet()
    transfer, shell = fleet.request(), fleet.shells[0]
    for source, destination in ((shell, fleet.shells[1]), (fleet.shells[1], fleet.kernel)):
        message = offer(transfer, source, destination, 100)
        assert violation_of(lambda m=message: fleet.hub.receive(shell, m)).code is Code.WRONG_SOURCE  # type: ignore[misc]
    by_receiver = offer(transfer, shell, fleet.kernel, 100)
    assert violation_of(lambda: fleet.hub.receive(fleet.kernel, by_receiver)).code is Code.WRONG_SOURCE


def test_offers_of_version_1_pass_and_are_counted() -> None:
    fleet = Fleet()
    shell, kernel = fleet.shells[0], fleet.kernel
    for seen, is_old in enumerate((False, True, True)):
        transfer = fleet.request(seen)
        old = old_offer(transfer, shell, kernel, 100)
        message = old if is_old else offer(transfer, shell, kernel, 100)
        assert fleet.hub.receive(shell, message) == [Delivery(kernel, message)]
        assert fleet.hub.counters["offers_of_version_1"] == seen


@pytest.mark.parametrize("chunk_bytes", [1, 1023, 4097])
def test_an_offer_of_tiny_or_huge_chunks_is_a_violation(chunk_bytes: int) -> None:
    fleet = Fleet()
    message = offer(fleet.request(), fleet.shells[0], fleet.kernel, 100_000, chunk_bytes)
    violation = violation_of(lambda: fleet.hub.receive(fleet.shells[0], message))
    assert violation.code is Code.BAD_OFFER
    assert f"{chunk_bytes} bytes" in violation.sentence


def test_each_message_has_its_time() -> None:
    fleet = Fleet()
    transfer = fleet.request()
    early = violation_of(lambda: fleet.hub.receive(fleet.kernel, Credit(transfer, 1)))
    assert early.code is Code.UNEXPECTED_MESSAGE
    assert "REQUESTED" in early.sentence
    message = offer(transfer, fleet.shells[0], fleet.kernel, 10_000)
    fleet.hub.receive(fleet.shells[0], message)
    assert violation_of(lambda: fleet.hub.receive(fleet.shells[0], message)).code is Code.UNEXPECTED_MESSAGE


def test_a_chunk_before_the_offer_is_a_violation() -> None:
    fleet = Fleet()
    transfer = fleet.request()
    assert violation_of(lambda: fleet.send(transfer)).code is Code.BAD_CHUNK


def test_only_the_receiver_grants_and_ends_with_done() -> None:
    fleet = Fleet()
    transfer, shell = fleet.open(), fleet.shells[0]
    assert violation_of(lambda: fleet.hub.receive(shell, Credit(transfer, 5000))).code is Code.WRONG_SOURCE
    assert violation_of(lambda: fleet.hub.receive(shell, Done(transfer))).code is Code.WRONG_SOURCE


@pytest.mark.parametrize(
    "message", [Credit("1".zfill(32), 1), Done("1".zfill(32)), Cancel("1".zfill(32), Code.ABANDONED)]
)
def test_a_third_cart_has_no_part_in_a_transfer(message: Message) -> None:
    fleet = Fleet()
    fleet.open()
    assert violation_of(lambda: fleet.hub.receive(fleet.shells[1], message)).code is Code.WRONG_SOURCE


def test_credit_beyond_the_window_is_a_violation_with_both_numbers() -> None:
    fleet = Fleet()
    transfer = fleet.open(total=100_000)
    fleet.send(transfer)
    fleet.hub.receive(fleet.kernel, Credit(transfer, CHUNK + WINDOW))
    violation = violation_of(lambda: fleet.hub.receive(fleet.kernel, Credit(transfer, CHUNK + WINDOW + 1)))
    assert violation.code is Code.OVERRUN
    assert str(WINDOW + 1) in violation.sentence
    assert str(WINDOW) in violation.sentence


def test_credit_is_never_taken_back() -> None:
    fleet = Fleet()
    transfer = fleet.open()
    fleet.hub.receive(fleet.kernel, Credit(transfer, 1))
    assert fleet.hub.transfers.open[transfer].granted_bytes == WINDOW


def test_a_chunk_beyond_the_credit_is_an_overrun() -> None:
    fleet = Fleet()
    transfer = fleet.open(granted=2 * CHUNK)
    fleet.send(transfer)
    fleet.send(transfer)
    violation = violation_of(lambda: fleet.send(transfer))
    assert violation.code is Code.OVERRUN
    assert str(3 * CHUNK) in violation.sentence
    assert str(2 * CHUNK) in violation.sentence


@pytest.mark.parametrize("payload_bytes", [1, CHUNK - 1, CHUNK + 1])
def test_a_chunk_of_another_size_than_offered_is_a_violation(payload_bytes: int) -> None:
    fleet = Fleet()
    transfer = fleet.open()
    violation = violation_of(lambda: fleet.send(transfer, payload_bytes))
    assert violation.code is Code.BAD_CHUNK
    assert str(payload_bytes) in violation.sentence


def test_nothing_follows_the_last_chunk() -> None:
    fleet = Fleet()
    transfer = fleet.open(total=CHUNK)
    fleet.send(transfer)
    assert violation_of(lambda: fleet.send(transfer)).code is Code.BAD_CHUNK


def test_a_chunk_names_its_true_source_and_destination() -> None:
    fleet = Fleet()
    transfer, (first, second, _) = fleet.open(), fleet.shells
    size = HEADER_BYTES + SEAL_BYTES + CHUNK
    for by, named, to in ((second, first, fleet.kernel), (second, second, fleet.kernel), (first, first, second)):
        act = lambda by=by, named=named, to=to: fleet.hub.route(by, header(transfer, named, to), size)  # noqa: E731
        assert violation_of(act).code is Code.WRONG_SOURCE  # type: ignore[arg-type]


def test_what_comes_after_the_end_is_counted_and_dropped() -> None:
    fleet = Fleet()
    transfer = fleet.open()
    fleet.hub.receive(fleet.kernel, Cancel(transfer, Code.ABANDONED))
    assert fleet.send(transfer) is None
    for message in (Credit(transfer, 5), Done(transfer), Cancel(transfer, Code.ABANDONED)):
        assert fleet.hub.receive(fleet.kernel, message) == []
    assert fleet.hub.receive(fleet.shells[0], offer(transfer, fleet.shells[0], fleet.kernel, 5)) == []
    assert fleet.hub.counters["chunks_dropped"] == 1
    assert fleet.hub.counters["messages_too_late"] == 4


@pytest.mark.parametrize("leaver", ["kernel", "shell"])
def test_a_cart_that_leaves_takes_its_transfers_with_it(leaver: str) -> None:
    fleet = Fleet()
    transfer, shell = fleet.open(), fleet.shells[0]
    left, stays = (fleet.kernel, shell) if leaver == "kernel" else (shell, fleet.kernel)
    (told,) = fleet.hub.leave(left)
    assert told.cart_id == stays
    assert told.message == Cancel(transfer, Code.PEER_LEFT, "The other cart has left the bridge.")
    assert not fleet.hub.transfers.open
    assert fleet.hub.leave(left) == []


def test_a_silent_transfer_ends_for_both_and_a_busy_one_does_not() -> None:
    fleet = Fleet()
    silent = fleet.request(7, fleet.shells[1])
    busy = fleet.open(total=100_000)
    for _ in range(3):
        fleet.clock.now += 4
        assert fleet.send(busy) == fleet.kernel
    told = fleet.hub.expire()
    assert {entry.cart_id for entry in told} == {fleet.kernel, fleet.shells[1]}
    assert {entry.message.transfer for entry in told} == {silent}  # type: ignore[attr-defined]
    assert set(fleet.hub.transfers.open) == {busy}


def test_a_flood_of_requests_does_not_reach_the_peer() -> None:
    fleet = Fleet(limits=replace(LIMITS, requests_at_once=4, requests_per_s=1.0))
    reached = 0
    for number in range(10):
        transfer = f"{number:032x}"
        (told,) = fleet.hub.receive(fleet.kernel, model_request(transfer, fleet.cluster, fleet.kernel, fleet.shells[0]))
        reached += told.cart_id == fleet.shells[0]
        if told.cart_id == fleet.kernel:
            assert told.message.code is Code.TOO_MANY_TRANSFERS
        fleet.hub.receive(fleet.kernel, Cancel(transfer, Code.ABANDONED))
    assert reached == 3
    fleet.clock.now += 2
    fleet.request(99)
    assert f"{99:032x}" in fleet.hub.transfers.open


def test_clusters_are_charged_as_requests_are() -> None:
    fleet = Fleet(limits=replace(LIMITS, requests_at_once=3, requests_per_s=1.0))
    assert [type(fleet.ask()) for _ in range(4)] == [PeerList, PeerList, ErrorMessage, ErrorMessage]
    assert fleet.ask().code is Code.TOO_MANY_TRANSFERS
    fleet.clock.now += 1
    assert isinstance(fleet.ask(), PeerList)


def test_a_large_cluster_is_charged_by_its_size() -> None:
    fleet = Fleet(limits=replace(LIMITS, requests_at_once=17, requests_per_s=1.0))
    answers = [fleet.hub.receive(fleet.kernel, Cluster("ee" * 16, 256, 1))[0].message for _ in range(2)]
    assert [type(answer) for answer in answers] == [PeerList, ErrorMessage]
    fleet.clock.now += 15
    assert isinstance(fleet.hub.receive(fleet.kernel, Cluster("ee" * 16, 240, 1))[0].message, PeerList)


@pytest.mark.parametrize("goes", ["leave", "lose"])
def test_coming_back_refills_nothing(goes: str) -> None:
    fleet = Fleet(limits=replace(LIMITS, requests_at_once=3, requests_per_s=1.0))
    for _ in range(2):
        fleet.ask()
    getattr(fleet.hub, goes)(fleet.kernel)
    fleet.hub.attach(fleet.kernel, Role.KERNEL, MODEL, 1)
    assert fleet.ask().code is Code.TOO_MANY_TRANSFERS


def test_credit_that_lets_no_chunk_pass_is_not_passed_on() -> None:
    fleet = Fleet()
    transfer = fleet.open(total=10 * CHUNK, granted=CHUNK)
    for crumb in (1, CHUNK, CHUNK + 1, 2 * CHUNK - 1):
        assert fleet.hub.receive(fleet.kernel, Credit(transfer, crumb)) == []
    assert len(fleet.hub.receive(fleet.kernel, Credit(transfer, 2 * CHUNK))) == 1


# Lost links.


def claim(fleet: Fleet, position_bytes: int = 0, up_to_bytes: int = 0, number: int = 9, **changes: Any) -> Resume:
    ends = (f"{number:032x}", fleet.shells[0], fleet.kernel, 10_000, CHUNK)
    return replace(Resume(*ends, position_bytes, up_to_bytes), **changes)


def test_a_receiver_that_comes_back_says_where_to_go_on() -> None:
    fleet = Fleet()
    transfer, shell = fleet.open(), fleet.shells[0]
    for _ in range(3):
        fleet.send(transfer)
    assert fleet.hub.lose(fleet.kernel) == [Delivery(shell, Paused(transfer))]
    assert fleet.send(transfer) is None  # under way when the link was lost
    assert fleet.hub.attach(fleet.kernel, Role.KERNEL, MODEL, 1) == [Delivery(fleet.kernel, Paused(transfer))]
    answer = resume(fleet.hub.transfers.open[transfer], CHUNK, WINDOW)
    assert fleet.hub.receive(fleet.kernel, answer) == [Delivery(shell, answer)]
    assert fleet.send(transfer, sequence=4) is None  # sent before the sender heard of it
    assert fleet.send(transfer, sequence=1) == fleet.kernel


def test_a_sender_that_comes_back_is_told_where_to_go_on() -> None:
    fleet = Fleet()
    transfer, shell = fleet.open(), fleet.shells[0]
    fleet.send(transfer)
    assert fleet.hub.lose(shell) == [Delivery(fleet.kernel, Paused(transfer))]
    assert fleet.hub.attach(shell, Role.SHELL, MODEL, 1) == [Delivery(shell, Paused(transfer))]
    assert fleet.hub.receive(fleet.kernel, Credit(transfer, CHUNK + WINDOW)) == []  # it is told with the place
    entry = fleet.hub.transfers.open[transfer]
    assert fleet.hub.receive(shell, resume(entry, 0, 0)) == [Delivery(shell, resume(entry, CHUNK, CHUNK + WINDOW))]


@pytest.mark.parametrize("first", ["sender", "receiver"])
def test_a_transfer_that_this_bridge_never_saw_goes_on_when_both_carts_name_it(first: str) -> None:
    fleet = Fleet()
    shell, kernel = fleet.shells[0], fleet.kernel
    by_sender, by_receiver = claim(fleet), claim(fleet, 3 * CHUNK, 3 * CHUNK + WINDOW)
    said = [(shell, by_sender), (kernel, by_receiver)]
    (one, message), (other, second) = said if first == "sender" else said[::-1]
    waits = Paused(message.transfer)
    assert fleet.hub.receive(one, message) == [Delivery(other, waits), Delivery(one, waits)]
    assert fleet.send(message.transfer, sequence=3) is None
    assert fleet.hub.receive(other, second) == [Delivery(shell, by_receiver)]
    assert fleet.send(message.transfer, sequence=3) == kernel


def test_a_visit_that_ends_ends_nothing_that_its_cart_goes_on_with_elsewhere() -> None:
    fleet = Fleet()
    shell = fleet.shells[0]
    transfer = fleet.open()
    fleet.hub.lose(shell)  # it is at home at another bridge by now, and comes here on a visit only
    assert fleet.hub.attach(shell, Role.KERNEL, MODEL, 0) == [Delivery(shell, Paused(transfer))]
    assert fleet.hub.leave(shell) == []
    assert list(fleet.hub.transfers.open) == [transfer]
    assert fleet.hub.leave(fleet.kernel) == []  # no cart is left
    assert not fleet.hub.transfers.open


def test_a_cart_that_has_forgotten_a_transfer_ends_it() -> None:
    fleet = Fleet()
    fleet.hub.receive(fleet.kernel, claim(fleet))
    cancel = Cancel(claim(fleet).transfer, Code.ABANDONED)
    assert fleet.hub.receive(fleet.shells[0], cancel) == [Delivery(fleet.kernel, cancel)]
    assert not fleet.hub.transfers.open


def test_what_others_claim_takes_no_place_of_a_cart() -> None:
    fleet = Fleet()
    shell = fleet.shells[0]
    for number in range(LIMITS.max_transfers_per_cart):
        fleet.hub.receive(fleet.kernel, claim(fleet, number=100 + number))
    assert fleet.hub.transfers.count_of(shell) == 0
    (refusal,) = fleet.hub.receive(fleet.kernel, claim(fleet, number=200))
    assert isinstance(refusal.message, Cancel)
    assert refusal.message.code is Code.TOO_MANY_TRANSFERS


def test_a_cart_is_named_only_so_often() -> None:
    fleet = Fleet(size=8)
    victim = fleet.shells[0]
    claims = [
        (by, claim(fleet, number=100 + number, receiver=by))
        for number, by in enumerate([fleet.kernel, *fleet.shells[1:]] * LIMITS.max_transfers_per_cart)
    ]
    for by, message in claims:
        fleet.hub.receive(by, message)
    assert len(fleet.hub.transfers.of_cart(victim)) == 4 * LIMITS.max_transfers_per_cart


def test_a_claim_of_chunks_that_do_not_fit_here_is_refused() -> None:
    fleet = Fleet()
    (refusal,) = fleet.hub.receive(fleet.kernel, claim(fleet, chunk_bytes=LIMITS.max_chunk_bytes + 1))
    assert isinstance(refusal.message, Cancel)
    assert refusal.message.code is Code.BAD_OFFER
    assert "4097" in refusal.message.sentence
    assert "4096" in refusal.message.sentence
    codes = [
        fleet.hub.receive(fleet.kernel, claim(fleet, chunk_bytes=LIMITS.max_chunk_bytes + 1))[0].message.code
        for _ in range(LIMITS.requests_at_once)
    ]
    assert codes[-1] is Code.TOO_MANY_TRANSFERS  # refusals cost of the same allowance as requests


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"receiver": cart(3)}, Code.WRONG_SOURCE),
        ({"sender": cart(1)}, Code.WRONG_SOURCE),
        ({"position_bytes": 1}, Code.BAD_OFFER),
        ({"position_bytes": 10_240}, Code.BAD_OFFER),
        ({"up_to_bytes": WINDOW + 1}, Code.OVERRUN),
    ],
)
def test_a_resume_that_cannot_be_is_a_violation(changes: dict[str, Any], code: Code) -> None:
    fleet = Fleet()
    fleet.hub.receive(fleet.shells[0], claim(fleet))
    assert violation_of(lambda: fleet.hub.receive(fleet.kernel, claim(fleet, **changes))).code is code


def test_a_hostile_receiver_gets_no_more_than_a_window() -> None:
    fleet = Fleet()
    transfer = fleet.open()
    for _ in range(4):
        fleet.send(transfer)
    fleet.hub.receive(fleet.kernel, Credit(transfer, 2 * WINDOW))
    entry = fleet.hub.transfers.open[transfer]
    fleet.hub.lose(fleet.kernel)
    fleet.hub.attach(fleet.kernel, Role.KERNEL, MODEL, 1)
    fleet.hub.receive(fleet.kernel, resume(entry, 0, WINDOW))
    assert (entry.passed_bytes, entry.granted_bytes) == (0, WINDOW)


def test_a_transfer_waits_for_a_lost_link_and_no_longer() -> None:
    fleet = Fleet()
    transfer = fleet.open()
    fleet.hub.lose(fleet.shells[0])
    fleet.clock.now += RESUME_S - 1
    assert fleet.hub.expire() == []
    fleet.clock.now += 2
    (told,) = fleet.hub.expire()
    assert (told.cart_id, told.message.transfer) == (fleet.kernel, transfer)  # type: ignore[attr-defined]
    assert isinstance(told.message, Cancel)
    assert told.message.code is Code.PEER_LEFT


def test_a_resume_without_a_lost_link_sends_nobody_back() -> None:
    fleet = Fleet()
    transfer = fleet.open()
    fleet.send(transfer)
    entry = fleet.hub.transfers.open[transfer]
    assert fleet.hub.receive(fleet.kernel, resume(entry, 0, WINDOW)) == []
    assert entry.passed_bytes == CHUNK


def test_two_words_for_one_transfer_end_it_for_both_and_nobody_has_to_go() -> None:
    fleet = Fleet()
    fleet.hub.receive(fleet.shells[0], claim(fleet))
    told = fleet.hub.receive(fleet.kernel, claim(fleet, total_bytes=9_999))
    assert {delivery.cart_id for delivery in told} == {fleet.shells[0], fleet.kernel}
    assert all(isinstance(entry.message, Cancel) and entry.message.code is Code.BAD_OFFER for entry in told)


def test_a_transfer_that_others_have_claimed_is_refused_and_no_offence() -> None:
    fleet = Fleet()
    fleet.hub.receive(fleet.shells[0], claim(fleet))
    (told,) = fleet.hub.receive(fleet.shells[1], claim(fleet, sender=fleet.shells[1]))
    assert isinstance(told.message, Cancel)
    assert told.message.code is Code.WRONG_SOURCE


def test_nothing_is_kept_of_a_transfer_whose_carts_are_both_away() -> None:
    fleet = Fleet()
    fleet.open()
    fleet.hub.lose(fleet.kernel)
    fleet.hub.lose(fleet.shells[0])
    assert not fleet.hub.transfers.open
    for number in range(100, 103):
        fleet.hub.attach(fleet.kernel, Role.KERNEL, MODEL, 1)
        fleet.hub.receive(fleet.kernel, claim(fleet, number=number))
        fleet.hub.lose(fleet.kernel)
    assert not fleet.hub.transfers.open
