"""The control messages: one frozen dataclass per kind, JSON text in and out.

Parsing checks each field that the dataclass declares, and ignores unknown keys, so that a later version may add some.
``docs/protocol.md`` says when each message is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, Final

from .chunk import MAX_SEQUENCE, MIN_CHUNK_BYTES
from .fields import (
    MAX_CLUSTER_SIZE,
    MAX_RECORD_CHARS,
    blob_field,
    count_field,
    hex_field,
    one_of_field,
    peers_field,
    records_field,
    share_field,
    text_field,
)
from .json_objects import declared_values, json_text, json_value

PROTOCOL_VERSION: Final = 1
"""Of what a cart and a bridge say to each other."""
MAX_TERMS_BYTES: Final = 2048
MAX_KEY_EPOCH: Final = 2**32 - 1
MAX_MESSAGE_BYTES: Final = 64 * 1024
MAX_SENTENCE_CHARS: Final = 500
MOST_NEIGHBOURS: Final = 16
MOST_ELSEWHERE: Final = 4


class MessageError(ValueError):
    """A control message is not valid."""


class Role(StrEnum):
    """What an attached cart does: ``SHELL`` serves, ``KERNEL`` collects (and serves)."""

    SHELL = "SHELL"
    KERNEL = "KERNEL"


class Code(StrEnum):
    """Why something was refused, cut or ended: the same words on the wire, in logs, in the store and on pages."""

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
    NOT_FOUND = "NOT_FOUND"
    PEER_LEFT = "PEER_LEFT"
    TOO_MANY_TRANSFERS = "TOO_MANY_TRANSFERS"
    NO_MODEL = "NO_MODEL"
    MODEL_TOO_LARGE = "MODEL_TOO_LARGE"
    WRONG_MODEL = "WRONG_MODEL"
    UNKNOWN_CODEC = "UNKNOWN_CODEC"
    UNKNOWN_KIND = "UNKNOWN_KIND"
    BAD_OFFER = "BAD_OFFER"
    BAD_CHUNK = "BAD_CHUNK"
    BAD_SEAL = "BAD_SEAL"
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    DISK_FULL = "DISK_FULL"
    TIMED_OUT = "TIMED_OUT"
    ABANDONED = "ABANDONED"
    LINK_LOST = "LINK_LOST"


@dataclass(frozen=True)
class Message:
    """A control message; each subclass is one kind."""

    KIND: ClassVar[str] = ""


@dataclass(frozen=True)
class Welcome(Message):
    """Bridge to cart, first: who the bridge is, what to sign, and the limits that hold here."""

    KIND: ClassVar[str] = "WELCOME"
    version: int = count_field()
    bridge_id: str = hex_field(16)
    nonce: str = hex_field(32)
    max_chunk_bytes: int = count_field(MIN_CHUNK_BYTES)
    max_window_bytes: int = count_field(MIN_CHUNK_BYTES)
    url: str = text_field(200, default="")


@dataclass(frozen=True)
class Attach(Message):
    """Cart to bridge: the public key, the signature over nonce and bridge id, and what the cart can offer."""

    KIND: ClassVar[str] = "ATTACH"
    version: int = count_field()
    public_key: str = hex_field(32)
    signature: str = hex_field(64)
    role: Role = one_of_field(Role)
    model_signature: str = hex_field(16)
    model_version: int = count_field()
    proof: str = hex_field(32)
    task: str = text_field(32, default="")
    """A digest of the task's name; empty from a cart of version 0.1, and on a visit."""


@dataclass(frozen=True)
class Attached(Message):
    """Bridge to cart: the attach is accepted, under this cart id."""

    KIND: ClassVar[str] = "ATTACHED"
    cart_id: str = hex_field(16)


@dataclass(frozen=True)
class PeerType(Message):
    """Cart to bridge: the role or the model version has changed."""

    KIND: ClassVar[str] = "PEERTYPE"
    role: Role = one_of_field(Role)
    model_version: int = count_field()


