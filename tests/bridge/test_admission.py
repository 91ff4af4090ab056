"""The door of a bridge: who holds the fleet's token comes in, and who fails too often waits for the answer."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from support.bridges.in_process import running_bridge, until
from support.carts.node import Node, model_of, running
from support.carts.raw_cart import greeted
from support.clock import Clock

from cart_common.process.settings import SettingError
from cart_common.process.token_bucket import ADDRESSES_KEPT
from cart_common.wire.fleet_key import Secret, admission_proof, as_text, bridge_token, new_key
from parent_cart.bridge.admission import FAILURES_AT_ONCE, FAILURES_PER_S, Admission


def test_an_address_that_fails_too_often_waits_for_its_answers() -> None:
    clock = Clock()
    door = Admission(b"t" * 32, clock)
    for _ in range(FAILURES_AT_ONCE):
        assert door.note_failure("1.2.3.4") == 0
    assert door.note_failure("1.2.3.4") == pytest.approx(1 / FAILURES_PER_S)
    assert door.note_failure("1.2.3.4") == pytest.approx(2 / FAILURES_PER_S)
    assert door.note_failure("1.2.3.5") == 0
    clock.now += 3.01 / FAILURES_PER_S
    assert door.note_failure("1.2.3.4") == 0


def test_what_is_kept_of_addresses_is_bounded() -> None:
    door = Admission(None, Clock())
    for number in range(ADDRESSES_KEPT + 50):
        door.note_failure(str(number))
    assert len(door._failures) == ADDRESSES_KEPT


def test_whoever_has_a_network_of_ipv6_is_one() -> None:
    door = Admission(b"t" * 32, Clock(), max_connections=2)
    for number in range(2):
        assert door.may_enter("2001:db8:0:7::9")
        door.enter(f"2001:db8:0:7::{number:x}")
    assert not door.may_enter("2001:db8:0:7:ffff::1")
    assert door.may_enter("2001:db8:0:8::1")
    assert not any(door.note_failure(f"2001:db8:0:7::{number:x}") for number in range(FAILURES_AT_ONCE))
    assert door.note_failure("2001:db8:0:7::ffff") > 0
    assert door.note_failure("2001:db8:0:8::1") == 0
    door.leave("2001:db8:0:7::5")
    door.leave("2001:db8:0:7::6")
    assert not door._connections


async def test_carts_behind_a_trusted_proxy_are_counted_one_by_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running_bridge(max_connections=1, trusted_proxies="127.0.0.1") as bridge:
        first, second = ({"X-Forwarded-For": f"10.9.9.9, 192.0.2.{number}"} for number in (7, 8))
        async with greeted(bridge.url, headers=first) as cart, greeted(bridge.url, headers=second):
            await cart.attach()
            assert f"cart {cart.id} attached from 192.0.2.7" in caplog.text
            with pytest.raises(aiohttp.WSServerHandshakeError):
                async with greeted(bridge.url, headers=first):
                    pass


async def test_a_cart_that_is_no_trusted_proxy_cannot_choose_its_address() -> None:
    async with running_bridge(max_connections=1, trusted_proxies="192.0.2.1") as bridge, greeted(bridge.url):
        with pytest.raises(aiohttp.WSServerHandshakeError):
            async with greeted(bridge.url, headers={"X-Forwarded-For": "192.0.2.8"}):
                pass


@pytest.fixture
def token_file(tmp_path: Path) -> tuple[str, bytes]:
    key = new_key()
    path = tmp_path / "token"
    path.write_text(as_text(bridge_token(key), Secret.BRIDGE_TOKEN))
    return str(path), key


async def test_carts_of_the_fleet_come_in_and_learn_from_each_other(token_file, tmp_path: Path) -> None:
    path, key = token_file
    async with running_bridge(token_file=path) as bridge:
        giver = Node(bridge.url, tmp_path, model_of(b"weights" * 9000), fleet_key=key)
        taker = Node(bridge.url, tmp_path, fleet_key=key)
        async with running(giver, taker):
            assert await taker.fetch_from(giver) == b"weights" * 9000
            assert not any(b"weights" in frame for frame in giver.wire.frames)


async def test_others_are_refused_alike_and_a_good_cart_behind_the_same_address_comes_in(token_file) -> None:
    path, key = token_file
    async with running_bridge(token_file=path) as bridge:
        answers = set()
        for number in range(FAILURES_AT_ONCE):
            async with greeted(bridge.url) as cart:
                signed = b"cart-attach-v1\0" + bytes.fromhex(cart.welcome["nonce"] + cart.welcome["bridge_id"])
                wrong = [
                    "00" * 32,
                    admission_proof(new_key(), signed + cart.public).hex(),
                    admission_proof(bridge_token(key), signed + bytes(32)).hex(),  # another cart's proof
                    admission_proof(key, signed + cart.public).hex(),  # the key itself is not the token
                ][number % 4]
                await cart.say("ATTACH", **cart.attach_body(proof=wrong))
                answers.add(str(await cart.hear_end()))
        assert len(answers) == 1
        assert "NOT_ADMITTED" in answers.pop()
        async with greeted(bridge.url) as bad, greeted(bridge.url) as good:
            await bad.say("ATTACH", **bad.attach_body())
            await until(lambda: bridge.hub.counters["answers_held_back"])
            # All of them are behind one address, as with a NAT or a proxy: that is no fault of this one.
            signed = b"cart-attach-v1\0" + bytes.fromhex(good.welcome["nonce"] + good.welcome["bridge_id"])
            await good.attach(proof=admission_proof(bridge_token(key), signed + good.public).hex())
            assert set(bridge.hub.carts) == {good.id}
            with pytest.raises(TimeoutError):
                await bad.hear(timeout_s=0.2)
            bad.abort()


async def test_an_answer_is_held_back_and_then_given_and_nothing_is_taken_meanwhile(token_file) -> None:
    path, key = token_file
    async with running_bridge(token_file=path, attach_timeout_s=0.3) as bridge:
        for _ in range(FAILURES_AT_ONCE):
            bridge.relay._admission.note_failure("127.0.0.1")
        async with greeted(bridge.url) as cart:
            await cart.say("ATTACH", **cart.attach_body())
            signed = b"cart-attach-v1\0" + bytes.fromhex(cart.welcome["nonce"] + cart.welcome["bridge_id"])
            proof = admission_proof(bridge_token(key), signed + cart.public).hex()
            await cart.say("ATTACH", **cart.attach_body(proof=proof))
            assert "NOT_ADMITTED" in str(await cart.hear_end())
        assert not bridge.hub.carts
        await until(lambda: not bridge.relay._sockets)


async def test_the_right_proof_comes_in(token_file) -> None:
    path, key = token_file
    async with running_bridge(token_file=path) as bridge, greeted(bridge.url) as cart:
        signed = b"cart-attach-v1\0" + bytes.fromhex(cart.welcome["nonce"] + cart.welcome["bridge_id"])
        await cart.attach(proof=admission_proof(bridge_token(key), signed + cart.public).hex())
        assert cart.id in bridge.hub.carts


@pytest.mark.parametrize("content", [None, "", "short", "x" * 43 + "!"])
async def test_a_wrong_token_file_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingError, match=r"--token-file \(BRIDGE_TOKEN_FILE\) is"):
        async with running_bridge(token_file=str(path)):
            pass


def test_connections_are_counted_by_address() -> None:
    door = Admission(None, lambda: 0.0, max_connections=2)
    for _ in range(2):
        assert door.may_enter("a")
        door.enter("a")
    assert not door.may_enter("a")
    assert door.may_enter("b")
    door.leave("a")
    assert door.may_enter("a")
    door.leave("a")
    assert not door._connections  # an address that has gone costs nothing
