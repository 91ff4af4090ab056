"""Carts among several bridges: they learn of others, move when one dies or stops, find peers and transfers there."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web
from support.bridges.in_process import Bridge, running_bridge, until
from support.bridges.shared_directory import TOKEN, SharedDirectory
from support.carts.node import SIGNATURE, Node, model_of, running

from cart_common.process.tasks import background
from cart_common.wire.identity import Identity
from cart_common.wire.messages import MOST_NEIGHBOURS, Code, Credit, Found, PeerList, Role, Whereabouts
from cart_common.wire.records import make_bridge_record
from child_cart.network.bridge_probe import BridgeProbe
from child_cart.network.bridge_selection import BridgeSelection, KnownBridge
from child_cart.network.link_state import LinkState
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.bridge_requests import NotEnoughPeers
from child_cart.transfers.incoming import Received
from child_cart.transfers.peer_discovery import MOST_VISITS
from parent_cart.bridge.rules import Limits


@dataclass
class Bridges:
    """Bridges that know each other, each of which can be killed."""

    folder: Path
    shared: SharedDirectory = field(default_factory=SharedDirectory)
    bridges: list[Bridge] = field(default_factory=list)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def add(self, **settings: object) -> Bridge:
        folder = self.folder / f"bridge{len(self.bridges)}"
        folder.mkdir()
        bridge = await self.stack.enter_async_context(
            running_bridge(folder=folder, shared_directory=self.shared, **settings)
        )
        self.bridges.append(bridge)
        return bridge

    async def kill(self, bridge: Bridge) -> None:
        """End a bridge as SIGKILL does: it says nothing, and its port is closed."""
        assert bridge.directory is not None
        bridge.directory.live = False
        for site in list(bridge.runner.sites):
            await site.stop()
        for connection in list(bridge.relay._sockets):
            connection.abort()


@pytest.fixture
async def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bridges]:
    monkeypatch.setattr("parent_cart.bridge.neighbourhood.TELL_EVERY_S", 0.05)
    monkeypatch.setattr("parent_cart.relay.relay.SWEEP_S", 0.02)
    monkeypatch.setattr("child_cart.transfers.exchange.SEEK_EVERY_S", 0.1)
    made = Bridges(tmp_path)
    async with made.stack:
        yield made


def urls(node: Node) -> set[str]:
    return {bridge.url for bridge in node.bridges.known()}


def is_at(node: Node, bridge: Bridge) -> bool:
    return node.link.status.state is LinkState.ATTACHED and node.id in bridge.hub.carts


async def bytes_of(received: Received) -> bytes:
    content = await asyncio.to_thread(received.path.read_bytes)
    received.path.unlink()
    return content


async def collect(node: Node, size: int = 8, minimum: int = 1) -> dict[str, bytes]:
    """Collect as a round does; return the models by the carts that gave them."""
    node.become(Role.KERNEL)
    try:
        cluster = await node.peer_discovery.find_cluster(size, minimum)
        models = await asyncio.gather(*map(node.peer_discovery.fetch, cluster.peers))
        return {peer.cart_id: await bytes_of(model) for peer, model in zip(cluster.peers, models, strict=True)}
    finally:
        await node.peer_discovery.close()
        node.become(Role.SHELL)


# Learning of bridges, and moving to them.


async def test_a_cart_learns_of_other_bridges_at_once_and_when_they_come(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    node = Node(first.url, fleet.folder)
    async with running(node):
        await until(lambda: urls(node) == {first.url, second.url})
        third = await fleet.add()
        await until(lambda: urls(node) == {first.url, second.url, third.url})
        assert {bridge.bridge_id for bridge in node.bridges.known()} == {
            bridge.relay.bridge_id.hex() for bridge in fleet.bridges
        }


async def test_a_long_list_is_cut_by_chance(fleet: Bridges) -> None:
    first, shared = await fleet.add(), fleet.shared
    assert first.directory is not None
    records = [fake_record(f"ws://192.0.2.{number}:9000") for number in range(MOST_NEIGHBOURS + 9)]
    first.directory.neighbours = lambda: records  # type: ignore[method-assign]
    one, other = Node(first.url, fleet.folder), Node(first.url, fleet.folder)
    async with running(one, other):
        await until(lambda: len(urls(one)) >= MOST_NEIGHBOURS + 1)
        await until(lambda: len(urls(other)) >= MOST_NEIGHBOURS + 1)
        assert urls(one) != urls(other)
    assert shared.views


async def test_carts_of_a_dead_bridge_are_attached_elsewhere_without_having_been_told_of_it(
    fleet: Bridges,
) -> None:
    first, second, third = [await fleet.add() for _ in range(3)]
    nodes = [Node(first.url, fleet.folder) for _ in range(8)]
    async with running(*nodes):
        for node in nodes:
            await until(lambda node=node: len(urls(node)) == 3)
        await fleet.kill(first)
        for node in nodes:
            await until(lambda node=node: is_at(node, second) or is_at(node, third))
        assert first.hub.carts == {}


async def test_a_cart_whose_bridge_comes_back_at_once_stays(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    node = Node(first.url, fleet.folder)
    async with running(node):
        await until(lambda: len(urls(node)) == 2)
        before = node.link.status.since
        next(iter(first.relay._connections.values())).abort()
        await until(lambda: node.link.status.since > before and node.link.status.state is LinkState.ATTACHED)
        assert is_at(node, first)
        assert not second.hub.carts


# Measuring.


async def test_other_bridges_are_measured(fleet: Bridges, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("child_cart.network.bridge_probe.FIRST_EVERY_S", 0.01)
    bridges = [await fleet.add() for _ in range(3)]
    node = Node(bridges[0].url, fleet.folder)
    measured: list[str] = []
    async with running(node), background(BridgeProbe(node.bridges, None, measured.append).run()):
        await until(lambda: len([bridge for bridge in node.bridges.known() if bridge.round_trip_s]) == 3)
        await until(lambda: set(measured) == {bridge.url for bridge in bridges})


async def test_a_cart_goes_to_another_bridge_when_it_wants_to(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    node = Node(first.url, fleet.folder)
    node.link.move(second.url)  # there is nothing to move yet
    async with running(node):
        assert is_at(node, first)
        node.link.move(second.url)
        await until(lambda: is_at(node, second))
        await until(lambda: not first.hub.carts)
        assert first.hub.counters["violations"] == 0
        node.link.move("ws://127.0.0.1:9")  # no bridge is there
        await until(lambda: is_at(node, second) and node.link.status.url == second.url)


@pytest.mark.parametrize(
    "answer",
    [
        *(b"", b"[]", b"nonsense", b'{"bridge_id": "cdcd"}', b"[" * 5000, b'{"bridge_id": 1e999}'),
        b'{"bridge_id": "cdcd", "carts": 1, "max_carts": 2}',
        b'{"carts": "many", "max_carts": 2}',
        b'{"carts": 1e308, "max_carts": 1e-308}',
        b'{"carts": NaN, "max_carts": {}}',
        b'{"bridge_id": "%s", "carts": NaN, "max_carts": 2}' % (b"ab" * 16),
        b'{"bridge_id": "%s", "carts": Infinity, "max_carts": Infinity}' % (b"ab" * 16),
        b'{"bridge_id": "%s", "carts": -1, "max_carts": 2}' % (b"ab" * 16),
        # An encoding that was not accepted. The same bytes at any time, as the test is named after them.
        gzip.compress(b'{"bridge_id": "%s", "carts": 1, "max_carts": 2}' % (b"ab" * 16), mtime=0),
    ],
)
async def test_what_does_not_answer_as_the_bridge_that_it_is_said_to_be_is_put_back(answer: bytes) -> None:
    async def health(_: web.Request) -> web.Response:
        packed = {"Content-Encoding": "gzip"} if answer.startswith(b"\x1f\x8b") else {}
        return web.Response(body=answer, headers=packed)

    application = web.Application()
    application.router.add_get("/healthz", health)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        bridge = KnownBridge(f"ws://127.0.0.1:{runner.addresses[0][1]}", "ab" * 16)
        assert await BridgeProbe(told(bridge.url), None, print)._measure(bridge) is None
    finally:
        await runner.cleanup()
    assert await BridgeProbe(told(bridge.url), None, print)._measure(bridge) is None  # no bridge is there any more


# Peers at other bridges.


async def test_a_cluster_reaches_over_bridges_and_each_model_crosses_one(fleet: Bridges) -> None:
    first, second, third = [await fleet.add() for _ in range(3)]
    kernel = Node(first.url, fleet.folder, model_of(b"kernel"))
    near = Node(first.url, fleet.folder, model_of(b"near"))
    far = Node(second.url, fleet.folder, model_of(b"far away"))
    farther = Node(third.url, fleet.folder, model_of(b"farther away"))
    async with running(kernel, near, far, farther):
        models = await collect(kernel, minimum=3)
        assert models == {near.id: b"near", far.id: b"far away", farther.id: b"farther away"}
        assert [bridge.hub.relayed_bytes for bridge in fleet.bridges] == [4, 8, 12]
        await until(lambda: [len(bridge.hub.carts) for bridge in fleet.bridges] == [2, 1, 1])
        assert kernel.spooled == []


async def test_bridges_are_not_visited_when_there_are_enough_peers_here(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    kernel, near = Node(first.url, fleet.folder), Node(first.url, fleet.folder, model_of(b"near"))
    far = Node(second.url, fleet.folder, model_of(b"far"))
    async with running(kernel, near, far):
        assert await collect(kernel, size=1) == {near.id: b"near"}
        assert second.hub.counters["attached"] == 1


async def test_nobody_is_sent_to_a_bridge_without_carts_of_the_model(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    kernel, other = Node(first.url, fleet.folder), Node(second.url, fleet.folder)
    other.standing = replace(other.standing, model_signature="cd" * 16)
    async with running(kernel, other):
        with pytest.raises(NotEnoughPeers, match="0 other carts of this model are here; at least 1 must be"):
            await collect(kernel)


async def test_a_visitor_is_picked_by_nobody_and_found_by_nobody(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    kernel, far = Node(first.url, fleet.folder, model_of(b"x")), Node(second.url, fleet.folder, model_of(b"far"))
    async with running(kernel, far):
        kernel.become(Role.KERNEL)
        await until(lambda: first.hub.carts[kernel.id].role is Role.KERNEL)
        cluster = await kernel.peer_discovery.find_cluster(4, 1)
        assert [peer.cart_id for peer in cluster.peers] == [far.id]
        assert kernel.id in second.hub.carts
        assert second.directory is not None
        assert second.directory.carts.get(kernel.id) is None
        far.become(Role.KERNEL)
        assert (await far.exchange.ask_cluster(4, 1)).peers == ()  # only the way to where it is at home
        await kernel.peer_discovery.close()
        await until(lambda: kernel.id not in second.hub.carts)


async def test_too_few_here_and_elsewhere_are_a_refusal_that_says_how_many(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    kernel, far = Node(first.url, fleet.folder), Node(second.url, fleet.folder, model_of(b"far"))
    async with running(kernel, far):
        with pytest.raises(
            NotEnoughPeers, match="1 other carts of this model were found, here and elsewhere; at least 2"
        ) as few:
            await collect(kernel, minimum=2)
        assert few.value.available == 1


async def test_a_bridge_that_died_a_moment_ago_costs_a_cluster_nothing(fleet: Bridges) -> None:
    first, second, third = [await fleet.add() for _ in range(3)]
    kernel, far = Node(first.url, fleet.folder), Node(third.url, fleet.folder, model_of(b"far"))
    lost = Node(second.url, fleet.folder, model_of(b"lost"))
    async with running(kernel, far, lost):
        assert second.directory is not None
        await fleet.kill(second)
        second.directory.live = True  # its record lives longer than it did
        second.directory.load = lambda: type(third.directory.load())(1, 9, {SIGNATURE: 1})  # type: ignore[union-attr]
        models = await collect(kernel)
        assert models[far.id] == b"far"


async def test_a_cluster_ends_with_the_link_on_which_it_was_picked(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    kernel, near = Node(first.url, fleet.folder), Node(first.url, fleet.folder, model_of(b"near"))
    async with running(kernel, near):
        kernel.become(Role.KERNEL)
        (peer,) = (await kernel.peer_discovery.find_cluster(8, 1)).peers
        kernel.link.move(second.url)  # as when its bridge sends it away while it still looks for peers elsewhere
        await until(lambda: is_at(kernel, second))
        with pytest.raises(TransferError) as lost:
            await kernel.peer_discovery.fetch(peer)
        assert lost.value.code is Code.LINK_LOST
        await kernel.exchange.home.requests.seek(near.id, 5.0)  # what was sent before has been read by now
        assert second.hub.counters["violations"] == 0
        assert is_at(kernel, second)


# Hostile lists.


def fake_record(
    url: str, token: bytes = TOKEN, shells: int = 5, now_s: float | None = None, identity: Identity | None = None
):  # type: ignore[no-untyped-def]
    return make_bridge_record(
        *(identity or Identity.generate(), token),
        url=url,
        carts=shells,
        max_carts=100,
        shells={SIGNATURE: shells},
        sequence=1,
        now_s=time.time() if now_s is None else now_s,
    )


async def answered_with(kernel: Node, records: list[str]) -> None:
    """Let the kernel's bridge name exactly these bridges."""
    arrive = kernel.exchange.home.on_message

    def change(message):  # type: ignore[no-untyped-def]
        if isinstance(message, PeerList) or getattr(message, "request", ""):
            message = PeerList(message.request, "ab" * 16, (), tuple(records))
        arrive(message)

    kernel.exchange.home.on_message = change  # type: ignore[method-assign]
    with pytest.raises(NotEnoughPeers, match="0 other carts"):
        await collect(kernel)


