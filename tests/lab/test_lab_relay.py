"""The in-memory relay: who meets whom, what is lost or late, and what a receiver refuses."""

import asyncio
import itertools
import time
from dataclasses import replace

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.messages import Cluster, Code, ErrorMessage, PeerList, PeerType, Role
from child_cart.config import CartSettings, exchange_limits
from child_cart.model.arrays import specs_of
from child_cart.model.codec import encode
from child_cart.network.handshake import Standing
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.bridge_requests import NotEnoughPeers
from child_cart.transfers.outgoing import Offerable
from lab.carts.memory import MemoryFiles
from lab.carts.relay import PICKING, MemoryRelay, RelayLink, RelayPeers
from lab.carts.virtual_loop import VirtualLoop
from lab.conditions.topology import topology_of
from parent_cart.bridge.hub import Hub
from parent_cart.bridge.rules import Limits

MODEL = [np.ones((2, 3), np.float32)]
OVERDUE = "The peer's offer did not come within 15 s."
PAYLOAD = encode(MODEL)
SHELL = Standing(Role.SHELL, "signature", 1)
OFFER = Offerable(PAYLOAD, blake3(PAYLOAD).hexdigest(), "float16", "signature", 1, 8)


class Taker:
    wanted = ("signature", ("float16", "float32"))
    limits = exchange_limits(CartSettings())


class PatientTaker(Taker):
    limits = replace(Taker.limits, answer_timeout_s=3600.0)


async def give(codecs):
    return OFFER


def relay_of(carts, topology="clusters:3", loss=0.0, delay_s=0.0, seed=1, give=give):
    files = MemoryFiles(specs_of(MODEL))
    relay = MemoryRelay(topology_of(topology, carts, seed), files, seed, loss, delay_s)
    for number in range(carts):
        relay.attach(f"cart-{number}", give)
        RelayLink(relay, f"cart-{number}").announce(SHELL)
    return relay, files


def run(main):
    loop = VirtualLoop(lambda: False)
    try:
        return loop.run_until_complete(main), loop.time()
    finally:
        loop.close()


async def outcomes(relay, pairs, taker=Taker):
    fetched = (relay.fetch(f"cart-{one}", f"cart-{other}", taker()) for one, other in pairs)
    return await asyncio.gather(*fetched, return_exceptions=True)


@given(st.integers(2, 30), st.integers(1, 6), st.data())
def test_peers_are_others_that_are_there_and_the_same_for_a_seed(carts, size, data):
    there = data.draw(st.sets(st.integers(0, carts - 1), min_size=1))
    picked = []
    for _ in range(2):
        relay, _ = relay_of(carts)
        relay.begin_round(3, there)
        picked.append([relay.peers_of(f"cart-{number}", size, 0) for number in sorted(there)])
    assert picked[0] == picked[1]
    for number, found in zip(sorted(there), picked[0], strict=True):
        assert len(found) == len(set(found)) == min(size, len(there) - 1)
        assert set(found) <= {f"cart-{other}" for other in there - {number}}


def test_a_ring_has_two_neighbours_less_those_that_are_away():
    relay, _ = relay_of(6, "ring")
    relay.begin_round(1, range(6))
    one, other = relay.peers_of("cart-0", 9, 2)
    assert one != other
    relay.begin_round(2, set(range(6)) - {int(other[-1])})
    assert relay.peers_of("cart-0", 9, 1) == [one]
    with pytest.raises(NotEnoughPeers, match="1 other carts of this model are here; at least 2 must be"):
        relay.peers_of("cart-0", 9, 2)


STANDINGS = st.tuples(st.just("stands"), st.integers(0, 7), st.sampled_from(Role), st.integers(0, 2))
QUESTIONS = st.tuples(st.just("asks"), st.integers(0, 7), st.integers(1, 9), st.integers(1, 3))


@given(st.sets(st.integers(0, 7), min_size=1), st.lists(STANDINGS | QUESTIONS, max_size=40), st.integers(0, 99))
def test_peers_are_drawn_as_a_bridge_draws_them(there, steps, seed):
    relay, _ = relay_of(8, seed=seed)
    relay.begin_round(1, there)
    numbers = itertools.count()
    drawn = np.random.default_rng([seed, PICKING, 1])
    limits = Limits(requests_at_once=1e9, requests_per_s=1e9)
    hub = Hub(
        limits, time.monotonic, time.time, lambda: f"{next(numbers):032x}", lambda *ends: int(drawn.integers(*ends))
    )
    for number in sorted(there):
        hub.attach(f"cart-{number}", SHELL.role, SHELL.model_signature, SHELL.model_version)
    for kind, number, *given_ in steps:
        cart_id = f"cart-{number}"
        if kind == "stands":
            role, version = given_
            relay.announce(cart_id, Standing(role, SHELL.model_signature, version))
            if number in there:
                hub.receive(cart_id, PeerType(role, version))
        elif number in there and hub.carts[cart_id].role is Role.KERNEL:
            size, minimum = given_[0], min(given_)
            (told,) = hub.receive(cart_id, Cluster("request", size, minimum))
            if isinstance(told.message, PeerList):
                assert relay.peers_of(cart_id, size, minimum) == list(told.message.peers)
                continue
            assert isinstance(told.message, ErrorMessage)
            with pytest.raises(NotEnoughPeers) as few:
                relay.peers_of(cart_id, size, minimum)
            assert few.value.available == told.message.available


