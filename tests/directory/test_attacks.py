"""Nodes under attack over a real socket: nothing raises or is logged, no lie is believed, and lookups go on."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
import umsgpack
from kademlia.network import Server
from support.bridges.directories import SOON, OldPeer, Peer, bridge_record, cart_record, kill, working
from support.bridges.in_process import until

from cart_common.wire.fleet_key import OPEN, bridge_token, new_key
from cart_common.wire.identity import Identity
from parent_cart.directory.contacts import MOST_MEETINGS, introduction_statement
from parent_cart.directory.datagrams import Address, Envelope, Request, Rpc, answer_datagram, request_datagram
from parent_cart.directory.replay_window import new_message_id
from parent_cart.directory.rpc_socket import RequestRates
from parent_cart.directory.storage import dht_key

pytestmark = pytest.mark.usefixtures("no_blocking")


@pytest.fixture(autouse=True)
async def nothing_is_logged(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """Whatever strangers send is counted, not logged; and no task ends with an error that is never retrieved."""
    loop, troubles = asyncio.get_running_loop(), []
    loop.set_exception_handler(lambda _, context: troubles.append(context))
    with caplog.at_level(logging.INFO):
        yield
    assert not troubles
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    said = {record.name for record in caplog.records} - {"bridge.directory", "asyncio"}
    assert not said


class Stranger(asyncio.DatagramProtocol):
    """A socket that sends what it likes."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        self.heard.append(data)

    def say(self, datagram: bytes, to: Peer) -> None:
        self.transport.sendto(datagram, to.address)

    def answers(self) -> list[Any]:
        return [umsgpack.unpackb(data[21:]) for data in self.heard if data[:1] == b"\x01"]


@asynccontextmanager
async def stranger(host: str = "127.0.0.1") -> AsyncIterator[Stranger]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Stranger, local_addr=(host, 0))
    try:
        yield protocol
    finally:
        transport.close()


class Liar(Peer):
    """A bridge of the fleet that answers what it likes, where a test says so."""

    def __init__(self, bootstrap: list[Address], lie: Callable[[Request], Any], **other: Any) -> None:
        super().__init__(bootstrap, **other)
        honest = self.node._answer
        self.lie: Callable[[Request], Any] = lie
        self.node.rpc_socket._answer = lambda address, request: (
            honest(address, request) if (answer := self.lie(request)) is None else answer
        )


def mutant(chance: random.Random, ids: list[bytes]) -> bytes:
    """Return a datagram that is nearly one."""
    some_id = chance.choice([*ids, os.urandom(20), b"", os.urandom(19)])
    value = chance.choice([b"", os.urandom(100), cart_record(Identity.generate()).encoded, 7, None, [1], "x" * 1000])
    name = chance.choice(["ping", "store", "find_node", "find_value", "introduce", "stun", "__init__", 7, None])
    arguments = chance.choice([[], [some_id], [some_id, some_id], [some_id, some_id, value], [value] * 5, {"a": 1}, 9])
    body = umsgpack.packb(chance.choice([[name, arguments], [name], arguments, {}, None, 2**63]))
    datagram = bytearray(chance.choice([b"\x00", b"\x01", b"\x02"]) + os.urandom(20) + body)
    for _ in range(chance.choice([0, 0, 1, 3])):
        datagram[chance.randrange(len(datagram))] = chance.randrange(256)
    return bytes(datagram[: chance.choice([len(datagram), len(datagram), chance.randrange(len(datagram))])])


@pytest.mark.parametrize("token", [None, bridge_token(new_key())], ids=["open", "closed"])
async def test_lookups_go_on_under_garbage_and_forged_requests(token: bytes | None) -> None:
    chance, cart = random.Random(7), Identity.generate()
    first = Peer(token=token)
    async with working(first), stranger() as attacker:
        second, third = Peer([first.address], token=token), Peer([first.address], token=token)
        peers = (first, second, third)
        async with working(second, third):
            await until(lambda: all(len(peer.neighbours()) == 2 for peer in peers))
            record = cart_record(cart, token=token)
            second.publish_cart(cart.cart_id.hex(), record.encoded)
            ids = [peer.node.id for peer in peers]
            traps = [b"\x00" * 2048, b"\x00" * 9000, b"\x01" + b"\x91" * 1900, b"\x00" * 21 + b"\x81\x90\x90", b""]
            for _ in range(25):
                for _ in range(20):
                    datagram = mutant(chance, ids) if chance.random() < 0.9 else chance.choice(traps)
                    attacker.say(datagram, chance.choice(peers))
                assert await third.find_cart(cart.cart_id.hex()) == record
            dropped = sum(count for peer in peers for name, count in peer.counters.items() if "datagrams" in name)
            assert dropped > 250
            assert all(len(peer.neighbours()) == 2 for peer in peers)
            assert all(set(peer.node.contacts.by_id) < set(ids) for peer in peers)
            if token is not None:
                assert attacker.heard == []


