"""The datagrams between bridges: Kademlia's requests and answers in msgpack, as the library writes them.

Pure. Input may be hostile: anything but a valid request or answer raises ``DatagramError``, and no other error.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

import umsgpack

from cart_common.process.addresses import is_loopback
from cart_common.wire.fleet_key import datagram_tag, old_datagram_tag

# Ours have at most 1,472 bytes, which an Ethernet carries whole; the library allows 8 KiB.
MAX_DATAGRAM_BYTES: Final = 2048
NODE_ID_BYTES: Final = 20
NONCE_BYTES: Final = 16
TAG_BYTES: Final = 16
MESSAGE_ID_BYTES: Final = 20
# What a lookup takes of one answer: as many as there are in a bucket.
MOST_NODES: Final = 20
# The same addresses come again and again; parsing one takes longer than the rest of an answer.
REMEMBERED: Final = 8192

_REQUEST: Final = b"\x00"
_ANSWER: Final = b"\x01"


class Address(NamedTuple):
    """Where a node listens: an IP address in its standard notation, and a UDP port."""

    host: str
    port: int


class Rpc(StrEnum):
    """What one node asks of another. ``INTRODUCE`` is ours, the others are Kademlia's."""

    PING = "ping"
    STORE = "store"
    FIND_NODE = "find_node"
    FIND_VALUE = "find_value"
    INTRODUCE = "introduce"


class Fault(StrEnum):
    """Why a datagram was dropped: the words of the counters."""

    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    FOREIGN = "foreign"
    UNASKED = "unasked"
    TOO_MANY = "too_many"
    STALE = "stale"
    REPEATED = "repeated"


class DatagramError(ValueError):
    """A datagram is dropped."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Request:
    """A request of a node. ``key`` is empty in a ping, and the nonce in an introduction."""

    message_id: bytes
    rpc: Rpc
    sender_id: bytes
    key: bytes = b""
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer; ``body`` is anything that msgpack can encode."""

    message_id: bytes
    body: object


@dataclass(frozen=True, slots=True)
class NodeAt:
    """A node, as another one names it."""

    node_id: bytes
    address: Address


class Form(Enum):
    """How a datagram shows that it is of the fleet."""

    PLAIN = b"plain"
    """Not at all: there is no token. As the library writes it."""
    OLD = b"old"
    """By a tag that says nothing of time and recipient; of version 0.1."""
    TO_ONE = b"\x02"
    """By a tag for the node with one id."""
    TO_ANY = b"\x03"
    """By a tag for the node at an address, whose id is not known yet."""


_ANY: Final = bytes(NODE_ID_BYTES)


class Envelope:
    """Tags datagrams as those of a fleet; without a token they have no tag, like the library's own.

    Args:
        token: the bridge token; None for the open fleet.
        own_id: the node id of this bridge, for which datagrams must be tagged.
        takes_old: whether datagrams of version 0.1 are taken and sent, too.
    """

    def __init__(self, token: bytes | None, own_id: bytes, takes_old: bool = False) -> None:
        self._token = token
        self._own_id = own_id
        self.takes_old = takes_old and token is not None

    def close(self, datagram: bytes, recipient: bytes | None, old: bool = False) -> bytes:
        """Return the bytes to send.

        Args:
            datagram: a request or an answer.
            recipient: the node id that it is for; None if that is not known.
            old: whether to write it as version 0.1 does.
        """
        if self._token is None:
            return datagram
        if old:
            return old_datagram_tag(self._token, datagram)[:TAG_BYTES] + datagram
        form = Form.TO_ANY if recipient is None else Form.TO_ONE
        marked = form.value + datagram
        return self._tag(self._token, recipient or _ANY, marked) + marked

    def open(self, received: bytes) -> tuple[Form, bytes]:
        """Return the form of the bytes that came, and the datagram in them.

        Raises:
            DatagramError: if it is too large, not of this fleet, or not for this node.
        """
        if len(received) > MAX_DATAGRAM_BYTES:
            raise DatagramError(Fault.TOO_LARGE)
        if self._token is None:
            return Form.PLAIN, received
        tag, marked = received[:TAG_BYTES], received[TAG_BYTES:]
        mark = marked[:1]
        # One tag is computed, whatever comes: the mark says which.
        if mark in (Form.TO_ONE.value, Form.TO_ANY.value):
            form, datagram = Form(mark), marked[1:]
            due = self._tag(self._token, self._own_id if form is Form.TO_ONE else _ANY, marked)
        elif self.takes_old:
            form, datagram = Form.OLD, marked
            due = old_datagram_tag(self._token, marked)[:TAG_BYTES]
        else:
            raise DatagramError(Fault.FOREIGN)
        if not hmac.compare_digest(tag, due):
            raise DatagramError(Fault.FOREIGN)
        return form, datagram

    @staticmethod
    def _tag(token: bytes, recipient: bytes, marked: bytes) -> bytes:
        return datagram_tag(token, recipient, marked)[:TAG_BYTES]


