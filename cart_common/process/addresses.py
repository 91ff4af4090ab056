"""IP addresses: how they are written, and whose a request is that came through proxies. Has no I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final, TypeAlias

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

NETWORKS_WANTED: Final = "addresses or networks, as 127.0.0.1 or 10.0.0.0/8 or fd00::/8, with commas between them"


def bracketed(host: str) -> str:
    """Return a host as it stands before a port: an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def host_and_port(host: str, port: int) -> str:
    """Return host and port in one text that a browser or a setting takes."""
    return f"{bracketed(host)}:{port}"


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine by its address or by its name (RFC 6761, 6.3); no name is looked up."""
    address = _address(host)
    if address is not None:
        return address.is_loopback
    name = host.lower().rstrip(".")
    return name == "localhost" or name.endswith(".localhost")


def networks_in(text: str) -> tuple[Network, ...]:
    """Return the networks in a text, which commas separate; an address is a network of one.

    Raises:
        ValueError: for a part that is none.
    """
    parts = (part.strip() for part in text.split(","))
    return tuple(ipaddress.ip_network(part, strict=False) for part in parts if part)


def check_networks(text: str) -> str | None:
    """Return what a setting with networks must be, or None if it is right."""
    try:
        networks = networks_in(text)
    except ValueError:
        return NETWORKS_WANTED
    if any(network.prefixlen == 0 for network in networks):
        return "the addresses of your proxies only: with every address in it, each client could choose its own"
    return None


def client_behind(trusted: Iterable[Network], peer: str, forwarded_for: str) -> str:
    """Return the address of the client that sent a request.

    Each proxy adds the address that it was reached from at the end of ``X-Forwarded-For``. The header is read from
    there, as far as trusted proxies wrote it: what stands before that is the word of a client.

    Args:
        trusted: the networks of the proxies whose word counts.
        peer: the other end of the connection.
        forwarded_for: the header's value; several such headers are joined with commas.
    """
    networks = tuple(trusted)
    nearest = peer
    for hop in reversed(forwarded_for.split(",")) if networks else ():
        if not is_in(networks, nearest):
            break
        address = _address(hop)
        if address is None:
            break
        nearest = str(address)
    return nearest


def is_in(networks: Iterable[Network], text: str) -> bool:
    """Tell whether a text is an address of one of these networks."""
    address = _address(text)
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> Address | None:
    """Return the address in a text, which some proxies write with a port; IPv4 that came over IPv6 is IPv4."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