async def test_only_records_of_the_fleet_are_gone_to(fleet: Bridges) -> None:
    first, target = await fleet.add(), await fleet.add()
    assert target.directory is not None
    good = fake_record(target.url).encoded.decode()
    kernel = Node(first.url, fleet.folder)
    visited = target.relay._sockets
    async with running(kernel):
        forged = [
            "nonsense",
            good.replace(target.url, target.url.replace("127.0.0.1", "localhost")),
            fake_record(target.url, token=bytes(32)).encoded.decode(),
            fake_record(target.url, now_s=time.time() - 3600).encoded.decode(),
        ]
        await answered_with(kernel, forged)
        assert not visited
        assert not kernel.peer_discovery._resting  # none was even tried


async def test_a_bridge_that_is_not_the_one_of_the_record_is_left_before_anything_is_proved(
    fleet: Bridges,
) -> None:
    first, target = await fleet.add(), await fleet.add()
    kernel = Node(first.url, fleet.folder)
    async with running(kernel):
        record = fake_record(target.url)
        await answered_with(kernel, [record.encoded.decode()])
        assert target.hub.counters["attached"] == 0
        assert list(kernel.peer_discovery._resting) == [record.bridge_id]


async def test_the_number_of_visits_is_bounded(fleet: Bridges) -> None:
    bridges = [await fleet.add() for _ in range(MOST_VISITS + 3)]
    kernel = Node(bridges[0].url, fleet.folder)
    async with running(kernel):
        ports = [await kernel.peer_discovery._visit(bridge.relay.bridge_id.hex(), bridge.url) for bridge in bridges[1:]]
        assert [port is not None for port in ports] == [True] * MOST_VISITS + [False] * 2
        assert await kernel.peer_discovery._visit(bridges[0].relay.bridge_id.hex(), bridges[0].url) is None  # at home
        again = await kernel.peer_discovery._visit(bridges[1].relay.bridge_id.hex(), bridges[1].url)
        assert again is ports[0]
        await kernel.peer_discovery.close()


