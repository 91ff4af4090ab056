"""What a bridge can neither read nor change: the key of one transfer, and the seal of each chunk. Pure.

Both carts make an X25519 key (RFC 7748) for the transfer and sign it, with all that they say about the transfer, by
their identity keys. The chunk key is derived from the shared secret, the fleet key, and the digest of both statements:
a cart that changes a word of them, or lacks the fleet key, derives another key and fails at the first chunk.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from cart_common.wire.chunk import HEADER_BYTES, SEAL_BYTES, ChunkHeader, pack_header
from cart_common.wire.fleet_key import derive, sealing_secret
from cart_common.wire.identity import Identity, cart_id_of, signature_is_valid
from cart_common.wire.messages import Code, ModelParameters, ModelRequest

from .assembly import TransferError

AES: Final = "aes-256-gcm"
CHACHA: Final = "chacha20-poly1305"
CIPHERS: Final[dict[str, type[AESGCM] | type[ChaCha20Poly1305]]] = {AES: AESGCM, CHACHA: ChaCha20Poly1305}
UNSIGNED: Final = "00" * 64

_NONCE: Final = struct.Struct("!8xI")  # the key is one transfer's own, so a sequence number is never used twice
_TOTAL: Final = struct.Struct("!Q")
_CHUNK: Final = struct.Struct("!I")
_OFFER: Final = struct.Struct("!QIIQQd")
_CHUNKS_INFO: Final = b"cart-chunks-v1"


def best_cipher(cpu_flags: str) -> str:
    """Return the faster cipher for a processor with these flags: AES where it has instructions for it."""
    return AES if " aes " in f" {cpu_flags} " else CHACHA


def request_statement(message: ModelRequest) -> bytes:
    """Return the bytes that the receiver signs: everything in its request."""
    parts = (message.transfer, message.cluster, message.source, message.destination, message.key)
    ids = b"".join(bytes.fromhex(part) for part in parts)
    return b"cart-request-v1\0" + ids + _CHUNK.pack(message.max_chunk_bytes)


def offer_statement(message: ModelParameters) -> bytes:
    """Return the bytes that the sender signs: everything in its offer."""
    ids = (message.transfer, message.source, message.destination, message.digest, message.model_signature, message.key)
    numbers = _OFFER.pack(
        message.total_bytes,
        message.chunk_bytes,
        message.chunks,
        message.model_version,
        message.samples,
        message.accuracy,
    )
    texts = [text.encode() for text in (message.codec, message.cipher)]
    named = b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    return b"cart-offer-v1\0" + b"".join(bytes.fromhex(part) for part in ids) + numbers + named


def sign_request(identity: Identity, message: ModelRequest) -> ModelRequest:
    """Return the request with this cart's signature."""
    return replace(message, signature=identity.sign(request_statement(message)).hex())


def sign_offer(identity: Identity, message: ModelParameters) -> ModelParameters:
    """Return the offer with this cart's signature."""
    return replace(message, signature=identity.sign(offer_statement(message)).hex())


def check_signer(message: ModelRequest | ModelParameters) -> None:
    """Check that the cart that a request or offer names as its source has signed it.

    Raises:
        TransferError: ``BAD_SIGNATURE`` if it has not.
    """
    public_key, signature = bytes.fromhex(message.public_key), bytes.fromhex(message.signature)
    statement = request_statement(message) if isinstance(message, ModelRequest) else offer_statement(message)
    named = cart_id_of(public_key).hex() == message.source
    if not named or not signature_is_valid(public_key, signature, statement):
        raise TransferError(Code.BAD_SIGNATURE, f"This {message.KIND} is not signed by the cart {message.source[:8]}.")


class TransferKey:
    """One side's X25519 key, made for one transfer and forgotten with it."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public: str = self._private.public_key().public_bytes_raw().hex()

    def agree(self, other: str, fleet_key: bytes, request: ModelRequest, offer: ModelParameters) -> Seal:
        """Return the seal; both sides derive the same one if they mean the same transfer and hold the same fleet key.

        Args:
            other: the other side's public key, in hexadecimal.
            fleet_key: the fleet's, or ``OPEN``.
            request: as the receiver sent it.
            offer: as the sender sent it.

        Raises:
            TransferError: ``BAD_SEAL`` for a key of small order, which gives no secret, or an unknown cipher.
        """
        if offer.cipher not in CIPHERS:
            raise TransferError(Code.BAD_SEAL, f"The offer is sealed with {offer.cipher!r}, which is not known here.")
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(bytes.fromhex(other)))
        except ValueError:
            raise TransferError(Code.BAD_SEAL, "The other cart's transfer key gives no secret.") from None
        said = hashlib.sha256(request_statement(request) + offer_statement(offer)).digest()
        return Seal(offer.cipher, derive(shared, sealing_secret(fleet_key), _CHUNKS_INFO + said), offer.total_bytes)


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
