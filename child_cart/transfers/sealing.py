"""What a bridge can neither read nor change: the keys of one transfer, its terms, and the seal of each chunk. Pure.

Both carts make an X25519 key (RFC 7748) for the transfer and sign it, with all that they say about the transfer, by
their identity keys. The terms of a request are sealed under the fleet key, those of an offer under the shared secret,
too. The chunk key is derived from the shared secret, the fleet key, and the digest of both statements: a cart that
changes a word of them, or lacks the fleet key, derives another key and fails at the first chunk.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from cart_common.wire.chunk import HEADER_BYTES, SEAL_BYTES, ChunkHeader, pack_header
from cart_common.wire.fleet_key import derive, sealing_secret
from cart_common.wire.messages import Code

from .assembly import TransferError

AES: Final = "aes-256-gcm"
CHACHA: Final = "chacha20-poly1305"
CIPHERS: Final[dict[str, type[AESGCM] | type[ChaCha20Poly1305]]] = {AES: AESGCM, CHACHA: ChaCha20Poly1305}

_NONCE: Final = struct.Struct("!8xI")  # the key is one transfer's own, so a sequence number is never used twice
_TOTAL: Final = struct.Struct("!Q")
_TERMS_NONCE: Final = bytes(12)  # a key of terms seals one text alone
_REQUEST_INFO: Final = b"cart-request-terms-v2"
_OFFER_INFO: Final = b"cart-offer-terms-v2"
_CHUNKS_INFO: Final = b"cart-chunks-v1"


def best_cipher(cpu_flags: str) -> str:
    """Return the faster cipher for a processor with these flags: AES where it has instructions for it."""
    return AES if " aes " in f" {cpu_flags} " else CHACHA


def request_terms_key(fleet_key: bytes, key: str) -> bytes:
    """Return the key of a request's terms.

    Args:
        fleet_key: the fleet's, or ``OPEN``.
        key: the X25519 key in the request, which is new for each transfer, in hexadecimal.
    """
    return derive(sealing_secret(fleet_key), bytes.fromhex(key), _REQUEST_INFO)


def seal_terms(key: bytes, terms: bytes) -> str:
    """Return terms as they are sent, in hexadecimal; a key seals one text alone."""
    return ChaCha20Poly1305(key).encrypt(_TERMS_NONCE, terms, None).hex()


def open_terms(key: bytes, sealed: str) -> bytes:
    """Return the terms that a peer has sealed.

    Raises:
        TransferError: ``BAD_SEAL`` if they were not sealed under this key.
    """
    try:
        return ChaCha20Poly1305(key).decrypt(_TERMS_NONCE, bytes.fromhex(sealed), None)
    except InvalidTag:
        raise TransferError(
            Code.BAD_SEAL, "The other cart's terms do not open: it may hold another fleet key."
        ) from None


class TransferKey:
    """One side's X25519 key, made for one transfer and forgotten with it."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public: str = self._private.public_key().public_bytes_raw().hex()

    def agree(self, other: str, fleet_key: bytes) -> TransferSecret:
        """Return the secret that both sides share, if they hold the same fleet key.

        Args:
            other: the other side's public key, in hexadecimal.
            fleet_key: the fleet's, or ``OPEN``.

        Raises:
            TransferError: ``BAD_SEAL`` for a key of small order, which gives no secret.
        """
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(other)))
        except ValueError:
            raise TransferError(Code.BAD_SEAL, "The other cart's transfer key gives no secret.") from None
        return TransferSecret(shared, sealing_secret(fleet_key))


class TransferSecret:
    """What only the two carts of a transfer know. Statements are the bytes that they have signed."""

    def __init__(self, shared: bytes, of_fleet: bytes) -> None:
        self._shared = shared
        self._of_fleet = of_fleet

    def offer_terms_key(self, request: bytes) -> bytes:
        """Return the key of the terms of the offer that answers this request statement."""
        return self._derived(_OFFER_INFO + hashlib.sha256(request).digest())

    def seal(self, request: bytes, offer: bytes, cipher: str, total_bytes: int) -> Seal:
        """Return the seal of the chunks; both sides derive the same one if they mean the same two statements.

        Raises:
            TransferError: ``BAD_SEAL`` for an unknown cipher.
        """
        if cipher not in CIPHERS:
            raise TransferError(Code.BAD_SEAL, f"The offer is sealed with {cipher!r}, which is not known here.")
        said = hashlib.sha256(request + offer).digest()
        return Seal(cipher, self._derived(_CHUNKS_INFO + said), total_bytes)

    def _derived(self, info: bytes) -> bytes:
        return derive(self._shared, self._of_fleet, info)


class Seal:
    """Seals and opens the chunks of one transfer.

    The nonce is the chunk's sequence number, since the key serves nothing else. The header (both carts, the transfer,
    the number, the final flag) and the size of the transfer are bound as associated data.
    """

    def __init__(self, cipher: str, key: bytes, total_bytes: int) -> None:
        self._cipher = CIPHERS[cipher](key)
        self._total = _TOTAL.pack(total_bytes)

    def frame(self, header: ChunkHeader, payload: memoryview) -> bytearray:
        """Return the binary frame of a chunk: header, sealed payload, tag."""
        packed = pack_header(header)
        frame = bytearray(HEADER_BYTES + len(payload) + SEAL_BYTES)
        frame[:HEADER_BYTES] = packed
        # Sealed in place: at hundreds of megabytes a second, one more copy is a tenth of the work.
        sealed = memoryview(frame)[HEADER_BYTES:]
        self._cipher.encrypt_into(_NONCE.pack(header.sequence), payload, packed + self._total, sealed)
        return frame

    def open(self, header: ChunkHeader, sealed: memoryview) -> bytes:
        """Return the payload of a chunk.

        Raises:
            TransferError: ``BAD_SEAL`` if a bit of the chunk, its header or its position differs from what was sealed.
        """
        try:
            return self._cipher.decrypt(_NONCE.pack(header.sequence), sealed, pack_header(header) + self._total)
        except InvalidTag:
            raise TransferError(Code.BAD_SEAL, f"Chunk {header.sequence} is not as the other cart sealed it.") from None
