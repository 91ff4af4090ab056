"""The control messages of protocol version 1: one frozen dataclass per kind, JSON text in and out.

Parsing accepts only what the dataclass declares, within its limits; unknown keys are ignored, so that a later version
may add some. ``docs/protocol.md`` says when each is sent.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from typing import Any, ClassVar, Final

PROTOCOL_VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_SENTENCE_CHARS: Final = 500
MAX_CLUSTER_SIZE: Final = 256
MAX_COUNT: Final = 2**53 - 1  # what every JSON reader holds exactly

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


class MessageError(ValueError):
    """A control message is not valid."""


class Role(StrEnum):
    """What an attached cart does: ``SHELL`` serves, ``KERNEL`` collects (and serves)."""

    SHELL = "SHELL"
    KERNEL = "KERNEL"


class Code(StrEnum):
    """Why something was refused, cut or ended: the same words on the wire, in logs, in the store and on the page."""

    BAD_MESSAGE = "BAD_MESSAGE"
    UNEXPECTED_MESSAGE = "UNEXPECTED_MESSAGE"
    WRONG_VERSION = "WRONG_VERSION"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    NOT_ADMITTED = "NOT_ADMITTED"
    WRONG_SOURCE = "WRONG_SOURCE"
    ATTACH_TIMEOUT = "ATTACH_TIMEOUT"
    BRIDGE_FULL = "BRIDGE_FULL"
    BRIDGE_STOPPING = "BRIDGE_STOPPING"
    REPLACED = "REPLACED"
    SLOW_READER = "SLOW_READER"
    OVERRUN = "OVERRUN"
    NOT_ENOUGH_PEERS = "NOT_ENOUGH_PEERS"
    NOT_IN_CLUSTER = "NOT_IN_CLUSTER"
    PEER_LEFT = "PEER_LEFT"
    TOO_MANY_TRANSFERS = "TOO_MANY_TRANSFERS"
    NO_MODEL = "NO_MODEL"
    MODEL_TOO_LARGE = "MODEL_TOO_LARGE"
    WRONG_MODEL = "WRONG_MODEL"
    UNKNOWN_CODEC = "UNKNOWN_CODEC"
    BAD_OFFER = "BAD_OFFER"
    BAD_CHUNK = "BAD_CHUNK"
    BAD_SEAL = "BAD_SEAL"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    DISK_FULL = "DISK_FULL"
    TIMED_OUT = "TIMED_OUT"
    ABANDONED = "ABANDONED"
    LINK_LOST = "LINK_LOST"


def _text(max_chars: int, **default: Any) -> Any:
    def check(value: object) -> str:
        # Printable: it ends in logs and on pages, where line breaks forge lines and half a surrogate pair is no text.
        if not isinstance(value, str) or len(value) > max_chars or not value.isprintable():
            raise ValueError(f"must be a printable text of at most {max_chars} characters")
        return value

    return field(metadata={"check": check}, **default)


def _hex_text(value: object, size_bytes: int) -> str:
    if not isinstance(value, str) or len(value) != 2 * size_bytes or not _HEX.fullmatch(value):
        raise ValueError(f"must be {2 * size_bytes} lower-case hexadecimal digits")
    return value


def _hex(size_bytes: int) -> Any:
    return field(metadata={"check": lambda value: _hex_text(value, size_bytes)})


def _count(minimum: int = 0, maximum: int = MAX_COUNT, **default: Any) -> Any:
    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return value

    return field(metadata={"check": check}, **default)


def _share() -> Any:
    def check(value: object) -> float:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if not 0.0 <= number <= 1.0:
            raise ValueError("must be a number from 0 to 1")
        return number

    return field(metadata={"check": check})


def _one_of(kind: type[StrEnum]) -> Any:
    def check(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in kind.__members__:
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(value)

    return field(metadata={"check": check})


def _peers() -> Any:
    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) > MAX_CLUSTER_SIZE:
            raise ValueError(f"must be a list of at most {MAX_CLUSTER_SIZE} cart ids")
        return tuple(_hex_text(entry, 16) for entry in value)

    return field(metadata={"check": check})


@dataclass(frozen=True)
class Message:
    """A control message; each subclass is one kind."""

    KIND: ClassVar[str] = ""


@dataclass(frozen=True)
class Welcome(Message):
    """Bridge to cart, first: who the bridge is, what to sign, and the limits that hold here."""

    KIND: ClassVar[str] = "WELCOME"
    version: int = _count()
    bridge_id: str = _hex(16)
    nonce: str = _hex(32)
    max_chunk_bytes: int = _count(1)
    max_window_bytes: int = _count(1)


@dataclass(frozen=True)
class Attach(Message):
    """Cart to bridge: the public key, the signature over nonce and bridge id, and what the cart can offer."""

    KIND: ClassVar[str] = "ATTACH"
    version: int = _count()
    public_key: str = _hex(32)
    signature: str = _hex(64)
    role: Role = _one_of(Role)
    model_signature: str = _hex(16)
    model_version: int = _count()
    proof: str = _hex(32)


@dataclass(frozen=True)
class Attached(Message):
    """Bridge to cart: the attach is accepted, under this cart id."""

    KIND: ClassVar[str] = "ATTACHED"
    cart_id: str = _hex(16)


@dataclass(frozen=True)
class PeerType(Message):
    """Cart to bridge: the role or the model version has changed."""

    KIND: ClassVar[str] = "PEERTYPE"
    role: Role = _one_of(Role)
    model_version: int = _count()


@dataclass(frozen=True)
class Cluster(Message):
    """Cart to bridge: pick peers for me; ``minimum`` of them will do."""

    KIND: ClassVar[str] = "CLUSTER"
    request: str = _hex(16)
    size: int = _count(1, MAX_CLUSTER_SIZE)
    minimum: int = _count(1, MAX_CLUSTER_SIZE)


@dataclass(frozen=True)
class PeerList(Message):
    """Bridge to cart: the cluster that was asked for."""

    KIND: ClassVar[str] = "PEERLIST"
    request: str = _hex(16)
    cluster: str = _hex(16)
    peers: tuple[str, ...] = _peers()


@dataclass(frozen=True)
class ModelRequest(Message):
    """Cart to cart: send me your current model, under this transfer id."""

    KIND: ClassVar[str] = "MODELREQUEST"
    transfer: str = _hex(16)
    cluster: str = _hex(16)
    source: str = _hex(16)
    destination: str = _hex(16)
    key: str = _hex(32)
    public_key: str = _hex(32)
    signature: str = _hex(64)


@dataclass(frozen=True)
class ModelParameters(Message):
    """Cart to cart: the offer. What will be sent, so that the receiver can refuse before the first chunk."""

    KIND: ClassVar[str] = "MODELPARAMETERS"
    transfer: str = _hex(16)
    source: str = _hex(16)
    destination: str = _hex(16)
    total_bytes: int = _count(1)
    chunk_bytes: int = _count(1)
    chunks: int = _count(1)
    digest: str = _hex(32)
    codec: str = _text(32)
    model_signature: str = _hex(16)
    model_version: int = _count()
    samples: int = _count()
    accuracy: float = _share()
    cipher: str = _text(32)
    key: str = _hex(32)
    public_key: str = _hex(32)
    signature: str = _hex(64)


@dataclass(frozen=True)
class Credit(Message):
    """Receiver to sender: the payload may be sent up to this byte, counted from its beginning."""

    KIND: ClassVar[str] = "CREDIT"
    transfer: str = _hex(16)
    up_to_bytes: int = _count(1)


@dataclass(frozen=True)
class Cancel(Message):
    """Either side, or the bridge: the transfer is over without success, and why."""

    KIND: ClassVar[str] = "CANCEL"
    transfer: str = _hex(16)
    code: Code = _one_of(Code)
    sentence: str = _text(MAX_SENTENCE_CHARS, default="")


@dataclass(frozen=True)
class Done(Message):
    """Receiver to sender: all bytes are here and their digest is right."""

    KIND: ClassVar[str] = "DONE"
    transfer: str = _hex(16)


@dataclass(frozen=True)
class Exit(Message):
    """Cart to bridge: I am leaving."""

    KIND: ClassVar[str] = "EXIT"


@dataclass(frozen=True)
class ExitDone(Message):
    """Bridge to cart: you are deregistered; the bridge closes next."""

    KIND: ClassVar[str] = "EXITDONE"


@dataclass(frozen=True)
class ErrorMessage(Message):
    """Bridge to cart: a request was refused, or the link is about to be closed."""

    KIND: ClassVar[str] = "ERROR"
    code: Code = _one_of(Code)
    sentence: str = _text(MAX_SENTENCE_CHARS, default="")
    request: str = _text(32, default="")
    available: int = _count(default=0)


KINDS: Final[dict[str, type[Message]]] = {
    kind.KIND: kind
    for kind in (
        *(Welcome, Attach, Attached, PeerType, Cluster, PeerList, ModelRequest, ModelParameters),
        *(Credit, Cancel, Done, Exit, ExitDone, ErrorMessage),
    )
}


def encode(message: Message) -> str:
    """Return the JSON text of a message."""
    body: dict[str, Any] = {"type": message.KIND}
    for entry in fields(message):
        body[entry.name] = getattr(message, entry.name)
    return json.dumps(body, separators=(",", ":"))


def parse(text: str) -> Message:
    """Return the message that a text frame holds.

    Raises:
        MessageError: if it is too long, no JSON object, of an unknown kind, or has a field that is missing or wrong.
    """
    if len(text) > MAX_MESSAGE_BYTES:
        raise MessageError(f"A control message has {len(text)} characters; at most {MAX_MESSAGE_BYTES} are allowed.")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise MessageError("A control message is not valid JSON.") from None
    name = body.get("type") if isinstance(body, dict) else None
    if not isinstance(name, str):
        raise MessageError("A control message is no JSON object with a text as its type.")
    kind = KINDS.get(name)
    if kind is None:
        raise MessageError(f"A control message is of the unknown kind {name[:40]!a}.")
    values: dict[str, Any] = {}
    for entry in fields(kind):
        if entry.name not in body:
            if entry.default is MISSING:
                raise MessageError(f"{kind.KIND} lacks its field {entry.name!r}.")
            continue
        try:
            values[entry.name] = entry.metadata["check"](body[entry.name])
        except (ValueError, OverflowError) as error:
            raise MessageError(f"{kind.KIND} has a wrong {entry.name!r}: it {error}.") from None
    return kind(**values)