@dataclass(frozen=True)
class Cluster(Message):
    """Cart to bridge: pick peers for me; ``minimum`` of them will do."""

    KIND: ClassVar[str] = "CLUSTER"
    request: str = hex_field(16)
    size: int = count_field(1, MAX_CLUSTER_SIZE)
    minimum: int = count_field(1, MAX_CLUSTER_SIZE)


@dataclass(frozen=True)
class PeerList(Message):
    """Bridge to cart: the answer to CLUSTER."""

    KIND: ClassVar[str] = "PEERLIST"
    request: str = hex_field(16)
    cluster: str = hex_field(16)
    peers: tuple[str, ...] = peers_field()
    elsewhere: tuple[str, ...] = records_field(MOST_ELSEWHERE, default=())
    """Records of bridges that have more peers, if there are too few here."""
    other_shapes: int = count_field(default=0)
    """How many carts at this bridge learn the same task with a model of another shape."""


@dataclass(frozen=True)
class NbrList(Message):
    """Bridge to cart: other bridges that are live now."""

    KIND: ClassVar[str] = "NBRLIST"
    bridges: tuple[str, ...] = records_field(MOST_NEIGHBOURS)


@dataclass(frozen=True)
class Whereabouts(Message):
    """Cart to bridge: the record by which others find this cart here."""

    KIND: ClassVar[str] = "CARTRECORD"
    record: str = text_field(MAX_RECORD_CHARS)


@dataclass(frozen=True)
class Seek(Message):
    """Cart to bridge: at which bridge is this cart?"""

    KIND: ClassVar[str] = "SEEK"
    request: str = hex_field(16)
    cart: str = hex_field(16)


@dataclass(frozen=True)
class Found(Message):
    """Bridge to cart: the record of the cart that was sought."""

    KIND: ClassVar[str] = "FOUND"
    request: str = hex_field(16)
    record: str = text_field(MAX_RECORD_CHARS)


@dataclass(frozen=True)
class ModelRequest(Message):
    """Cart to cart: send me your current model, under this transfer id."""

    KIND: ClassVar[str] = "MODELREQUEST"
    transfer: str = hex_field(16)
    cluster: str = hex_field(16)
    source: str = hex_field(16)
    destination: str = hex_field(16)
    key: str = hex_field(32)
    public_key: str = hex_field(32)
    signature: str = hex_field(64)
    max_chunk_bytes: int = count_field(MIN_CHUNK_BYTES, MAX_SEQUENCE)
    key_epoch: int = count_field(0, MAX_KEY_EPOCH, default=0)
    terms: str = blob_field(MAX_TERMS_BYTES, default="")
    """What only carts can read; empty from a cart of version 0.1, and after a bridge of that version."""
    terms_signature: str = blob_field(64, default="")


@dataclass(frozen=True)
class SealedOffer(Message):
    """Cart to cart: the offer. What will be sent, so that the receiver can refuse before the first chunk."""

    KIND: ClassVar[str] = "OFFER"
    transfer: str = hex_field(16)
    source: str = hex_field(16)
    destination: str = hex_field(16)
    total_bytes: int = count_field(1)
    chunk_bytes: int = count_field(1, MAX_SEQUENCE)
    key: str = hex_field(32)
    public_key: str = hex_field(32)
    signature: str = hex_field(64)
    key_epoch: int = count_field(0, MAX_KEY_EPOCH)
    terms: str = blob_field(MAX_TERMS_BYTES)


@dataclass(frozen=True)
class ModelParameters(Message):
    """Cart to cart: the offer of version 1, with all words in the clear."""

    KIND: ClassVar[str] = "MODELPARAMETERS"
    transfer: str = hex_field(16)
    source: str = hex_field(16)
    destination: str = hex_field(16)
    total_bytes: int = count_field(1)
    chunk_bytes: int = count_field(1, MAX_SEQUENCE)
    chunks: int = count_field(1, MAX_SEQUENCE)
    digest: str = hex_field(32)
    codec: str = text_field(32)
    model_signature: str = hex_field(16)
    model_version: int = count_field()
    samples: int = count_field()
    accuracy: float = share_field()
    cipher: str = text_field(32)
    key: str = hex_field(32)
    public_key: str = hex_field(32)
    signature: str = hex_field(64)


