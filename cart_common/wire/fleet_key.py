"""The fleet's secret: one key that all carts hold, and the token derived from it by which bridges know them.

A bridge holds only the token: enough to admit carts, not enough to open a seal.
"""

from __future__ import annotations

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..process.os_errors import error_words

KEY_BYTES: Final = 32
OPEN: Final = bytes(KEY_BYTES)
"""The key of an open fleet, which has no secret: it is public."""

_TOKEN_INFO: Final = b"cart-bridge-token-v1"
_SEAL_INFO: Final = b"cart-seal-v1"
_ADMISSION_LABEL: Final = b"cart-admission-v1\0"
_RECORD_LABEL: Final = b"cart-record-tag-v1\0"
_DATAGRAM_LABEL: Final = b"cart-datagram-v2\0"
_OLD_DATAGRAM_LABEL: Final = b"cart-datagram-v1\0"


class Secret(StrEnum):
    """The kind that a key's text names, so that a bridge is not given the fleet key by mistake."""

    FLEET_KEY = "fleet-key"
    BRIDGE_TOKEN = "bridge-token"  # noqa: S105 - the word for it, not one


class FleetKeyError(ValueError):
    """A text or file holds no key; the message never contains the text."""


def new_key() -> bytes:
    """Return a new fleet key."""
    return os.urandom(KEY_BYTES)


def as_text(key: bytes, kind: Secret) -> str:
    """Return a key or token as the text that operators handle: its kind, a colon, 43 letters, digits, - and _."""
    return f"{kind}:{_encoded(key)}"


def parse_key(text: str, kind: Secret) -> bytes:
    """Return the 32 bytes of a key or token given as text, with its kind before it or without.

    Raises:
        FleetKeyError: if it is not a key, or of the other kind.
    """
    said, _, encoded = text.strip().rpartition(":")
    if said and said != kind and said in set(Secret):
        raise FleetKeyError(f"it holds a {said}, where a {kind} belongs")
    try:
        key = urlsafe_b64decode(encoded.encode("ascii") + b"=")
    except ValueError:
        key = b""
    if said not in ("", kind) or len(key) != KEY_BYTES or _encoded(key) != encoded:
        raise FleetKeyError(f"it does not hold a {kind} as keygen prints it ({kind}: and 43 letters, digits, - and _)")
    return key


def read_key(path: Path, kind: Secret) -> bytes:
    """Return the key or token that a file holds.

    Raises:
        FleetKeyError: if the file cannot be read or holds none.
    """
    try:
        return parse_key(path.read_text("ascii"), kind)
    except (OSError, UnicodeDecodeError) as error:
        raise FleetKeyError(f"it cannot be read ({error_words(error)})") from None


def _encoded(key: bytes) -> str:
    return urlsafe_b64encode(key).decode().rstrip("=")


def bridge_token(fleet_key: bytes) -> bytes:
    """Return the token that bridges may hold."""
    return derive(fleet_key, b"", _TOKEN_INFO)


def sealing_secret(fleet_key: bytes) -> bytes:
    """Return the secret for the keys of transfers; it cannot be derived from the token."""
    return derive(fleet_key, b"", _SEAL_INFO)


def admission_proof(token: bytes, statement: bytes) -> bytes:
    """Return the proof that a cart knows the token, for one attach (HMAC-SHA-256, RFC 2104)."""
    return hmac.digest(token, _ADMISSION_LABEL + statement, "sha256")


def record_tag(token: bytes, statement: bytes) -> bytes:
    """Return the proof that a record of the directory is of the token's fleet."""
    return hmac.digest(token, _RECORD_LABEL + statement, "sha256")


def datagram_tag(token: bytes, recipient: bytes, datagram: bytes) -> bytes:
    """Return the proof that a datagram is from a bridge of the token's fleet, and for this recipient."""
    return hmac.digest(token, _DATAGRAM_LABEL + recipient + datagram, "sha256")


def old_datagram_tag(token: bytes, datagram: bytes) -> bytes:
    """Return the proof of version 0.1, which holds for all recipients and for ever."""
    return hmac.digest(token, _OLD_DATAGRAM_LABEL + datagram, "sha256")


def derive(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes derived from a secret (HKDF-SHA-256, RFC 5869)."""
    return HKDF(SHA256(), KEY_BYTES, salt, info).derive(secret)
