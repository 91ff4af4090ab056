"""Limits count accounts: the carts of one account together get no more than one cart alone."""

from __future__ import annotations

import random

import pytest
from support.carts.unsigned_messages import model_request

from cart_common.process.token_bucket import TokenBucket
from cart_common.wire.messages import Cancel, Cluster, Code, ErrorMessage, PeerList, Role
from parent_cart.bridge.accounts import AccountBuckets, Accounts
from parent_cart.bridge.budget import KERNEL_SHARE, STALLED_S, Budget
from parent_cart.bridge.hub import MESSAGES_FOR_A_CHUNK, MESSAGES_SPARED, Hub
from parent_cart.bridge.rules import Limits

MODEL = "aa" * 16


def owner_of(cart_id: str) -> str:
    return cart_id[0]


@pytest.fixture(autouse=True)
def owners(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the first letter of a cart id say whose the cart is, as a certificate could."""
    monkeypatch.setattr("parent_cart.bridge.accounts.account_of", lambda *, cart_id: owner_of(cart_id))


def cart(owner: str, number: int) -> str:
    return f"{owner}{number:031x}"


def new_hub(limits: Limits, *carts: str) -> Hub:
    numbers = iter(range(1, 1000))
    hub = Hub(limits, lambda: 0.0, lambda: 0.0, lambda: f"c{next(numbers):031x}", random.Random(0).randrange)
    for cart_id in carts:
        hub.attach(cart_id, Role.KERNEL, MODEL, 1)
    return hub


def ask(hub: Hub, cart_id: str) -> PeerList | ErrorMessage:
    (told,) = hub.receive(cart_id, Cluster("ee" * 16, 8, 1))
    assert isinstance(told.message, PeerList | ErrorMessage)
    return told.message


def test_the_carts_of_one_owner_share_its_requests() -> None:
    hub = new_hub(Limits(requests_at_once=2), cart("a", 1), cart("a", 2), cart("a", 3), cart("b", 1))
    answers = [ask(hub, cart("a", number)) for number in (1, 2, 3)]
    assert [type(answer) for answer in answers] == [PeerList, PeerList, ErrorMessage]
    assert isinstance(ask(hub, cart("b", 1)), PeerList)


def test_the_carts_of_one_owner_share_its_transfers() -> None:
    mine, peers = [cart("a", number) for number in (1, 2, 3)], [cart(owner, 1) for owner in "bcd"]
    hub = new_hub(Limits(max_transfers_per_cart=2), *mine, *peers)
    codes = []
    for cart_id, peer in zip(mine, peers, strict=True):
        answer = ask(hub, cart_id)
        assert isinstance(answer, PeerList)
        (told,) = hub.receive(cart_id, model_request(peer[0] * 32, answer.cluster, cart_id, peer))
        codes.append(told.message.code if isinstance(told.message, Cancel) else None)
    assert codes == [None, None, Code.TOO_MANY_TRANSFERS]


def test_the_messages_of_one_owner_are_read_at_one_rate_whatever_its_carts() -> None:
    limits = Limits(messages_at_once=10, messages_per_s=5.0)
    hub = new_hub(limits, cart("a", 1), cart("a", 2), cart("b", 1))
    assert hub.take_messages(cart("a", 1), 10) == 0
    assert hub.take_messages(cart("a", 2), 10) == pytest.approx(2.0)
    assert hub.take_messages(cart("b", 1), 10) == 0


def test_while_all_together_send_too_much_each_owner_has_a_few_messages_at_once() -> None:
    limits = Limits(messages_of_all_per_s=100.0, messages_at_once=128, messages_per_s=5.0)
    hub = new_hub(limits, cart("a", 1), cart("b", 1), cart("c", 1))
    assert hub.take_messages(cart("a", 1), 100) == 0  # alone it has them all at once
    assert hub.take_messages(cart("b", 1), MESSAGES_SPARED) == 0
    assert hub.take_messages(cart("c", 1), 1) == 0
    assert hub.take_messages(cart("a", 1), 3) == pytest.approx(0.2)  # until the others have theirs
    assert hub.take_messages(cart("b", 1), 1) == pytest.approx(0.2)  # never longer than its own rate gives them back


def test_what_is_passed_on_to_a_cart_pays_for_its_messages() -> None:
    limits = Limits(messages_at_once=10, messages_per_s=5.0)
    hub = new_hub(limits, cart("a", 1), cart("b", 1))
    answer = ask(hub, cart("a", 1))
    assert isinstance(answer, PeerList)
    hub.take_messages(cart("a", 1), 10)
    hub.take_messages(cart("b", 1), 11)
    hub.receive(cart("a", 1), model_request("11" * 16, answer.cluster, cart("a", 1), cart("b", 1)))
    assert hub.take_messages(cart("b", 1), 0) == 0
    assert hub.take_messages(cart("a", 1), 1) == pytest.approx(0.2)
    assert isinstance(hub.receive(cart("a", 1), Cluster("ee" * 16, 8, 1))[0].message, PeerList)
    assert hub.take_messages(cart("a", 1), 0) == pytest.approx(0.2)  # what the bridge answers pays for nothing
    assert MESSAGES_FOR_A_CHUNK > 1


def test_the_receivers_of_one_owner_share_what_they_have_drained() -> None:
    budget = Budget(1000, lambda: 0.0, owner_of)
    budget.promise("others", 500)
    assert budget.room_for("a1", 10) == 10  # one chunk to begin with
    budget.promise("a1", 10)
    assert budget.room_for("a2", 10) == 0  # and none for another key
    budget.promise("a1", -10)
    kernel_bytes = 1000 // KERNEL_SHARE
    for receiver in ("a1", "a2"):  # each has a buffer of its own in the kernel
        budget.wait(receiver, kernel_bytes)
        budget.wait(receiver, -kernel_bytes)
        assert budget.room_for("a1", 10) == 10
    budget.wait("a1", 30)
    budget.wait("a1", -30)
    assert budget.room_for("a1", 10) == budget.room_for("a2", 10) == 40
    budget.promise("a2", 40)
    assert budget.room_for("a1", 10) == 0
    assert budget.room_for("b1", 10) == 10


def test_what_an_owner_holds_is_forgotten_with_its_last_receiver() -> None:
    now = 0.0
    budget = Budget(1000, lambda: now, owner_of)
    for receiver in ("a1", "a2"):
        budget.promise(receiver, 10)
    budget.promise("a1", -10)
    now += 10
    budget.forget_idle()
    assert (list(budget._receivers), list(budget._drains)) == (["a2"], ["a"])
    budget.promise("x", 800)
    now += STALLED_S + 0.1
    assert budget.stalled() == ["a2", "x"]  # links are broken one by one
    budget.promise("a2", -10)
    budget.promise("x", -800)
    budget.forget_idle()
    now += 10
    budget.forget_idle()
    assert not budget._receivers
    assert not budget._drains


def test_an_account_is_that_of_the_attach_and_ends_with_its_last_cart(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts()
    for number in (1, 2):
        accounts.enter(cart("a", number))
    monkeypatch.setattr("parent_cart.bridge.accounts.account_of", lambda *, cart_id: "another")
    assert accounts[cart("a", 1)] == "a"
    assert set(accounts.carts_beside(cart("a", 1))) == {cart("a", 1), cart("a", 2)}
    accounts.leave(cart("a", 1))
    assert set(accounts.carts_beside(cart("a", 2))) == {cart("a", 2)}
    assert set(accounts.carts_beside(cart("b", 1))) == {cart("b", 1)}
    accounts.leave(cart("a", 2))
    assert not accounts._carts
    assert not accounts._of_cart


def test_full_buckets_are_not_kept_and_the_others_are_bounded() -> None:
    buckets = AccountBuckets(lambda now: TokenBucket(1.0, 2.0, now), most=5)
    for number in range(50):
        buckets.of(str(number), 0.0).take(1, 0.0)
    assert len(buckets) == 5
    assert buckets.of("49", 0.0).left(0.0) == 1
    buckets.of("50", 10.0)
    assert len(buckets) == 1
