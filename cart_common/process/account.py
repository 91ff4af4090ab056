"""Whom a limit counts: the one place that says which keys or addresses are one account. Pure."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import Final

ADDRESSES_REMEMBERED: Final = 10_000
# The smallest network of IPv6 (RFC 4291): the owner of one of its 2^64 addresses owns them all.
IPV6_NETWORK_BITS: Final = 64


def account_of(*, cart_id: str = "", address: str = "") -> str:
    """Return the account by which limits count a party.

    Args:
        cart_id: of a cart that has proved its key: its account is its key.
        address: of a party that has proved nothing: its account is the network of its address.
    """
    return cart_id or network_of(address)


@lru_cache(ADDRESSES_REMEMBERED)
def network_of(address: str) -> str:
    """Return what the addresses of one owner have in common: the network of IPv6, the address itself of IPv4."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return address
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((int(ip), IPV6_NETWORK_BITS), strict=False))