async def test_nobody_becomes_a_contact_by_claiming_an_id() -> None:
    first = Peer()
    async with working(first), stranger() as attacker:
        second = Peer([first.address])
        async with working(second):
            await until(lambda: first.knows(second))
            for node_id in (second.node.id, os.urandom(20), first.node.id):
                attacker.say(request_datagram(os.urandom(20), Rpc.PING, node_id), first)
            await until(lambda: len(attacker.heard) == 4)  # three answers, and the question who it is
            (asked,) = (data for data in attacker.heard if data[:1] == b"\x00")
            name, (_, nonce) = umsgpack.unpackb(asked[21:])
            assert name == "introduce"
            # It has the record of another bridge, but not its key.
            replayed = [second._own_record().encoded, attacker_signature(nonce, first.node.id)]
            attacker.say(answer_datagram(asked[1:21], replayed), first)
            await until(lambda: first.counters["records_wrong_key"] == 1)
            assert list(first.node.contacts.by_id) == [second.node.id]
            assert first.node.contacts.by_id[second.node.id].address == second.address


def attacker_signature(nonce: bytes, asking_id: bytes) -> bytes:
    return Identity.generate().sign(introduction_statement(nonce, asking_id))


async def test_a_replayed_introduction_is_worth_nothing() -> None:
    first, victim = Peer(), Identity.generate()
    record = bridge_record(victim).encoded
    once = [record, victim.sign(introduction_statement(b"n" * 16, b"i" * 20))]
    async with working(first):
        liar = Liar([], lambda request: once if request.rpc is Rpc.INTRODUCE else None)
        async with working(liar):
            assert not await first.node.contacts.introduce(liar.address)
            assert first.counters["records_bad_signature"] == 1
            assert first.neighbours() == []


@pytest.mark.parametrize(
    "lie",
    [
        lambda request: 7,
        lambda request: [],
        lambda request: [b"record"],
        lambda request: [b"x" * 1300, b"y" * 64],
        lambda request: {"value": b""},
        lambda request: [cart_record(Identity.generate()).encoded, b"y" * 64],
        lambda request: [bridge_record(Identity.generate(), now_s=time.time() - 500).encoded, b"y" * 64],
        lambda request: [bridge_record(Identity.generate(), token=bridge_token(new_key())).encoded, b"y" * 64],
    ],
)
async def test_a_wrong_introduction_makes_no_contact(lie: Callable[[Request], Any]) -> None:
    first = Peer(token=bridge_token(OPEN))
    async with working(first):
        liar = Liar(
            [], lambda request: lie(request) if request.rpc is Rpc.INTRODUCE else None, token=bridge_token(OPEN)
        )
        async with working(liar):
            assert not await first.node.contacts.introduce(liar.address)
            assert first.neighbours() == []
            assert sum(first.counters.values()) == 1


CART = Identity.generate()
OLD, NEW = cart_record(CART, sequence=1), cart_record(CART, sequence=2)
EXPIRED = cart_record(CART, sequence=9, now_s=time.time() - 7000)
FORGED = NEW.encoded.replace(b"SHELL", b"KERNEL")
OTHER = cart_record(Identity.generate(), sequence=9)


def lies_about_nodes(request: Request) -> Any:
    if request.rpc in (Rpc.FIND_NODE, Rpc.FIND_VALUE):
        # Always nearer than the real nodes, at addresses without a host or of the system itself.
        near = [request.key[:-2] + os.urandom(2) for _ in range(20)]
        hosts = ["127.0.0.1", "256.1.1.1", "127.0.0.1\x00", "::1", "224.0.0.1", "127.0.0.1", "localhost"]
        return [[each, hosts[number % 7], [1, 70000, 2**40, 9, 0, -1][number % 6]] for number, each in enumerate(near)]
    return None


@pytest.mark.parametrize(
    "lie",
    [
        lambda request: {"value": OLD.encoded},
        lambda request: {"value": EXPIRED.encoded},
        lambda request: {"value": FORGED},
        lambda request: {"value": OTHER.encoded},
        lambda request: {"value": 7},
        lambda request: {"value": b"x" * 2000},
        lambda request: {},
        lambda request: 7,
        lambda request: [["", "", ""]] * 20,
        lambda request: [[os.urandom(20), "127.0.0.1", 9]] * 5000,
        lies_about_nodes,
    ],
    ids=["old", "expired", "forged", "misfiled", "number", "long", "empty", "seven", "texts", "many", "endless"],
)
async def test_what_a_bridge_of_the_fleet_lies_loses_against_the_truth(lie: Callable[[Request], Any]) -> None:
    patient = replace(SOON, wait_s=0.1)
    first = Peer(pace=patient)
    async with working(first):
        liar, second = Liar([first.address], lambda _: None, pace=patient), Peer([first.address], pace=patient)
        async with working(liar, second):
            await until(lambda: second.knows(first, liar) and first.knows(liar, second))
            second.publish_cart(CART.cart_id.hex(), NEW.encoded)
            await until(lambda: first._storage.get(dht_key(NEW.name)) == NEW.encoded)
            liar.lie = lambda request: lie(request) if request.rpc in (Rpc.FIND_VALUE, Rpc.FIND_NODE) else None
            assert await first.find_cart(CART.cart_id.hex()) == NEW
            assert (await second.node.lookup(NEW.name)).record == NEW
            assert (await first.node.lookup("cart:" + "0" * 32)).record is None