async def test_a_cart_that_wants_encrypted_links_visits_no_other(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    kernel = Node(first.url, fleet.folder)
    kernel.peer_discovery._bridges = BridgeSelection(["wss://home:1"], 1.0, 1.0, time.monotonic, time.time)
    async with running(kernel):
        assert await kernel.peer_discovery._visit(second.relay.bridge_id.hex(), second.url) is None


# Records of carts.


async def test_a_cart_is_found_while_it_is_attached(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    one, other = Node(first.url, fleet.folder), Node(second.url, fleet.folder)
    async with running(one):
        async with running(other):
            await until(lambda: second.directory and second.directory.carts.get(other.id))
            text = await one.exchange.home.requests.seek(other.id, 5.0)
            assert text is not None
            assert second.url in text
        await until(lambda: other.id not in second.hub.carts)
        assert await one.exchange.home.requests.seek(other.id, 5.0) is None


async def test_a_cart_that_leaves_takes_its_record_back_first(fleet: Bridges) -> None:
    first = await fleet.add()
    node = Node(first.url, fleet.folder)
    assert first.directory is not None
    taken: list[bytes] = []
    keep = first.directory.publish_cart

    def publish(cart_id: str, encoded: bytes) -> None:
        taken.append(encoded)
        keep(cart_id, encoded)

    first.directory.publish_cart = publish  # type: ignore[method-assign]
    async with running(node):
        await until(lambda: taken)
        await node.link.leave(5.0)
        await until(lambda: not first.hub.carts)
    assert [b'"gone":true' in encoded for encoded in taken] == [False, True]
    assert not first.hub.counters["violations"]


async def test_a_record_that_is_not_the_carts_own_is_counted_and_costs_nothing_else(fleet: Bridges) -> None:
    first = await fleet.add()
    one, other = Node(first.url, fleet.folder), Node(first.url, fleet.folder)
    async with running(one, other):
        await until(lambda: first.directory and first.directory.carts.get(other.id))
        assert first.directory is not None
        record = first.directory.carts.get(other.id)
        assert record is not None
        one.link.send(Whereabouts(record.encoded.decode()))
        one.link.send(Whereabouts("nonsense"))
        await until(lambda: first.hub.counters["record_refused_malformed"])
        assert first.hub.counters["record_refused_wrong_key"] == 1
        assert is_at(one, first)


async def test_only_where_a_cart_itself_says_that_it_is_is_gone_to(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    seeker, sought, stranger = (Node(url, fleet.folder) for url in (first.url, second.url, second.url))
    async with running(seeker, sought, stranger):
        assert second.directory is not None
        await until(lambda: second.directory and second.directory.carts.get(stranger.id))
        record = second.directory.carts.get(stranger.id)
        assert record is not None
        told = [record.encoded.decode(), "nonsense", fake_record(second.url).encoded.decode()]
        for text in told:
            arrive = seeker.exchange.home.on_message

            def lie(message, arrive=arrive, text=text):  # type: ignore[no-untyped-def]
                arrive(Found(message.request, text) if hasattr(message, "request") else message)

            seeker.exchange.home.on_message = lie  # type: ignore[method-assign]
            assert await seeker.peer_discovery._seek(sought.id) is None
            seeker.exchange.home.on_message = arrive  # type: ignore[method-assign]
        assert not seeker.peer_discovery._resting  # nothing was even tried
        channel = await seeker.peer_discovery._seek(sought.id)
        assert channel is not None
        assert channel.bridge_id == second.relay.bridge_id.hex()
        await seeker.peer_discovery.close()


async def test_who_asks_too_often_gets_an_answer_all_the_same(fleet: Bridges, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that the rate of messages does not hold back what the rate of requests is to refuse.
    monkeypatch.setattr("parent_cart.main.Limits", partial(Limits, messages_at_once=1000))
    first = await fleet.add()
    node = Node(first.url, fleet.folder)
    async with running(node):
        seeking = (node.exchange.home.requests.seek("ab" * 16, 5.0) for _ in range(300))
        assert set(await asyncio.gather(*seeking)) == {None}
        assert first.hub.counters["requests_refused"] > 0


async def test_who_says_more_than_is_read_at_once_is_answered_in_turn(fleet: Bridges) -> None:
    first = await fleet.add()
    node = Node(first.url, fleet.folder)
    async with running(node):
        said = first.hub.limits.messages_at_once + 20
        seeking = (node.exchange.home.requests.seek("ab" * 16, 20.0) for _ in range(said))
        assert set(await asyncio.gather(*seeking)) == {None}


# Transfers that outlive their bridge.


class HeldTransfer:
    """A giver that sends nothing more until it is let go: the transfer stands in the middle."""

    def __init__(self, giver: Node, taker: Node) -> None:
        self.taker = taker
        taker.wire.pass_message = lambda message: not (isinstance(message, Credit) and self._is_enough())
        self.go_on = False

    def _is_enough(self) -> bool:
        return not self.go_on and any(view.moved_bytes for view in self.taker.exchange.views())

    def release(self) -> None:
        self.go_on = True

    @property
    def stands(self) -> bool:
        return any(0 < view.moved_bytes < view.total_bytes for view in self.taker.exchange.views())


@asynccontextmanager
async def in_the_middle(giver: Node, taker: Node) -> AsyncIterator[asyncio.Task[dict[str, bytes]]]:
    """A collection that stands in the middle of a transfer when the block begins."""
    held = HeldTransfer(giver, taker)
    task = asyncio.create_task(collect(taker))
    await until(lambda: held.stands)
    held.release()
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait((task,))


PAYLOAD = os.urandom(3_000_000)


def told(url: str, *more: str) -> BridgeSelection:
    bridges = BridgeSelection([url, *more], 0.02, 0.1, time.monotonic, time.time)
    bridges.first = url
    return bridges


async def test_a_transfer_goes_on_where_both_carts_meet_again(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    giver, taker = Node(first.url, fleet.folder, model_of(PAYLOAD)), Node(first.url, fleet.folder)
    async with running(giver, taker):
        await until(lambda: len(urls(giver)) == len(urls(taker)) == 2)
        async with in_the_middle(giver, taker) as collecting:
            await fleet.kill(first)
            assert await collecting == {giver.id: PAYLOAD}
        assert 0 < second.hub.relayed_bytes < len(PAYLOAD)


async def test_a_transfer_goes_on_where_the_carts_part(fleet: Bridges) -> None:
    first, second, third = [await fleet.add() for _ in range(3)]
    giver = Node(first.url, fleet.folder, model_of(PAYLOAD), bridges=told(first.url, second.url))
    taker = Node(first.url, fleet.folder, bridges=told(first.url, third.url))
    for node in (giver, taker):  # each knows one other bridge only
        node.bridges.take_list = lambda named: None  # type: ignore[method-assign]
    async with running(giver, taker):
        async with in_the_middle(giver, taker) as collecting:
            await fleet.kill(first)
            assert await collecting == {giver.id: PAYLOAD}
        assert 0 < second.hub.relayed_bytes < len(PAYLOAD)
        assert third.hub.relayed_bytes == 0
        assert is_at(taker, third)
        await until(lambda: taker.id not in second.hub.carts)
        assert [view.state for view in giver.exchange.views()] == ["DONE"]
        assert giver.exchange.views()[0].transfer_id == taker.exchange.views()[0].transfer_id


async def test_a_transfer_over_a_visit_goes_on_when_the_visited_bridge_dies(fleet: Bridges) -> None:
    first, second, third = [await fleet.add() for _ in range(3)]
    giver = Node(second.url, fleet.folder, model_of(PAYLOAD), bridges=told(second.url, third.url))
    giver.bridges.take_list = lambda named: None  # type: ignore[method-assign]
    taker = Node(first.url, fleet.folder)
    async with running(giver, taker):
        async with in_the_middle(giver, taker) as collecting:
            await fleet.kill(second)
            assert await collecting == {giver.id: PAYLOAD}
        assert 0 < third.hub.relayed_bytes < len(PAYLOAD)


async def test_a_transfer_over_a_visit_goes_on_when_the_peer_comes_to_the_carts_own_bridge(
    fleet: Bridges,
) -> None:
    first, second = await fleet.add(), await fleet.add()
    giver = Node(second.url, fleet.folder, model_of(PAYLOAD), bridges=told(second.url, first.url))
    taker = Node(first.url, fleet.folder)
    async with running(giver, taker):
        async with in_the_middle(giver, taker) as collecting:
            await fleet.kill(second)
            assert await collecting == {giver.id: PAYLOAD}
        assert 0 < first.hub.relayed_bytes < len(PAYLOAD)


async def test_a_transfer_goes_on_when_the_cart_moves_to_the_bridge_that_it_visits(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    giver = Node(second.url, fleet.folder, model_of(PAYLOAD))
    taker = Node(first.url, fleet.folder, bridges=told(first.url, second.url))
    async with running(giver, taker):
        async with in_the_middle(giver, taker) as collecting:
            await fleet.kill(first)
            assert await collecting == {giver.id: PAYLOAD}
        assert second.hub.relayed_bytes >= len(PAYLOAD)
        await until(lambda: is_at(taker, second))


# Stopping.


async def test_a_bridge_that_stops_sends_idle_carts_away_and_lets_transfers_end(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    giver, taker = Node(first.url, fleet.folder, model_of(PAYLOAD)), Node(first.url, fleet.folder)
    idle = [Node(first.url, fleet.folder) for _ in range(3)]
    for node in idle:
        node.standing = replace(node.standing, model_version=0)  # no cart asks them
    async with running(giver, taker, *idle):
        held = HeldTransfer(giver, taker)
        collecting = asyncio.create_task(collect(taker, size=16))
        await until(lambda: held.stands)
        leaving = asyncio.create_task(first.relay.send_away(20.0, asyncio.Event()))
        for node in idle:
            await until(lambda node=node: is_at(node, second))
        await asyncio.sleep(0.1)
        assert is_at(giver, first)
        assert is_at(taker, first)
        held.release()
        taker.link.send(Credit(taker.exchange.views()[0].transfer_id, len(PAYLOAD) // 3 * 2))
        await leaving
        assert first.hub.carts == {}
        assert await collecting == {giver.id: PAYLOAD}
        await until(lambda: is_at(giver, second) and is_at(taker, second))


async def test_a_transfer_that_takes_too_long_goes_on_elsewhere(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    giver, taker = Node(first.url, fleet.folder, model_of(PAYLOAD)), Node(first.url, fleet.folder)
    async with running(giver, taker):
        await until(lambda: len(urls(giver)) == len(urls(taker)) == 2)
        async with in_the_middle(giver, taker) as collecting:
            await first.relay.send_away(0.05, asyncio.Event())
            await first.relay.close()
            assert await collecting == {giver.id: PAYLOAD}
        assert second.hub.relayed_bytes < len(PAYLOAD)


async def test_a_bridge_that_stops_takes_no_cart_and_begins_no_cluster(fleet: Bridges) -> None:
    first, second = await fleet.add(), await fleet.add()
    giver, taker = Node(first.url, fleet.folder, model_of(PAYLOAD)), Node(first.url, fleet.folder)
    late = Node(first.url, fleet.folder, bridges=told(first.url, second.url))
    async with running(giver, taker), in_the_middle(giver, taker) as collecting:
        taker.wire.pass_message = lambda message: not isinstance(message, Credit)
        leaving = asyncio.create_task(first.relay.send_away(20.0, asyncio.Event()))
        await until(lambda: first.hub.is_closing)
        with pytest.raises(NotEnoughPeers, match="stopping"):
            await taker.exchange.ask_cluster(1, 1)
        async with running(late):
            await until(lambda: is_at(late, second))
        hurried = asyncio.Event()
        hurried.set()
        await first.relay.send_away(20.0, hurried)
        leaving.cancel()
        collecting.cancel()


async def test_a_bridge_without_neighbours_keeps_its_carts_until_it_closes(fleet: Bridges) -> None:
    first = await fleet.add()
    node = Node(first.url, fleet.folder)
    async with running(node):
        await first.relay.send_away(20.0, asyncio.Event())
        assert is_at(node, first)
        await first.relay.close()
        await until(lambda: Code.BRIDGE_STOPPING in node.link.status.reason)


async def test_a_bridge_without_neighbours_lets_transfers_end(fleet: Bridges) -> None:
    first = await fleet.add()
    giver, taker = Node(first.url, fleet.folder, model_of(PAYLOAD)), Node(first.url, fleet.folder)
    async with running(giver, taker), in_the_middle(giver, taker) as collecting:
        leaving = asyncio.create_task(first.relay.send_away(20.0, asyncio.Event()))
        await until(lambda: first.hub.is_closing)
        assert not leaving.done()
        taker.link.send(taker.wire.sent[-1])  # the credit that was held back
        assert await collecting == {giver.id: PAYLOAD}
        await leaving
        assert is_at(giver, first)


async def test_a_bridge_without_neighbours_waits_no_longer_than_told(fleet: Bridges) -> None:
    first = await fleet.add()
    giver, taker = Node(first.url, fleet.folder, model_of(PAYLOAD)), Node(first.url, fleet.folder)
    async with running(giver, taker), in_the_middle(giver, taker) as collecting:
        taker.wire.pass_message = lambda message: not isinstance(message, Credit)
        await first.relay.send_away(0.05, asyncio.Event())
        assert first.hub.transfers.is_busy(giver.id)
        collecting.cancel()
