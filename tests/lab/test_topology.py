"""Each topology gives the peers that its paper says, never the cart itself, and the same in any order of asking."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.settings import SettingError
from lab.conditions.topology import topology_of


@given(st.sampled_from(["ring", "full", "exponential"]), st.integers(1, 70), st.integers(1, 40), st.integers(0, 5))
def test_peers_are_others_and_each_is_asked_as_often(spec, carts, number, seed):
    topology = topology_of(spec, carts, seed)
    peers = [topology.peers(cart, number) for cart in range(carts)]
    for cart, found in enumerate(peers):
        assert cart not in found
        assert len(set(found)) == len(found)
    wanted = {"ring": min(2, carts - 1), "full": carts - 1, "exponential": min(1, carts - 1)}[spec]
    assert {len(found) for found in peers} == {wanted}
    assert topology.size == max(1, wanted)
    asked = [peer for found in peers for peer in found]
    assert all(asked.count(cart) == wanted for cart in range(carts))
    again = topology_of(spec, carts, seed)
    assert peers[::-1] == [again.peers(cart, number) for cart in reversed(range(carts))]


def test_a_ring_is_one_circle_without_regard_to_numbers():
    topology = topology_of("ring", 20, seed=1)
    before, cart, walked = -1, 0, []
    while cart not in walked:
        walked.append(cart)
        before, cart = cart, next(peer for peer in topology.peers(cart, 1) if peer != before)
    assert len(walked) == 20
    assert any(abs(one - other) not in (1, 19) for one, other in pairwise(walked))
    assert all(cart in topology.peers(peer, 3) for peer in topology.peers(cart, 3))


@pytest.mark.parametrize("carts", [2, 7, 8, 9, 64])
def test_in_the_exponential_graph_all_have_heard_of_all_after_one_turn(carts):
    topology = topology_of("exponential", carts, seed=3)
    turn = (carts - 1).bit_length()  # rounds: ceil(log2(carts))
    heard = [{cart} for cart in range(carts)]
    for number in range(1, turn + 1):
        heard = [heard[cart].union(*(heard[peer] for peer in topology.peers(cart, number))) for cart in range(carts)]
    assert heard == [set(range(carts))] * carts
    assert topology.peers(0, 1) == topology.peers(0, 1 + turn)


def test_clusters_are_left_to_the_relay():
    topology = topology_of("clusters:6", 1000, seed=0)
    assert topology.size == 6
    assert topology.peers(0, 1) is None


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "star",
        "ring:2",
        "full:",
        "exponential:1",
        "clusters",
        "clusters:0",
        "clusters:257",
        "clusters:²",
        "clusters:" + 5000 * "9",
    ],
)
def test_a_wrong_topology_is_named(spec):
    with pytest.raises(SettingError) as raised:
        topology_of(spec, 8, 0)
    words = "clusters:N (N random carts, 1 to 256), ring, full or exponential"
    assert str(raised.value) == f"--topology is {spec!r}; it must be {words}."