def request_datagram(message_id: bytes, rpc: Rpc, *arguments: bytes) -> bytes:
    """Return the bytes of a request."""
    return _REQUEST + message_id + bytes(umsgpack.packb([rpc.value, list(arguments)]))


def answer_datagram(message_id: bytes, body: object) -> bytes:
    """Return the bytes of an answer."""
    return _ANSWER + message_id + bytes(umsgpack.packb(body))


def parse(datagram: bytes) -> Request | Answer:
    """Return what a datagram says.

    Raises:
        DatagramError: if it is neither a known request nor an answer.
    """
    kind, message_id = datagram[:1], datagram[1 : 1 + MESSAGE_ID_BYTES]
    if len(message_id) != MESSAGE_ID_BYTES or kind not in (_REQUEST, _ANSWER):
        raise DatagramError(Fault.MALFORMED)
    try:
        body = umsgpack.unpackb(datagram[1 + MESSAGE_ID_BYTES :])
    except Exception:  # nesting, dates, reserved codes and cut lengths raise a dozen kinds
        raise DatagramError(Fault.MALFORMED) from None
    return Answer(message_id, body) if kind == _ANSWER else _request(message_id, body)


_ARGUMENT_BYTES: Final[dict[str, tuple[int | None, ...]]] = {
    Rpc.PING: (NODE_ID_BYTES,),
    Rpc.STORE: (NODE_ID_BYTES, NODE_ID_BYTES, None),
    Rpc.FIND_NODE: (NODE_ID_BYTES, NODE_ID_BYTES),
    Rpc.FIND_VALUE: (NODE_ID_BYTES, NODE_ID_BYTES),
    Rpc.INTRODUCE: (NODE_ID_BYTES, NONCE_BYTES),
}


def _request(message_id: bytes, body: object) -> Request:
    match body:
        case [str(name), [*arguments]] if name in _ARGUMENT_BYTES:
            given = [value for value in arguments if isinstance(value, bytes)]
            sizes = _ARGUMENT_BYTES[name]
            if len(given) == len(arguments) == len(sizes) and all(map(_fits, given, sizes)):
                return Request(message_id, Rpc(name), *given)
    raise DatagramError(Fault.MALFORMED)


def _fits(value: bytes, size_bytes: int | None) -> bool:
    return size_bytes in (None, len(value))


# The bodies of answers.


def nodes_in(body: object, from_host: str) -> list[NodeAt]:
    """Return the nodes in an answer that can be asked.

    Args:
        body: the answer to FIND_NODE, or to FIND_VALUE of a node without the record.
        from_host: the host that answered. Loopback addresses count only if it is on this machine.

    Raises:
        DatagramError: if it is not a list of nodes.
    """
    if not isinstance(body, list) or len(body) > MOST_NODES:
        raise DatagramError(Fault.MALFORMED)
    local = _is_local(from_host)
    found = []
    for entry in body:
        match entry:
            case [bytes(node_id), str(host), int(port)] if len(node_id) == NODE_ID_BYTES:
                address = address_of(host, port)
                if address is not None and (local or not _is_local(address.host)):
                    found.append(NodeAt(node_id, address))
            case _:
                raise DatagramError(Fault.MALFORMED)
    return found


def value_in(body: object) -> bytes | None:
    """Return the record that an answer to FIND_VALUE holds; None if it names nodes instead.

    Raises:
        DatagramError: if it holds something else.
    """
    if not isinstance(body, dict):
        return None
    value = body.get("value")
    if not isinstance(value, bytes):
        raise DatagramError(Fault.MALFORMED)
    return value


def introduction_in(body: object) -> tuple[bytes, bytes]:
    """Return the record and the signature of an answer to INTRODUCE.

    Raises:
        DatagramError: if it holds something else.
    """
    match body:
        case [bytes(record), bytes(signature)]:
            return record, signature
    raise DatagramError(Fault.MALFORMED)


@lru_cache(REMEMBERED, typed=True)
def address_of(host: str, port: int) -> Address | None:
    """Return an address in its standard notation; None if no datagram can be sent to it."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            return None
        ip = ip.ipv4_mapped or ip
    is_no_host = ip.is_multicast or ip.is_unspecified or ip == ipaddress.IPv4Address("255.255.255.255")
    return None if is_no_host or isinstance(port, bool) or not 0 < port < 65536 else Address(str(ip), port)


@lru_cache(REMEMBERED)
def _is_local(host: str) -> bool:
    return is_loopback(host)
