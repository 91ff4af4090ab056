"""A bridge without others: it finds its own carts, and says that it knows no other bridge."""

from __future__ import annotations

import json
import time

import aiohttp
import pytest
from support.bridges.in_process import Bridge

from cart_common.wire.fleet_key import OPEN, bridge_token
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Role
from cart_common.wire.records import (
    BridgeRecord,
    CartRecord,
    RecordError,
    Refusal,
    make_bridge_record,
    make_cart_record,
    make_withdrawal,
)
from parent_cart.directory.directory import LoneDirectory, OwnCarts
from parent_cart.pages.neighbours import DirectoryPage

TOKEN = bridge_token(OPEN)


def cart_record(cart: Identity, sequence: int = 1, life_s: int = 60) -> CartRecord:
    return make_cart_record(
        cart,
        TOKEN,
        bridge_id="cd" * 16,
        bridge_url="ws://bridge:9000",
        role=Role.SHELL,
        model_signature="ab" * 16,
        sequence=sequence,
        now_s=time.time(),
        life_s=life_s,
    )


async def test_it_finds_the_carts_that_are_here_until_they_leave() -> None:
    directory, cart = LoneDirectory(None), Identity.generate()
    cart_id, record = cart.cart_id.hex(), cart_record(cart)
    assert await directory.find_cart(cart_id) is None
    directory.publish_cart(cart_id, record.encoded)
    assert await directory.find_cart(cart_id) == record
    directory.withdraw_cart(cart_id)
    directory.withdraw_cart(cart_id)
    assert await directory.find_cart(cart_id) is None
    assert directory.neighbours() == []


def test_a_cart_publishes_itself_alone_and_the_latest_counts() -> None:
    carts, cart, other = OwnCarts(TOKEN), Identity.generate(), Identity.generate()
    cart_id = cart.cart_id.hex()
    older, newer = cart_record(cart, 1), cart_record(cart, 2)
    carts.take(cart_id, newer.encoded)
    for encoded, refusal in [(older.encoded, Refusal.OLDER), (cart_record(other).encoded, Refusal.WRONG_KEY)]:
        with pytest.raises(RecordError) as caught:
            carts.take(cart_id, encoded)
        assert caught.value.refusal is refusal
    assert carts.get(cart_id) == newer
    assert carts.take(cart_id, newer.encoded) == newer  # said again
    assert carts.take(cart_id, make_withdrawal(newer, cart, TOKEN, time.time()).encoded).gone
    assert carts.get(cart_id) is None
    assert len(carts) == 0


def test_a_record_that_has_expired_is_not_shown() -> None:
    now = [time.time()]
    carts, cart = OwnCarts(None, lambda: now[0]), Identity.generate()
    carts.take(cart.cart_id.hex(), cart_record(cart, life_s=5).encoded)
    now[0] += 6
    assert carts.get(cart.cart_id.hex()) is None


async def test_the_page_of_a_lone_bridge_is_an_empty_list(bridge: Bridge, web: aiohttp.ClientSession) -> None:
    async with web.get(f"{bridge.http}/bridge/neighbours") as answer:
        assert answer.status == 200
        assert await answer.json() == {"neighbours": []}


async def test_the_page_shows_the_least_loaded_bridge_first() -> None:
    class Known(LoneDirectory):
        def neighbours(self) -> list[BridgeRecord]:
            return [
                make_bridge_record(
                    Identity.generate(),
                    TOKEN,
                    url=f"ws://bridge{carts}:9000",
                    carts=carts,
                    max_carts=10,
                    shells={"ab" * 16: 4},
                    sequence=1,
                    now_s=1000.0,
                )
                for carts in (9, 2)
            ]

    answer = await DirectoryPage(Known(None), lambda: 1007.0).neighbours(None)  # type: ignore[arg-type]
    assert answer.text is not None
    first, second = json.loads(answer.text)["neighbours"]
    assert (first["url"], second["url"]) == ("ws://bridge2:9000", "ws://bridge9:9000")
    assert first["age_s"] == 7
    assert first["shells"] == {"ab" * 16: 4}