def test_carts_that_serve_go_before_those_that_collect_and_carts_without_a_model_are_nobodys_peers():
    relay, _ = relay_of(9)
    relay.begin_round(1, range(9))
    for number in range(4):
        relay.announce(f"cart-{number}", Standing(Role.KERNEL, "signature", 1))
    relay.announce("cart-8", Standing(Role.SHELL, "signature", 0))
    assert set(relay.peers_of("cart-0", 4, 1)) == {f"cart-{number}" for number in range(4, 8)}
    assert set(relay.peers_of("cart-0", 9, 1)) == {f"cart-{number}" for number in range(1, 8)}


def test_too_few_peers_are_told():
    async def main():
        relay, _ = relay_of(4)
        peers = RelayPeers(relay, "cart-0", Taker())
        relay.begin_round(1, [0, 1, 2])
        found = await peers.find_cluster(3, 2)
        assert {peer.cart_id for peer in found.peers} == {"cart-1", "cart-2"}
        with pytest.raises(NotEnoughPeers, match="2 other carts of this model are here; at least 3"):
            await peers.find_cluster(3, 3)
        await peers.close()

    run(main())


def test_a_model_comes_as_it_was_given():
    async def main():
        relay, files = relay_of(2)
        relay.begin_round(1, [0, 1])
        received = await RelayPeers(relay, "cart-0", Taker()).fetch(
            (await RelayPeers(relay, "cart-0", Taker()).find_cluster(1, 1)).peers[0]
        )
        assert (received.offer.source, received.offer.samples, received.offer.codec) == ("cart-1", 8, "float16")
        assert received.offer.total_bytes == len(PAYLOAD)
        assert np.array_equal(files.payload(received.path, 1000)[0], MODEL[0])
        relay.end_round()
        with pytest.raises(KeyError):
            files.payload(received.path, 1000)

    run(main())


@pytest.mark.parametrize("loss", [0.1, 0.5, 0.9])
def test_the_wanted_fraction_of_models_is_lost(loss):
    relay, _ = relay_of(60, loss=loss)
    relay.begin_round(1, range(60))
    pairs = [(one, other) for one in range(60) for other in range(60) if one != other]
    found, took_s = run(outcomes(relay, pairs))
    assert took_s == Taker.limits.answer_timeout_s  # as long as a cart waits for an offer
    lost = [one for one in found if isinstance(one, TransferError)]
    assert {str(one) for one in lost} == {OVERDUE}
    assert {one.code for one in lost} == {Code.TIMED_OUT}
    assert len(lost) / len(pairs) == pytest.approx(loss, abs=0.03)
    again, _ = run(outcomes(relay, pairs))
    assert [type(one) for one in again] == [type(one) for one in found]


def test_delays_have_the_wanted_mean_and_take_no_time():
    relay, _ = relay_of(2, delay_s=30.0)

    async def main():
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        for number in range(500):
            relay.begin_round(number, [0, 1])
            await relay.fetch("cart-0", "cart-1", PatientTaker())
        return (loop.time() - started_s) / 500

    assert run(main())[0] == pytest.approx(60.0, rel=0.15)  # a request and its answer


def test_a_model_that_takes_longer_than_a_cart_waits_does_not_come():
    pairs = [(one, other) for one in range(30) for other in range(30) if one != other]
    took_s = {}
    for taker in (Taker, PatientTaker):
        relay, _ = relay_of(30, delay_s=6.0)
        relay.begin_round(1, range(30))
        found, took_s[taker] = run(outcomes(relay, pairs, taker))
        late = [one for one in found if isinstance(one, TransferError)]
        if taker is Taker:
            assert {(one.code, str(one)) for one in late} == {(Code.TIMED_OUT, OVERDUE)}
            # Of the sum of two exponential delays of 6 s, e**-2.5 * 3.5 is above 15 s.
            assert len(late) / len(pairs) == pytest.approx(0.287, abs=0.04)
        else:
            assert not late
    assert took_s[Taker] == Taker.limits.answer_timeout_s < took_s[PatientTaker]


def test_a_cart_without_a_model_gives_none():
    async def give_none(codecs):
        return None

    relay, _ = relay_of(2, give=give_none)
    relay.begin_round(1, [0, 1])
    (found,), _ = run(outcomes(relay, [(0, 1)]))
    assert isinstance(found, TransferError)
    assert found.code is Code.NO_MODEL


@pytest.mark.parametrize(
    "changes", [{"model_signature": "other"}, {"codec": "other"}, {"payload": bytes(Taker.limits.max_model_bytes + 1)}]
)
def test_an_offer_is_checked_as_in_a_cart(changes):
    async def give_other(codecs):
        return replace(OFFER, **changes)

    relay, _ = relay_of(2, give=give_other)
    relay.begin_round(1, [0, 1])
    (found,), _ = run(outcomes(relay, [(0, 1)]))
    assert isinstance(found, TransferError)
