"""A page answers to addresses, localhost and known names, however a Host header writes them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.process.host_names import host_names, is_own_name, name_in


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9000", "[::1]:9000", "localhost:1", "LOCALHOST", "Bridge.Example:9000", "till"]
)
def test_own_names_are_answered(host: str) -> None:
    assert is_own_name(name_in(host), host_names("bridge.example", " till ,, other "))


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "bridge.example.evil.example", "evil.example#127.0.0.1", "[::1", "x@evil.example", ":80"],
)
def test_other_names_are_not(host: str) -> None:
    assert not is_own_name(name_in(host), host_names("bridge.example", ""))


@given(st.text())
def test_any_header_gives_an_answer(host: str) -> None:
    assert is_own_name(name_in(host), frozenset()) in (True, False)
