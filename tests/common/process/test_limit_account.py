"""Limits count a cart by its key, and a stranger by the network of its address."""

from __future__ import annotations

import pytest

from cart_common.process.account import account_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("?", "?"),
        ("", ""),
    ],
)
def test_the_account_of_a_stranger_is_the_network_of_its_address(address: str, network: str) -> None:
    assert account_of(address=address) == network


def test_the_account_of_a_cart_is_its_key_wherever_it_comes_from() -> None:
    assert account_of(cart_id="ab" * 16) == account_of(cart_id="ab" * 16, address="192.0.2.7") == "ab" * 16
