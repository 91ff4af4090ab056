"""Datagrams from anybody: what we write is read back, and nothing else raises anything but DatagramError."""

from __future__ import annotations

import hmac
import os
from typing import Any

import pytest
import umsgpack
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.fleet_key import bridge_token, new_key
from parent_cart.directory.datagrams import (
    MAX_DATAGRAM_BYTES,
    MOST_NODES,
    Address,
    Answer,
    DatagramError,
    Envelope,
    Fault,
    Form,
    NodeAt,
    Request,
    Rpc,
    address_of,
    answer_datagram,
    introduction_in,
    nodes_in,
    parse,
    request_datagram,
    value_in,
)

ID = os.urandom(20)
KEY = os.urandom(20)
MESSAGE = os.urandom(20)
TOKEN = bridge_token(new_key())

scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats()
texts = st.binary(max_size=40) | st.text(max_size=20)
keys = st.text(max_size=9) | st.integers(0, 9)
anything = st.recursive(
    scalars | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)
NAMES = ["ping", "stun", "__class__", "rpc_ping", "\x00", "find_node" * 9]


def fault_of(call: Any, *arguments: Any) -> Fault:
    with pytest.raises(DatagramError) as caught:
        call(*arguments)
    return caught.value.fault


@pytest.mark.parametrize(
    ("rpc", "arguments"),
    [
        (Rpc.PING, (ID,)),
        (Rpc.FIND_NODE, (ID, KEY)),
        (Rpc.FIND_VALUE, (ID, KEY)),
        (Rpc.STORE, (ID, KEY, b"a record")),
        (Rpc.INTRODUCE, (ID, b"n" * 16)),
    ],
)
def test_a_request_is_read_back_and_one_with_other_arguments_is_none(rpc: Rpc, arguments: tuple[bytes, ...]) -> None:
    assert parse(request_datagram(MESSAGE, rpc, *arguments)) == Request(MESSAGE, rpc, *arguments)
    for wrong in (arguments[:-1], (*arguments, b"more"), (arguments[0] + b"x", *arguments[1:]), (b"", *arguments[1:])):
        assert fault_of(parse, request_datagram(MESSAGE, rpc, *wrong)) is Fault.MALFORMED


@given(anything)
def test_an_answer_is_read_back_or_malformed(body: Any) -> None:
    try:
        datagram = answer_datagram(MESSAGE, body)
    except (umsgpack.PackException, OverflowError):
        return
    answer = parse(datagram)
    assert isinstance(answer, Answer)
    assert answer.message_id == MESSAGE


@given(st.binary(max_size=200) | anything.map(lambda body: b"\x00" + MESSAGE + umsgpack.packb(body)))
def test_arbitrary_bytes_are_a_message_or_malformed(datagram: bytes) -> None:
    try:
        message = parse(datagram)
    except DatagramError as error:
        assert error.fault is Fault.MALFORMED
    else:
        assert isinstance(message, Request | Answer)
        assert datagram[1:21] == message.message_id


@given(st.sampled_from(NAMES), st.lists(anything, max_size=4))
def test_a_request_with_strange_arguments_is_malformed(name: str, arguments: list[Any]) -> None:
    datagram = b"\x00" + MESSAGE + umsgpack.packb([name, arguments])
    if name != "ping" or len(arguments) != 1 or not isinstance(arguments[0], bytes) or len(arguments[0]) != 20:
        assert fault_of(parse, datagram) is Fault.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        b"\x91" * 1900,  # lists in lists in lists
        b"\x81\xa1x" * 600,
        b"\xdd\xff\xff\xff\xff",  # a list of four billion
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",  # bytes that are not there
        b"\xdb\xff\xff\xff\xffabc",
        b"\xc7\x0c\xff" + b"\xff" * 12,  # a date beyond all dates
        b"\xd4\xff\x00",
        b"\xc1",
        b"\x81\x90\x90",  # a list as a key
        b"\x81\x80\x01",
        b"\xa2\xff\xfe",
        b"",
    ],
)
def test_traps_of_msgpack_are_malformed(body: bytes) -> None:
    for kind in (b"\x00", b"\x01"):
        try:
            assert isinstance(parse(kind + MESSAGE + body), Answer)
        except DatagramError as error:
            assert error.fault is Fault.MALFORMED


@given(anything)
def test_what_answers_hold_is_checked(body: Any) -> None:
    for read in (value_in, introduction_in, lambda each: nodes_in(each, "10.0.0.1")):
        try:
            read(body)
        except DatagramError as error:
            assert error.fault is Fault.MALFORMED


def test_nodes_that_can_be_asked_are_taken_from_an_answer() -> None:
    body = [
        [ID, "10.0.0.7", 9001],
        [ID, "::ffff:10.0.0.8", 9001],
        [ID, "2001:DB8::1", 1],
        [ID, "127.0.0.1", 53],  # would have us send to ourselves
        [ID, "::1", 53],
        [ID, "10.0.0.7", 0],
        [ID, "10.0.0.7", 65536],
        [ID, "10.0.0.7", 2**63],
        [ID, "10.0.0.7", -1],
        [ID, "10.0.0.7", True],
        [ID, "224.0.0.1", 9001],
        [ID, "255.255.255.255", 9001],
        [ID, "0.0.0.0", 9001],
        [ID, "fe80::1%eth0", 9001],
        [ID, "bridge.example", 9001],
        [ID, "10.0.0.7\x00", 9001],
        [ID, "", 9001],
    ]
    taken = [Address("10.0.0.7", 9001), Address("10.0.0.8", 9001), Address("2001:db8::1", 1)]
    assert nodes_in(body, "10.0.0.1") == [NodeAt(ID, address) for address in taken]
    assert NodeAt(ID, Address("127.0.0.1", 53)) in nodes_in(body, "127.0.0.1")
    assert fault_of(nodes_in, [[ID[1:], "10.0.0.7", 1]], "10.0.0.1") is Fault.MALFORMED
    assert fault_of(nodes_in, [[ID, "10.0.0.7"]], "10.0.0.1") is Fault.MALFORMED
    assert fault_of(nodes_in, body[:1] * (MOST_NODES + 1), "10.0.0.1") is Fault.MALFORMED


