"""Connections before they are set up: turns of networks, who gives up, and whose a connection is behind a proxy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from cart_common.process.addresses import networks_in
from child_cart.api.serving.accounts import ClientAccounts
from child_cart.api.serving.arrivals import Arrivals

PROXIES = networks_in("10.0.0.0/8, fd00::/8")


def request(remote: str, *forwarded_for: str) -> Any:
    headers = CIMultiDict([("X-Forwarded-For", value) for value in forwarded_for])
    return cast(Any, SimpleNamespace(remote=remote, headers=headers))


def test_networks_take_turns_and_connections_of_one_keep_their_order() -> None:
    arrivals: Arrivals[str] = Arrivals(100, 1.0, 100)
    for connection in ("a1", "a2", "a3", "b1", "c1", "c2"):
        assert arrivals.add(connection[0], connection) is None
    assert [arrivals.take(0.0) for _ in range(6)] == [*zip("abcaca", ("a1", "b1", "c1", "a2", "c2", "a3"), strict=True)]
    assert not arrivals


def test_after_a_rest_a_few_are_set_up_at_once_and_then_one_at_a_time() -> None:
    arrivals: Arrivals[int] = Arrivals(100, 10.0, 2)
    for connection in range(4):
        arrivals.add("a", connection)
    assert arrivals.wait_s(0.0) == 0
    arrivals.take(0.0)
    arrivals.take(0.0)
    assert arrivals.wait_s(0.0) == 0.1
    assert arrivals.wait_s(0.1) == 0


@given(st.lists(st.one_of(st.sampled_from("abcd"), st.none()), max_size=200), st.integers(1, 20))
def test_a_network_waits_for_one_of_each_other_and_only_the_largest_gives_up(
    steps: list[str | None], most: int
) -> None:
    arrivals: Arrivals[tuple[str, int]] = Arrivals(most, 1.0, 1)
    inside: dict[str, list[tuple[str, int]]] = {name: [] for name in "abcd"}
    passed_by: dict[str, set[str]] = {name: set() for name in "abcd"}
    for number, step in enumerate(steps):
        if step is not None:
            inside[step].append((step, number))
            given_up = arrivals.add(step, (step, number))
            if given_up is not None:
                assert len(inside[given_up[0]]) == max(map(len, inside.values()))
                assert inside[given_up[0]].pop(0) == given_up
        elif arrivals:
            network, connection = arrivals.take(0.0)
            assert inside[network].pop(0) == connection
            for other, waiting in inside.items():
                if other == network or not waiting:
                    passed_by[other].clear()
                else:
                    assert network not in passed_by[other], "no network has two turns while another waits"
                    passed_by[other].add(network)
        assert len(arrivals) == sum(map(len, inside.values())) <= most
    assert sorted(arrivals.take_all()) == sorted(connection for waiting in inside.values() for connection in waiting)
    assert not arrivals


def test_a_connection_of_a_proxy_counts_by_itself_and_its_requests_by_their_clients() -> None:
    accounts = ClientAccounts(PROXIES)
    assert len({accounts.of_connection("10.1.2.3") for _ in range(5)}) == 5
    assert accounts.of_request(request("10.1.2.3", "192.0.2.7")) == "192.0.2.7"
    assert accounts.of_request(request("10.1.2.3", "203.0.113.1", "2001:db8::1, 10.9.9.9")) == "2001:db8::/64"
    assert accounts.of_request(request("10.1.2.3")) == "10.1.2.3"


def test_a_client_that_is_no_proxy_counts_by_its_address_whatever_it_writes() -> None:
    accounts = ClientAccounts(PROXIES)
    assert {accounts.of_connection("192.0.2.1") for _ in range(5)} == {"192.0.2.1"}
    assert accounts.of_connection("2001:db8::1") == accounts.of_connection("2001:db8::2") == "2001:db8::/64"
    assert accounts.of_request(request("192.0.2.1", "10.1.2.3, 192.0.2.7")) == "192.0.2.1"