@dataclass(frozen=True)
class Credit(Message):
    """Receiver to sender: the payload may be sent up to this byte, counted from its beginning."""

    KIND: ClassVar[str] = "CREDIT"
    transfer: str = hex_field(16)
    up_to_bytes: int = count_field(1)


@dataclass(frozen=True)
class Paused(Message):
    """Bridge to cart: the other cart of this transfer is away, or you were; RESUME lets it go on."""

    KIND: ClassVar[str] = "PAUSED"
    transfer: str = hex_field(16)


@dataclass(frozen=True)
class Resume(Message):
    """Cart to bridge, after it has attached again: I still hold this transfer. Bridge to sender: go on from here.

    Payload before ``position_bytes`` has come; credit reaches ``up_to_bytes``. A sender, who knows neither, says 0.
    """

    KIND: ClassVar[str] = "RESUME"
    transfer: str = hex_field(16)
    sender: str = hex_field(16)
    receiver: str = hex_field(16)
    total_bytes: int = count_field(1)
    chunk_bytes: int = count_field(1)
    position_bytes: int = count_field()
    up_to_bytes: int = count_field()


@dataclass(frozen=True)
class Cancel(Message):
    """Either side, or the bridge: the transfer is over without success, and why."""

    KIND: ClassVar[str] = "CANCEL"
    transfer: str = hex_field(16)
    code: Code = one_of_field(Code)
    sentence: str = text_field(MAX_SENTENCE_CHARS, default="")


@dataclass(frozen=True)
class Done(Message):
    """Receiver to sender: all bytes are here and their digest is right."""

    KIND: ClassVar[str] = "DONE"
    transfer: str = hex_field(16)


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
    code: Code = one_of_field(Code)
    sentence: str = text_field(MAX_SENTENCE_CHARS, default="")
    request: str = text_field(32, default="")
    available: int = count_field(default=0)
    other_shapes: int = count_field(default=0)
    """As in ``PeerList``, where a cluster is refused."""


KINDS: Final[dict[str, type[Message]]] = {
    kind.KIND: kind
    for kind in (
        *(Welcome, Attach, Attached, PeerType, Cluster, PeerList, ModelRequest, SealedOffer, ModelParameters),
        *(Credit, Paused, Resume, Cancel, Done, Exit, ExitDone, ErrorMessage),
        *(NbrList, Whereabouts, Seek, Found),
    )
}


def encode(message: Message) -> str:
    """Return the JSON text of a message."""
    body: dict[str, Any] = {"type": message.KIND}
    for entry in fields(message):
        body[entry.name] = getattr(message, entry.name)
    return json_text(body)


def parse(text: str) -> Message:
    """Return the message that a text frame holds.

    Raises:
        MessageError: if it is too long, not a JSON object, of an unknown kind, or has a missing or wrong field.
    """
    # Bytes as on the wire: up to four times as many as characters.
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_MESSAGE_BYTES:
        raise MessageError(f"A control message has {size} bytes; at most {MAX_MESSAGE_BYTES} are allowed.")
    try:
        body = json_value(text)
    except ValueError as error:
        raise MessageError(f"A control message {error}.") from None
    name = body.get("type") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(name, str):
        raise MessageError("A control message is no JSON object with a text as its type.")
    kind = KINDS.get(name)
    if kind is None:
        raise MessageError(f"A control message is of the unknown kind {name[:40]!a}.")
    try:
        return kind(**declared_values(fields(kind), body))
    except ValueError as error:
        raise MessageError(f"{kind.KIND} {error}.") from None