async def test_a_forged_record_is_kept_by_nobody() -> None:
    first = Peer()
    async with working(first), stranger() as attacker:
        for encoded in (FORGED, EXPIRED.encoded, OTHER.encoded, b"", b"x" * 1361):
            datagram = request_datagram(os.urandom(20), Rpc.STORE, os.urandom(20), dht_key(NEW.name), encoded)
            attacker.say(datagram, first)
        await until(lambda: len(attacker.answers()) == 5)
        assert attacker.answers() == [False] * 5
        assert len(first._storage) == 0
        assert {name: count for name, count in first.counters.items() if name.startswith("records")} == {
            "records_bad_signature": 1,
            "records_expired": 1,
            "records_wrong_key": 1,
            "records_malformed": 1,
            "records_too_large": 1,
        }


async def test_one_address_gets_so_many_answers_and_another_one_gets_its_own() -> None:
    first = Peer(rates=RequestRates(of_one_per_s=10.0, of_all_per_s=1000.0))
    async with working(first), stranger() as attacker, stranger("127.0.0.2") as other:
        for _ in range(200):
            attacker.say(request_datagram(os.urandom(20), Rpc.PING, first.node.id), first)
        await until(lambda: first.counters["datagrams_too_many"] > 100)
        other.say(request_datagram(os.urandom(20), Rpc.PING, first.node.id), first)
        await until(lambda: len(other.answers()) == 1)
        assert 20 <= len(attacker.answers()) < 60


async def test_invented_senders_make_a_node_ask_no_more_than_a_few() -> None:
    first = Peer(pace=replace(SOON, wait_s=5.0))
    async with working(first), stranger() as attacker:
        for _ in range(3 * MOST_MEETINGS):
            attacker.say(request_datagram(os.urandom(20), Rpc.PING, os.urandom(20)), first)
        await until(lambda: len(attacker.answers()) == 3 * MOST_MEETINGS)
        asked = [data for data in attacker.heard if data[:1] == b"\x00"]
        assert len(asked) == 1  # one address is asked once at a time, whatever ids it claims
        assert len(asked[0]) <= len(request_datagram(os.urandom(20), Rpc.FIND_VALUE, bytes(20), bytes(20)))


async def test_an_answer_that_nobody_has_asked_for_is_counted() -> None:
    first = Peer()
    async with working(first), stranger() as attacker:
        attacker.say(answer_datagram(os.urandom(20), True), first)
        await until(lambda: first.counters["datagrams_unasked"] == 1)


async def test_a_plain_node_of_the_library_finds_carts_and_is_not_relied_on(caplog: pytest.LogCaptureFixture) -> None:
    first = Peer()
    async with working(first):
        second = Peer([first.address])
        async with working(second):
            await until(lambda: first.knows(second) and second.knows(first))
            second.publish_cart(CART.cart_id.hex(), NEW.encoded)
            await until(lambda: first._storage.get(dht_key(NEW.name)) is not None)
            plain = Server()
            with caplog.at_level(logging.CRITICAL, "rpcudp"):
                await plain.listen(0, interface="127.0.0.1")
                assert await plain.bootstrap([first.address])
                assert await plain.get(NEW.name) == NEW.encoded
                await plain.set("garbage", b"garbage")
                plain.stop()
            assert first._storage.get(dht_key("garbage")) is second._storage.get(dht_key("garbage")) is None
            assert len(first.neighbours()) == len(second.neighbours()) == 1


async def test_a_node_that_is_asked_after_its_end_says_nothing() -> None:
    first = Peer()
    async with working(first):
        second = Peer([first.address])
        async with working(second):
            await until(lambda: first.knows(second) and second.knows(first))
            lookup = asyncio.create_task(first.find_cart("0" * 32))
            await asyncio.sleep(0)
            await kill(first)
            assert await lookup is None
            assert await second.find_cart("0" * 32) is None


async def test_a_network_of_ipv6_is_one_sender() -> None:
    peer = Peer()
    async with working(peer):
        for number in range(3):
            identity = Identity.generate()
            key = dht_key(f"cart:{identity.cart_id.hex()}")
            assert peer.node._take(key, cart_record(identity).encoded, f"2001:db8::{number:x}")
        assert peer.node._storage._by_sender == {"2001:db8::/64": 3}


