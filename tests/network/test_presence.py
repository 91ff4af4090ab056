"""When a cart says where it is, and what."""

from __future__ import annotations

import time

from cart_common.wire.fleet_key import OPEN, bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Role, Whereabouts
from cart_common.wire.records import CartRecord, check_record
from child_cart.network.presence import Presence
from child_cart.network.record_checks import checked_cart

BRIDGE, URL, SIGNATURE = "ab" * 16, "ws://bridge:9000", "cd" * 16
TOKEN = bridge_token(OPEN)


class Cart:
    """A cart and what it has told."""

    def __init__(self) -> None:
        self.identity = Identity.generate()
        self.presence = Presence(self.identity, TOKEN)

    def news(self, role: Role, version: int = 1, url: str = URL) -> Whereabouts | None:
        return self.presence.news(BRIDGE, url, role, SIGNATURE, version)

    def record_of(self, news: Whereabouts | None) -> CartRecord:
        assert news is not None
        record = checked_cart(news.record, self.identity.cart_id.hex(), TOKEN, time.time())
        assert record is not None
        return record


def test_a_record_says_where_the_cart_is_and_holds_for_its_fleet() -> None:
    cart = Cart()
    news = cart.news(Role.SHELL)
    record = cart.record_of(news)
    assert (record.bridge_id, record.bridge_url, record.role) == (BRIDGE, URL, Role.SHELL)
    assert news is not None
    assert checked_cart(news.record, cart.identity.cart_id.hex(), bytes(32), time.time()) is None
    assert checked_cart(news.record, "ee" * 16, TOKEN, time.time()) is None


def test_rounds_are_no_news_but_a_new_bridge_and_a_new_start_are() -> None:
    cart = Cart()
    first = cart.record_of(cart.news(Role.SHELL))
    for role in (Role.KERNEL, Role.SHELL) * 3:
        assert cart.news(role) is None
    cart.presence.renew()
    assert cart.record_of(cart.news(Role.SHELL)).sequence > first.sequence


def test_a_cart_that_attached_in_the_middle_of_a_round_corrects_its_role() -> None:
    cart = Cart()
    assert cart.record_of(cart.news(Role.KERNEL)).role is Role.KERNEL
    assert cart.news(Role.KERNEL) is None
    assert cart.record_of(cart.news(Role.SHELL)).role is Role.SHELL


def test_without_a_model_nobody_looks_for_a_cart() -> None:
    cart = Cart()
    assert cart.news(Role.SHELL, version=0) is None
    assert cart.news(Role.SHELL, version=1) is not None


def test_the_last_record_is_taken_back_once_and_a_later_one_wins() -> None:
    cart = Cart()
    assert cart.presence.farewell() is None
    first = cart.record_of(cart.news(Role.SHELL))
    farewell = cart.presence.farewell()
    assert farewell is not None
    gone = check_record(farewell.record.encode(), TOKEN, time.time())
    assert gone.gone
    assert gone.sequence > first.sequence
    assert cart.presence.farewell() is None
    assert cart.record_of(cart.news(Role.SHELL)).sequence > gone.sequence


def test_an_address_that_does_not_fit_into_a_record_is_told_to_nobody() -> None:
    cart = Cart()
    assert cart.news(Role.SHELL, url="nonsense") is None
    assert cart.news(Role.SHELL) is not None
