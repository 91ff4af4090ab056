"""Who a cart or a bridge is: an Ed25519 key pair (RFC 8032) made on first start, and the id derived from it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ..process.atomic_files import write_whole
from ..process.errors import UserError

ID_BYTES: Final = 16
# The label makes a signature for attaching useless for anything else.
ATTACH_LABEL: Final = b"cart-attach-v1\0"


class IdentityError(UserError):
    """The key file cannot be used."""


def cart_id_of(public_key: bytes) -> bytes:
    """Return the 16-byte id of a cart's or bridge's public key. It cannot be chosen, so no other key can take it."""
    return hashlib.sha256(public_key).digest()[:ID_BYTES]


def attach_statement(nonce: bytes, bridge_id: bytes) -> bytes:
    """Return the bytes that a cart signs to prove its key to this bridge, now."""
    return ATTACH_LABEL + nonce + bridge_id


def signature_is_valid(public_key: bytes, signature: bytes, statement: bytes) -> bool:
    """Tell whether the signature over the statement was made with this public key."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        return False
    return True


class Identity:
    """A key pair, and the id that follows from it."""

    def __init__(self, private_key: Ed25519PrivateKey) -> None:
        self._private_key = private_key
        self.public_key: bytes = private_key.public_key().public_bytes_raw()
        self.cart_id: bytes = cart_id_of(self.public_key)

    @classmethod
    def generate(cls) -> Identity:
        """Make a new key pair."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def load_or_create(cls, path: Path) -> Identity:
        """Read the key file, or make it (mode 0600) on first start.

        Raises:
            IdentityError: if the file is there but holds no Ed25519 private key.
        """
        if not path.exists():
            identity = cls.generate()
            identity._write(path)
            return identity
        try:
            key = serialization.load_pem_private_key(path.read_bytes(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm, OSError) as error:
            raise IdentityError(_unusable(path, error)) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise IdentityError(_unusable(path, "it is not an Ed25519 key"))
        return cls(key)

    def sign(self, statement: bytes) -> bytes:
        """Return the 64-byte signature over the statement."""
        return self._private_key.sign(statement)

    def _write(self, path: Path) -> None:
        pem = self._private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # A process that is killed while it writes must not find half a key at its next start.
        write_whole(path, pem)


def _unusable(path: Path, why: object) -> str:
    return (
        f"The key file {path} cannot be used ({why}). Restore it from a backup, or move it away: "
        "the next start then makes a new key, with a new id."
    )
