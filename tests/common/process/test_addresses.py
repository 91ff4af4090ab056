"""Addresses: how they are written, and whose word about a client counts."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.addresses import check_networks, client_behind, host_and_port, is_loopback, networks_in

PROXIES = networks_in("127.0.0.1, 10.0.0.0/8, fd00::/8")
STRANGERS = st.ip_addresses().filter(
    lambda address: not any(address in network for network in PROXIES) and not getattr(address, "ipv4_mapped", None)
)


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "203.0.113.9, 192.0.2.7", "192.0.2.7"),  # the first one is what the client says of itself
        ("127.0.0.1", "203.0.113.9, 192.0.2.7, 10.1.2.3", "192.0.2.7"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),  # a proxy's own request
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7, unknown", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7, ", "127.0.0.1"),
        ("127.0.0.1", "192.0.2.7:4711", "192.0.2.7"),
        ("fd00::1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("::ffff:127.0.0.1", "::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.8", "192.0.2.7", "192.0.2.8"),
        ("", "192.0.2.7", ""),
    ],
)
def test_the_address_that_the_last_trusted_proxy_was_reached_from_is_the_clients(
    peer: str, forwarded_for: str, client: str
) -> None:
    assert client_behind(PROXIES, peer, forwarded_for) == client


@given(st.text(), STRANGERS)
def test_a_client_cannot_choose_its_address(claimed: str, stranger: ipaddress.IPv4Address) -> None:
    assert client_behind(PROXIES, str(stranger), claimed) == str(stranger)
    assert client_behind(PROXIES, "127.0.0.1", f"{claimed}, {stranger}") == str(stranger)
    assert client_behind((), "127.0.0.1", claimed) == "127.0.0.1"


@given(st.lists(st.text() | st.ip_addresses().map(str)).map(",".join))
def test_every_header_gives_an_address(forwarded_for: str) -> None:
    ipaddress.ip_address(client_behind(PROXIES, "127.0.0.1", forwarded_for))


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.0/33", "127.0.0.1 10.0.0.1", "127.0.0.1:80"])
def test_what_is_no_network_is_refused(text: str) -> None:
    assert "addresses or networks" in (check_networks(text) or "")


@pytest.mark.parametrize("text", ["0.0.0.0/0", "127.0.0.1, ::/0"])
def test_not_everybody_can_be_a_trusted_proxy(text: str) -> None:
    assert "your proxies only" in (check_networks(text) or "")


@pytest.mark.parametrize("text", ["", "127.0.0.1", "10.1.2.3/8,fd00::/8", " ::1 ,"])
def test_networks_are_taken(text: str) -> None:
    assert check_networks(text) is None


@given(st.ip_addresses(), st.integers(1, 65535))
def test_an_address_with_a_port_can_be_read_again(address: ipaddress.IPv6Address, port: int) -> None:
    parts = urlsplit(f"ws://{host_and_port(str(address), port)}")
    assert (ipaddress.ip_address(parts.hostname or ""), parts.port) == (address, port)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "::ffff:127.0.0.1", "localhost", "LOCALHOST.", "till.localhost"]
)
def test_this_machine_is_told_by_address_and_by_name(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "128.0.0.1", "10.0.0.1", "notlocalhost", "localhost.example", ""])
def test_what_is_another_machine(host: str) -> None:
    assert not is_loopback(host)
