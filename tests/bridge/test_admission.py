"""The door of a bridge: who holds the fleet's token comes in, and who fails too often is turned away."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from support.bridges import running_bridge
from support.nodes import Node, model_of, running
from support.raw_cart import greeted

from child_cart.network.fleet_key import admission_proof, as_text, bridge_token, new_key
from child_cart.network.settings import SettingError
from parent_cart.bridge.admission import FAILURES_AT_ONCE, FAILURES_PER_S, MOST_ADDRESSES, Admission


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_address_that_fails_too_often_waits() -> None:
    clock = Clock()
    door = Admission(b"t" * 32, clock)
    for _ in range(FAILURES_AT_ONCE):
        assert door.may_try("1.2.3.4")
        door.note_failure("1.2.3.4")
    assert not door.may_try("1.2.3.4")
    assert door.may_try("1.2.3.5")
    clock.now += 1.01 / FAILURES_PER_S
    assert door.may_try("1.2.3.4")


def test_what_is_kept_of_addresses_is_bounded() -> None:
    door = Admission(None, Clock())
    for number in range(MOST_ADDRESSES + 50):
        door.note_failure(str(number))
    assert len(door._failures_left) == MOST_ADDRESSES


@pytest.fixture
def token_file(tmp_path: Path) -> tuple[str, bytes]:
    key = new_key()
    path = tmp_path / "token"
    path.write_text(as_text(bridge_token(key)))
    return str(path), key


async def test_carts_of_the_fleet_come_in_and_learn_from_each_other(token_file, tmp_path: Path) -> None:
    path, key = token_file
    async with running_bridge(token_file=path) as bridge:
        giver = Node(bridge.url, tmp_path, model_of(b"weights" * 9000), fleet_key=key)
        taker = Node(bridge.url, tmp_path, fleet_key=key)
        async with running(giver, taker):
            assert await taker.fetch_from(giver) == b"weights" * 9000
            assert not any(b"weights" in frame for frame in giver.wire.frames)


async def test_others_are_refused_alike_and_then_turned_away(token_file) -> None:
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
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            async with greeted(bridge.url):
                pass
        assert caught.value.status == 429
        assert not bridge.hub.carts
        assert bridge.hub.counters["turned_away"] == 1


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