class Tap:
    """Hears every datagram that reaches a bridge."""

    def __init__(self, peer: Peer) -> None:
        self.heard: list[bytes] = []
        take = peer.node.rpc_socket.datagram_received

        def hear(data: bytes, addr: tuple[Any, ...]) -> None:
            self.heard.append(data)
            take(data, addr)

        peer.node.rpc_socket.datagram_received = hear  # type: ignore[method-assign]


async def test_what_was_heard_and_is_sent_again_is_neither_answered_nor_acted_on() -> None:
    token = bridge_token(new_key())
    first = Peer(token=token)
    tap = Tap(first)
    async with working(first):
        second, third = Peer([first.address], token=token), Peer([first.address], token=token)
        async with working(second, third):
            peers = (first, second, third)
            await until(lambda: all(len(peer.neighbours()) == 2 for peer in peers))
            second.publish_cart(CART.cart_id.hex(), cart_record(CART, token=token).encoded)
            await until(lambda: len(first._storage) == 1)
        heard = list(tap.heard)
        assert {data[16] for data in heard} == {2, 3}
        async with stranger() as attacker:
            answered = first.counters["datagrams_repeated"]
            for datagram in heard:
                attacker.say(datagram, first)
            requests = [data for data in heard if data[17] == 0]
            assert len(requests) > 5
            await until(lambda: first.counters["datagrams_repeated"] - answered == len(requests))
            await until(lambda: first.counters["datagrams_unasked"] == len(heard) - len(requests))
            assert attacker.heard == []

            # Nor at another bridge, where the recipient was known.
            other = Peer(token=token)
            async with working(other):
                addressed = [data for data in heard if data[16] == 2]
                for datagram in addressed:
                    attacker.say(datagram, other)
                await until(lambda: other.counters["datagrams_foreign"] == len(addressed))
                assert attacker.heard == []
                assert other.node.contacts._meetings == {}
                assert len(other._storage) == 0


async def test_a_replay_takes_nothing_of_what_may_be_answered() -> None:
    token = bridge_token(new_key())
    first = Peer(token=token, rates=RequestRates(of_one_per_s=5.0, of_all_per_s=10.0))
    tap = Tap(first)
    async with working(first):
        second = Peer(token=token)
        async with working(second), stranger() as attacker:
            assert await second.node.join([first.address]) == 1
            for _ in range(200):
                attacker.say(tap.heard[0], first)
            await until(lambda: first.counters["datagrams_repeated"] == 200)
            assert first.counters["datagrams_too_many"] == 0
            assert attacker.heard == []


async def test_a_node_whose_id_is_not_known_is_asked_for_its_introduction_alone() -> None:
    token = bridge_token(new_key())
    first, envelope = Peer(token=token), Envelope(token, os.urandom(20))
    async with working(first), stranger() as member:
        for rpc, arguments in ((Rpc.PING, ()), (Rpc.FIND_NODE, (os.urandom(20),)), (Rpc.FIND_VALUE, (os.urandom(20),))):
            asked = request_datagram(new_message_id(time.time()), rpc, os.urandom(20), *arguments)
            member.say(envelope.close(asked, None), first)
        await until(lambda: first.counters["datagrams_malformed"] == 3)
        assert member.heard == []


@pytest.mark.parametrize("clock_s", [-130.0, 130.0])
async def test_a_request_from_another_time_is_not_answered(clock_s: float) -> None:
    token = bridge_token(new_key())
    first = Peer(token=token)
    envelope = Envelope(token, os.urandom(20))
    async with working(first), stranger() as member:
        asked = request_datagram(new_message_id(time.time() + clock_s), Rpc.PING, os.urandom(20))
        member.say(envelope.close(asked, first.node.id), first)
        await until(lambda: first.counters["datagrams_stale"] == 1)
        assert member.heard == []


async def test_bridges_of_version_0_1_are_met_where_a_setting_says_so() -> None:
    token = bridge_token(new_key())
    old = OldPeer(token=token)
    async with working(old):
        both, new = Peer([old.address], token=token, takes_old=True), Peer([old.address], token=token)
        async with working(both, new):
            await until(lambda: both.knows(old) and old.knows(both))
            record = cart_record(CART, token=token)
            old.publish_cart(CART.cart_id.hex(), record.encoded)
            assert await both.find_cart(CART.cart_id.hex()) == record
            later = Peer([both.address], token=token)
            async with working(later):
                await until(lambda: later.knows(both) and both.knows(later, old))
                assert old.knows(both)
                assert not old.knows(later)
            await until(lambda: old.counters["datagrams_foreign"] > 0)  # from the one that does not speak as it does
            assert not new.knows(old)