def test_a_value_is_told_from_nodes() -> None:
    assert value_in({"value": b"record"}) == b"record"
    assert value_in([]) is None
    assert fault_of(value_in, {"value": "record"}) is Fault.MALFORMED
    assert fault_of(value_in, {}) is Fault.MALFORMED


recipients = st.none() | st.just(ID)


@given(st.binary(max_size=300), recipients)
def test_the_fleets_datagrams_are_told_from_all_others(datagram: bytes, recipient: bytes | None) -> None:
    token, open_ = bridge_token(new_key()), Envelope(None, ID)
    ours, another = Envelope(token, ID), Envelope(token, KEY)
    closed = ours.close(datagram, recipient)
    form = Form.TO_ANY if recipient is None else Form.TO_ONE
    assert ours.open(closed) == (form, datagram)
    assert open_.open(open_.close(datagram, recipient)) == (Form.PLAIN, datagram)
    if recipient is None:
        assert another.open(closed) == (form, datagram)
    else:
        assert fault_of(another.open, closed) is Fault.FOREIGN
    theirs = Envelope(bridge_token(new_key()), ID).close(datagram, recipient)
    assert fault_of(ours.open, theirs) is Fault.FOREIGN
    assert fault_of(ours.open, datagram) is Fault.FOREIGN


@given(st.binary(max_size=100), recipients, st.booleans(), st.integers(0), st.integers(1, 255))
def test_a_datagram_that_was_changed_anywhere_is_foreign(
    datagram: bytes, recipient: bytes | None, old: bool, place: int, change: int
) -> None:
    envelope = Envelope(bridge_token(new_key()), ID, takes_old=True)
    damaged = bytearray(envelope.close(datagram, recipient, old))
    damaged[place % len(damaged)] ^= change
    assert fault_of(envelope.open, bytes(damaged)) is Fault.FOREIGN


@given(st.binary(max_size=300) | st.binary(min_size=MAX_DATAGRAM_BYTES - 2, max_size=MAX_DATAGRAM_BYTES + 2))
def test_arbitrary_bytes_are_foreign_or_too_large(received: bytes) -> None:
    for envelope in (Envelope(TOKEN, ID), Envelope(TOKEN, ID, takes_old=True)):
        assert fault_of(envelope.open, received) in (Fault.FOREIGN, Fault.TOO_LARGE)


def test_datagrams_of_version_0_1_are_taken_only_where_that_is_set() -> None:
    old = hmac.digest(TOKEN, b"cart-datagram-v1\0" + b"\x00rest", "sha256")[:16] + b"\x00rest"
    assert Envelope(TOKEN, ID, takes_old=True).close(b"\x00rest", None, old=True) == old
    assert Envelope(TOKEN, ID, takes_old=True).open(old) == (Form.OLD, b"\x00rest")
    assert fault_of(Envelope(TOKEN, ID).open, old) is Fault.FOREIGN
    assert not Envelope(None, ID, takes_old=True).takes_old


def test_the_tag_is_the_one_of_the_protocol() -> None:
    for recipient, mark, named in ((ID, b"\x02", ID), (None, b"\x03", bytes(20))):
        tag = hmac.digest(TOKEN, b"cart-datagram-v2\0" + named + mark + b"rest", "sha256")[:16]
        assert Envelope(TOKEN, KEY).close(b"rest", recipient) == tag + mark + b"rest"


def test_a_datagram_is_bounded() -> None:
    envelope = Envelope(None, ID)
    assert fault_of(envelope.open, bytes(MAX_DATAGRAM_BYTES + 1)) is Fault.TOO_LARGE
    assert envelope.open(bytes(MAX_DATAGRAM_BYTES)) == (Form.PLAIN, bytes(MAX_DATAGRAM_BYTES))


@given(st.text(max_size=40), st.integers())
def test_an_address_is_an_address_or_none(host: str, port: int) -> None:
    found = address_of(host, port)
    assert found is None or address_of(*found) == found


def test_the_largest_datagrams_are_not_split_up_on_an_ethernet() -> None:
    largest_record = bytes(1360)
    nodes = [[ID, "2001:db8:1111:2222:3333:4444:5555:6666", 65535]] * MOST_NODES
    envelope = Envelope(bridge_token(new_key()), ID)
    for datagram in (
        request_datagram(MESSAGE, Rpc.STORE, ID, KEY, largest_record),
        answer_datagram(MESSAGE, {"value": largest_record}),
        answer_datagram(MESSAGE, nodes),
        answer_datagram(MESSAGE, [largest_record, bytes(64)]),
    ):
        assert len(envelope.close(datagram, ID)) <= 1472
