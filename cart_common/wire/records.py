"""Records of the directory: a bridge's address and load, and a cart's bridge; each signed by its owner. Pure.

A record is canonical JSON. It can be checked without asking anyone, and all choose the same of two valid ones.
``docs/protocol.md`` has the bytes.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

from .fields import count_field, hex_field, one_of_field
from .fleet_key import record_tag
from .identity import Identity, cart_id_of, signature_is_valid
from .messages import Role

# Fits, with the headers around it, into one UDP datagram that an Ethernet carries whole.
MAX_RECORD_BYTES: Final = 1360
MAX_URL_CHARS: Final = 200
MOST_SIGNATURES: Final = 16
BRIDGE_LIFE_S: Final = 120
CART_LIFE_S: Final = 3600
MAX_SKEW_S: Final = 120
"""How far ahead the clock of a record's owner may be."""

_LABEL: Final = b"cart-record-v1\0"
_SIGNATURE: Final = re.compile(r"[0-9a-f]{32}")
_URL: Final = re.compile(r"wss?://(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


class Refusal(StrEnum):
    """Why a record is rejected: the same words in counters and logs."""

    TOO_LARGE = "TOO_LARGE"
    MALFORMED = "MALFORMED"
    BAD_SIGNATURE = "BAD_SIGNATURE"
    FOREIGN = "FOREIGN"
    EXPIRED = "EXPIRED"
    TOO_EARLY = "TOO_EARLY"
    TOO_LONG_LIVED = "TOO_LONG_LIVED"
    WRONG_KEY = "WRONG_KEY"
    OLDER = "OLDER"
    FULL = "FULL"


class RecordError(ValueError):
    """A record is rejected."""

    def __init__(self, refusal: Refusal, sentence: str) -> None:
        super().__init__(sentence)
        self.refusal = refusal


def is_bridge_url(text: str) -> bool:
    """Tell whether this is the address of a bridge: ``ws://host:port`` or ``wss://host:port``, without a path."""
    if len(text) > MAX_URL_CHARS or not _URL.fullmatch(text):
        return False
    try:
        return urlsplit(text).port != 0
    except ValueError:
        return False


def _url_field() -> Any:
    def check(value: object) -> str:
        if not isinstance(value, str) or not is_bridge_url(value):
            raise ValueError(f"must be ws://host:port or wss://host:port, of at most {MAX_URL_CHARS} characters")
        return value

    return field(metadata={"check": check})


def _shells_field() -> Any:
    def check(value: object) -> Mapping[str, int]:
        if not isinstance(value, dict) or len(value) > MOST_SIGNATURES:
            raise ValueError(f"must be an object with at most {MOST_SIGNATURES} counts")
        for signature, count in value.items():
            if not _SIGNATURE.fullmatch(signature) or type(count) is not int or not 0 < count < 2**53:
                raise ValueError("must hold positive counts by model signature")
        return MappingProxyType(value)

    return field(metadata={"check": check}, hash=False)


def _gone_field() -> Any:
    def check(value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError("must be true or false")
        return value

    return field(metadata={"check": check}, default=False)


@dataclass(frozen=True, kw_only=True)
class Record:
    """The fields of every record: its owner, how long it is valid, and its number."""

    KIND: ClassVar[str] = ""
    MAX_LIFE_S: ClassVar[int] = 0
    encoded: bytes = field(repr=False)
    """The bytes that were signed, checked, and are passed on."""
    public_key: str = hex_field(32)
    sequence: int = count_field()
    """Grows with each record of one owner; the largest wins."""
    issued_at_s: int = count_field()
    expires_at_s: int = count_field()
    gone: bool = _gone_field()
    """True in the last record of an owner that has left."""
    signature: str = hex_field(64)
    tag: str = hex_field(32)

    @property
    def owner_id(self) -> str:
        """The id of the bridge or cart: it follows from the key."""
        return cart_id_of(bytes.fromhex(self.public_key)).hex()

    @property
    def name(self) -> str:
        """What the record is filed under."""
        return record_name(self.KIND, self.owner_id)

    def holds_at(self, now_s: float) -> bool:
        """Tell whether the record has not expired at ``now_s``."""
        return now_s < self.expires_at_s


@dataclass(frozen=True, kw_only=True)
class BridgeRecord(Record):
    """A bridge: its address and its load."""

    KIND: ClassVar[str] = "bridge"
    MAX_LIFE_S: ClassVar[int] = 600
    url: str = _url_field()
    carts: int = count_field()
    max_carts: int = count_field()
    shells: Mapping[str, int] = _shells_field()
    """The number of carts that have a model to give, for the most common model signatures."""

    @property
    def bridge_id(self) -> str:
        """The bridge's id, as in its WELCOME."""
        return self.owner_id

    @property
    def load(self) -> float:
        """The share of its places that is taken."""
        return self.carts / max(self.max_carts, 1)


@dataclass(frozen=True, kw_only=True)
class CartRecord(Record):
    """A cart: which bridge it is attached to, and what it can offer."""

    KIND: ClassVar[str] = "cart"
    MAX_LIFE_S: ClassVar[int] = 2 * CART_LIFE_S
    bridge_id: str = hex_field(16)
    bridge_url: str = _url_field()
    role: Role = one_of_field(Role)
    model_signature: str = hex_field(16)

    @property
    def cart_id(self) -> str:
        """The cart's id."""
        return self.owner_id


R = TypeVar("R", bound=Record)
KINDS: Final[dict[str, type[Record]]] = {kind.KIND: kind for kind in (BridgeRecord, CartRecord)}


def record_name(kind: str, owner_id: str) -> str:
    """Return what a record of this owner is filed under: ``cart:`` or ``bridge:`` and the id."""
    return f"{kind}:{owner_id}"


def newest(one: R | None, other: R | None) -> R | None:
    """Return the later of two valid records of one owner; the order of the arguments makes no difference."""
    if one is None or other is None:
        return one or other
    return max(one, other, key=lambda record: (record.sequence, record.issued_at_s, record.encoded))


# Making records.


def make_bridge_record(
    identity: Identity,
    token: bytes,
    *,
    url: str,
    carts: int,
    max_carts: int,
    shells: Mapping[str, int],
    sequence: int,
    now_s: float,
    life_s: int = BRIDGE_LIFE_S,
) -> BridgeRecord:
    """Return the record of a bridge, signed by its key.

    Of ``shells``, the ``MOST_SIGNATURES`` most common are kept.

    Args:
        identity: the bridge's own.
        token: the bridge token of its fleet, or of the open fleet.
        url: where carts reach it.
        carts: how many are attached.
        max_carts: how many may be.
        shells: how many carts have a model to give, by model signature.
        sequence: larger than that of every record before.
        now_s: seconds since the epoch.
        life_s: seconds for which the record is valid.

    Raises:
        RecordError: if a value does not fit into a record.
    """
    common = sorted(shells.items(), key=lambda entry: (-entry[1], entry[0]))[:MOST_SIGNATURES]
    body = {"url": url, "carts": carts, "max_carts": max_carts, "shells": dict(common)}
    return _made(BridgeRecord, identity, token, body, sequence, int(now_s), int(now_s) + life_s)


def make_cart_record(
    identity: Identity,
    token: bytes,
    *,
    bridge_id: str,
    bridge_url: str,
    role: Role,
    model_signature: str,
    sequence: int,
    now_s: float,
    life_s: int = CART_LIFE_S,
) -> CartRecord:
    """Return the record of a cart that is attached to this bridge, signed by the cart's key.

    The arguments are those of ``make_bridge_record``.

    Raises:
        RecordError: if a value does not fit into a record.
    """
    body = {"bridge_id": bridge_id, "bridge_url": bridge_url, "role": role, "model_signature": model_signature}
    return _made(CartRecord, identity, token, body, sequence, int(now_s), int(now_s) + life_s)


def make_withdrawal(record: R, identity: Identity, token: bytes, now_s: float) -> R:
    """Return the record by which an owner that leaves withdraws its last one.

    It is valid exactly as long as the last one, so that no earlier record can come back after it.
    """
    body = _canonical_object(record.encoded)
    del body["signature"], body["tag"]
    issued_at_s = min(int(now_s), record.expires_at_s)
    return _made(
        type(record), identity, token, body | {"gone": True}, record.sequence + 1, issued_at_s, record.expires_at_s
    )


def _made(
    kind: type[R],
    identity: Identity,
    token: bytes,
    body: dict[str, Any],
    sequence: int,
    issued_at_s: int,
    expires_at_s: int,
) -> R:
    said = {
        "gone": False,
        **body,
        "kind": kind.KIND,
        "public_key": identity.public_key.hex(),
        "sequence": sequence,
        "issued_at_s": issued_at_s,
        "expires_at_s": expires_at_s,
    }
    tagged = said | {"tag": record_tag(token, _canonical(said)).hex()}
    encoded = _canonical(tagged | {"signature": identity.sign(_LABEL + _canonical(tagged)).hex()})
    if len(encoded) > MAX_RECORD_BYTES:
        raise RecordError(Refusal.TOO_LARGE, f"The record has {len(encoded)} bytes; at most {MAX_RECORD_BYTES} fit.")
    return _read(kind, _canonical_object(encoded), encoded)


# Checking records.


def check_record(encoded: object, token: bytes | None, now_s: float, name: str | None = None) -> Record:
    """Check the bytes of a record from an untrusted source, and return the record.

    Args:
        encoded: the bytes.
        token: the bridge token of the fleet; None accepts records of every fleet.
        now_s: seconds since the epoch.
        name: what the record was filed under, if that is known.

    Raises:
        RecordError: with the reason, if the record is rejected.
    """
    if not isinstance(encoded, bytes):
        raise RecordError(Refusal.MALFORMED, "A record is bytes.")
    if len(encoded) > MAX_RECORD_BYTES:
        raise RecordError(Refusal.TOO_LARGE, f"A record has {len(encoded)} bytes; at most {MAX_RECORD_BYTES} may be.")
    body = _canonical_object(encoded)
    kind = KINDS[body["kind"]]
    record = _read(kind, body, encoded)
    if name is not None and record.name != name:
        raise RecordError(Refusal.WRONG_KEY, f"The record of {record.name} is filed under {name}.")
    _check_times(record, now_s)
    signature, signed = body.pop("signature"), _LABEL + _canonical(body)
    tag, tagged = body.pop("tag"), _canonical(body)
    # The tag first: it costs a microsecond, the signature a hundred.
    if token is not None and not hmac.compare_digest(record_tag(token, tagged).hex(), tag):
        raise RecordError(Refusal.FOREIGN, f"The record of {record.name} is not of this fleet.")
    if not signature_is_valid(bytes.fromhex(record.public_key), bytes.fromhex(signature), signed):
        raise RecordError(Refusal.BAD_SIGNATURE, f"The record of {record.name} is not signed by its owner.")
    return record


def claimed_time(encoded: bytes) -> int | None:
    """Return when a cart's record claims to be issued, in seconds since the epoch; None if the bytes are no record."""
    if len(encoded) > MAX_RECORD_BYTES:
        return None
    try:
        return _read(CartRecord, _canonical_object(encoded), encoded).issued_at_s
    except RecordError:
        return None


def _check_times(record: Record, now_s: float) -> None:
    if not record.holds_at(now_s):
        raise RecordError(
            Refusal.EXPIRED, f"The record of {record.name} expired {now_s - record.expires_at_s:.0f} s ago."
        )
    if record.issued_at_s > now_s + MAX_SKEW_S:
        raise RecordError(
            Refusal.TOO_EARLY, f"The record of {record.name} is from {record.issued_at_s - now_s:.0f} s ahead."
        )
    life_s = record.expires_at_s - record.issued_at_s
    if not 0 <= life_s <= record.MAX_LIFE_S:
        raise RecordError(
            Refusal.TOO_LONG_LIVED,
            f"The record of {record.name} is valid for {life_s} s; at most {record.MAX_LIFE_S} s are accepted.",
        )


def _canonical_object(encoded: bytes) -> dict[str, Any]:
    try:
        body = json.loads(encoded)
        # Only the canonical text is accepted: the signed bytes are encoded again from what was read.
        if isinstance(body, dict) and body.get("kind") in KINDS and _canonical(body) == encoded:
            return body
    except (ValueError, TypeError, RecursionError):
        pass
    raise RecordError(Refusal.MALFORMED, "A record is no canonical JSON object of a known kind.")


def _read(kind: type[R], body: dict[str, Any], encoded: bytes) -> R:
    values: dict[str, Any] = {"encoded": encoded}
    for entry in fields(kind):
        if entry.name == "encoded":
            continue
        if entry.name not in body:
            if entry.default is MISSING:
                raise RecordError(Refusal.MALFORMED, f"A {kind.KIND} record lacks its field {entry.name!r}.")
            continue
        try:
            values[entry.name] = entry.metadata["check"](body[entry.name])
        except (ValueError, OverflowError) as error:
            raise RecordError(
                Refusal.MALFORMED, f"A {kind.KIND} record has a wrong {entry.name!r}: it {error}."
            ) from None
    return kind(**values)


def _canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")
