"""Bridges find each other in whatever order they start, and lose sight only of dead ones."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from support.bridges.directories import SIGNATURE, Peer, bridge_record, cart_record, kill, working
from support.bridges.in_process import until

from cart_common.process.settings import SettingError
from cart_common.wire.fleet_key import bridge_token, new_key
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Role
from cart_common.wire.records import RecordError, Refusal, make_withdrawal
from parent_cart.directory.datagrams import Address, Rpc
from parent_cart.directory.storage import dht_key

pytestmark = pytest.mark.usefixtures("no_blocking")


async def found(peer: Peer, cart: Identity) -> bool:
    return await peer.find_cart(cart.cart_id.hex()) is not None


async def until_found(peer: Peer, cart: Identity, there: bool = True) -> None:
    async with asyncio.timeout(20):
        while await found(peer, cart) is not there:
            await asyncio.sleep(0.02)


async def test_a_lone_node_knows_nobody_and_finds_its_own_carts() -> None:
    peer, cart = Peer(), Identity.generate()
    async with working(peer):
        assert peer.neighbours() == []
        assert not await found(peer, cart)
        record = cart_record(cart)
        peer.publish_cart(cart.cart_id.hex(), record.encoded)
        await asyncio.sleep(0.1)
        assert await peer.find_cart(cart.cart_id.hex()) == record
        assert await peer.node.put(record) == 0


async def test_bridges_see_each_other_with_url_and_load() -> None:
    first = Peer()
    async with working(first):
        second, third = Peer([first.address]), Peer([first.address])
        async with working(second, third):
            await until(lambda: all(each.knows(*{first, second, third} - {each}) for each in (first, second, third)))
            (record,) = (each for each in second.neighbours() if each.bridge_id == third.id)
            assert (record.url, record.carts, record.max_carts) == (third.url, 3, 10)
            assert dict(record.shells) == {SIGNATURE: 2}
            third.load = third.load.__class__(7, 10, {})
            await until(lambda: any(each.carts == 7 for each in second.neighbours()))


async def test_bridges_that_start_at_the_same_moment_end_in_one_dht() -> None:
    ports = [Peer() for _ in range(6)]
    for peer in ports:
        await peer.begin()
    addresses = [peer.address for peer in ports]
    for peer in ports:
        await peer.stop()
    peers = [Peer(addresses, port=address.port) for address in addresses]  # each has itself in its list, too
    async with working(*peers):
        await until(lambda: all(len(peer.neighbours()) == 5 for peer in peers))


async def test_a_bootstrap_peer_of_a_name_that_no_host_can_have_costs_the_others_nothing() -> None:
    other = Peer()
    async with working(other):
        peer = Peer([Address("a..b", 9), other.address])
        async with working(peer):
            await until(lambda: peer.knows(other))
            assert peer.counters["names_not_resolved"] >= 1


async def test_a_bridge_that_starts_before_its_bootstrap_peers_finds_them_later() -> None:
    placeholder = Peer()
    await placeholder.begin()
    address = placeholder.address
    await placeholder.stop()
    early = Peer([Address("no-such-host.invalid", 9), address])
    async with working(early):
        await until(lambda: early.counters["names_not_resolved"] > 1)
        assert early.neighbours() == []
        late = Peer(port=address.port)
        async with working(late):
            await until(lambda: early.knows(late) and late.knows(early))


async def test_names_are_resolved() -> None:
    first = Peer()
    async with working(first):
        second = Peer([Address("localhost", first.address.port)])
        async with working(second):
            await until(lambda: first.knows(second) and second.knows(first))


@pytest.mark.skipif(not Path("/proc/net/if_inet6").exists(), reason="this system has no IPv6")
async def test_a_bridge_that_listens_on_ipv6_meets_others_on_either() -> None:
    both = Peer(host="::")
    async with working(both):
        port = both.node.rpc_socket.port
        old, new = Peer([Address("127.0.0.1", port)]), Peer([Address("::1", port)], host="::1")
        async with working(old, new):
            await until(lambda: both.knows(old, new) and old.knows(both) and new.knows(both))
            assert both.node.contacts.by_id[old.node.id].address == old.address
            assert both.node.contacts.by_id[new.node.id].address == Address("::1", new.node.rpc_socket.port)


async def test_two_halves_become_one_when_one_of_them_meets_the_other() -> None:
    left = [Peer() for _ in range(4)]
    async with working(left[0]):
        left[1:] = [Peer([left[0].address]) for _ in range(3)]
        right = [Peer() for _ in range(4)]
        async with working(*left[1:], right[0]):
            right[1:] = [Peer([right[0].address]) for _ in range(3)]
            async with working(*right[1:]):
                await until(lambda: all(len(peer.neighbours()) == 3 for peer in left + right))
                left[2]._bootstrap = [right[3].address]
                await until(lambda: all(len(peer.neighbours()) == 7 for peer in left + right))


async def test_a_bridge_that_is_killed_is_no_neighbour_any_more() -> None:
    first = Peer()
    async with working(first):
        second, third = Peer([first.address]), Peer([first.address])
        async with working(second, third):
            await until(lambda: second.knows(first, third) and third.knows(first, second))
            await kill(first)
            await until(lambda: not second.knows(first) and not third.knows(first))
            assert second.knows(third)


async def test_a_bridge_that_leaves_is_gone_at_once_and_its_old_records_do_not_come_back() -> None:
    first = Peer()
    async with working(first):
        second, third = Peer([first.address]), Peer([first.address])
        async with working(second, third):
            await until(lambda: second.knows(third) and first.knows(third) and third.knows(first, second))
            old = third._own_record()
            await third.stop()
            assert not second.knows(third)
            assert not first.knows(third)
            older = second.counters["records_older"]  # one may have been on its way
            replayed = await first.node.rpc_socket.ask(
                second.address, second.node.id, Rpc.STORE, first.node.id, third.node.id, old.encoded
            )
            assert replayed is False
            assert second.counters["records_older"] > older
            again = Peer([first.address], identity=third.identity)
            async with working(again):
                await until(lambda: second.knows(again))


async def test_after_a_restart_the_others_are_found_by_the_state_file_alone(tmp_path: Path) -> None:
    file = tmp_path / "neighbours.json"
    boot, other = Peer(), Peer()
    async with working(other):
        async with working(boot):
            other._bootstrap = [boot.address]
            first = Peer([boot.address], addresses_file=file)
            async with working(first):
                await until(lambda: first.knows(boot, other))
        assert len(json.loads(file.read_text())["neighbours"]) == 2
        await until(lambda: other.neighbours() == [])
        again = Peer([Address("no-such-host.invalid", 1)], identity=first.identity, addresses_file=file)
        async with working(again):
            await until(lambda: again.knows(other) and other.knows(again))
            assert again.node.id == first.node.id


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"neighbours": 7}',
        '{"neighbours": [["x", 1], [7, 7], ["127.0.0.1", 70000]]}',
        "[" * 5000,
        "x" * 70000,
    ],
    ids=lambda content: content[:12],
)
async def test_a_damaged_state_file_is_no_reason_not_to_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "neighbours.json").write_text(content)
    first = Peer()
    async with working(first):
        second = Peer([first.address], addresses_file=tmp_path / "neighbours.json")
        async with working(second):
            await until(lambda: second.knows(first))
    assert json.loads((tmp_path / "neighbours.json").read_text())["neighbours"] == [list(first_address(second))]


def first_address(peer: Peer) -> Address:
    (address,) = peer._known_addresses.addresses()
    return address


async def test_carts_are_found_from_every_bridge_until_they_leave() -> None:
    first, cart = Peer(), Identity.generate()
    async with working(first):
        second, third = Peer([first.address]), Peer([first.address])
        async with working(second, third):
            await until(lambda: third.knows(first, second))
            record = cart_record(cart, bridge_id=second.id, bridge_url=second.url)
            second.publish_cart(cart.cart_id.hex(), record.encoded)
            await until_found(third, cart)
            assert await third.find_cart(cart.cart_id.hex()) == record
            assert await first.find_cart(cart.cart_id.hex()) == record
            second.publish_cart(
                cart.cart_id.hex(), make_withdrawal(record, cart, bridge_token(bytes(32)), time.time()).encoded
            )
            for peer in (first, second, third):
                await until_found(peer, cart, there=False)


async def test_a_cart_that_has_moved_is_found_where_it_is() -> None:
    first, cart = Peer(), Identity.generate()
    async with working(first):
        second, third = Peer([first.address]), Peer([first.address])
        async with working(second, third):
            await until(lambda: third.knows(first, second) and second.knows(first, third))
            before = cart_record(cart, bridge_id=first.id, sequence=1)
            after = cart_record(cart, bridge_id=second.id, sequence=2)
            first.publish_cart(cart.cart_id.hex(), before.encoded)
            await until_found(third, cart)
            await kill(first)
            second.publish_cart(cart.cart_id.hex(), after.encoded)
            async with asyncio.timeout(20):
                while await third.find_cart(cart.cart_id.hex()) != after:
                    await asyncio.sleep(0.02)


async def test_a_change_of_role_is_not_spread_at_once_but_told_to_who_asks() -> None:
    first, cart = Peer(), Identity.generate()
    async with working(first):
        second = Peer([first.address])
        async with working(second):
            await until(lambda: first.knows(second) and second.knows(first))
            before, after = cart_record(cart, sequence=1), cart_record(cart, sequence=2, role=Role.KERNEL)
            first.publish_cart(cart.cart_id.hex(), before.encoded)
            await until(lambda: cart.cart_id.hex() in first._due and len(second._storage) == 1)
            first.publish_cart(cart.cart_id.hex(), after.encoded)
            await asyncio.sleep(0.2)
            assert second._storage.get(dht_key(before.name)) == before.encoded
            assert await second.find_cart(cart.cart_id.hex()) == after


async def test_carts_that_were_published_to_nobody_are_published_when_somebody_comes() -> None:
    first, cart = Peer(), Identity.generate()
    async with working(first):
        first.publish_cart(cart.cart_id.hex(), cart_record(cart).encoded)
        await asyncio.sleep(0.1)
        second = Peer([first.address])
        async with working(second):
            await until(lambda: len(second._storage) > 0)
            assert second._storage.get(dht_key(f"cart:{cart.cart_id.hex()}")) is not None


async def test_publishing_when_the_only_neighbour_has_just_died_harms_nothing() -> None:
    first, cart = Peer(), Identity.generate()
    async with working(first):
        second = Peer([first.address])
        async with working(second):
            await until(lambda: second.knows(first) and first.knows(second))
            await kill(first)
            assert await second.node.put(cart_record(cart)) == 0
            assert not await found(second, cart)
            second.publish_cart(cart.cart_id.hex(), cart_record(cart).encoded)
            third = Peer([second.address])
            async with working(third):
                await until_found(third, cart)


async def test_carts_are_published_again_and_withdrawn_ones_are_not() -> None:
    from dataclasses import replace

    from support.bridges.directories import SOON

    first = Peer(pace=replace(SOON, republish_s=0.2))
    async with working(first):
        second = Peer([first.address])
        async with working(second):
            await until(lambda: first.knows(second))
            cart, left = Identity.generate(), Identity.generate()
            for each in (cart, left):
                first.publish_cart(each.cart_id.hex(), cart_record(each).encoded)
            await until(lambda: len(second._storage) == 2)
            first.withdraw_cart(left.cart_id.hex())
            second._storage._kept.clear()
            await until(lambda: len(second._storage) == 1)
            await asyncio.sleep(0.5)
            assert list(second._storage._kept) == [dht_key(f"cart:{cart.cart_id.hex()}")]


async def test_a_bridge_without_the_fleets_token_is_not_met_and_learns_nothing() -> None:
    token, cart = bridge_token(new_key()), Identity.generate()
    first = Peer(token=token)
    async with working(first):
        member = Peer([first.address], token=token)
        strangers = [Peer([first.address]), Peer([first.address], token=bridge_token(new_key()))]
        async with working(member, *strangers):
            await until(lambda: member.knows(first) and first.knows(member))
            first.publish_cart(cart.cart_id.hex(), cart_record(cart, token=token).encoded)
            await until_found(member, cart)
            await until(lambda: first.counters["datagrams_foreign"] > 4)
            for stranger in strangers:
                assert stranger.neighbours() == []
                assert not first.knows(stranger)
                assert not await found(stranger, cart)
            with pytest.raises(RecordError) as caught:
                first.publish_cart(cart.cart_id.hex(), cart_record(cart, sequence=9).encoded)
            assert caught.value.refusal is Refusal.FOREIGN


async def test_a_port_that_is_taken_is_one_sentence() -> None:
    first = Peer()
    async with working(first):
        second = Peer(port=first.address.port)
        with pytest.raises(SettingError, match=r"cannot take datagrams on 127\.0\.0\.1 port \d+: .*--dht-port"):
            await second.begin()


async def test_it_stops_twice_and_before_it_has_started() -> None:
    peer = Peer()
    await peer.stop()
    await peer.begin()
    await peer.stop()
    await peer.stop()
    assert await peer.node.rpc_socket.ask(Address("127.0.0.1", 9), peer.node.id, Rpc.PING, peer.node.id) is None
    assert bridge_record(peer.identity).bridge_id == peer.id
