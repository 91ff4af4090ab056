"""The bytes that carts sign of requests and offers, in both versions, and the checks of those signatures. Pure."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Final, TypeVar

from cart_common.wire.identity import Identity, cart_id_of, signature_is_valid
from cart_common.wire.messages import Code, ModelParameters, ModelRequest, SealedOffer

from .assembly import TransferError

UNSIGNED: Final = "00" * 64
SomeOffer = TypeVar("SomeOffer", SealedOffer, ModelParameters)

_CHUNK: Final = struct.Struct("!I")
_OFFER_V1: Final = struct.Struct("!QIIQQd")
_REQUEST: Final = struct.Struct("!II")
_OFFER: Final = struct.Struct("!QII")


def request_statement_v1(message: ModelRequest) -> bytes:
    """Return the bytes that the receiver signs for a peer of version 1."""
    return b"cart-request-v1\0" + _request_ids(message) + _CHUNK.pack(message.max_chunk_bytes)


def request_statement(message: ModelRequest) -> bytes:
    """Return the bytes that the receiver signs: everything in its request."""
    numbers = _REQUEST.pack(message.max_chunk_bytes, message.key_epoch)
    return b"cart-request-v2\0" + _request_ids(message) + numbers + bytes.fromhex(message.terms)


def offer_statement(message: SealedOffer | ModelParameters) -> bytes:
    """Return the bytes that the sender signs: everything in its offer."""
    if isinstance(message, ModelParameters):
        return _offer_statement_v1(message)
    ids = _joined(message.transfer, message.source, message.destination, message.key)
    numbers = _OFFER.pack(message.total_bytes, message.chunk_bytes, message.key_epoch)
    return b"cart-offer-v2\0" + ids + numbers + bytes.fromhex(message.terms)


def signed_request(identity: Identity, message: ModelRequest) -> ModelRequest:
    """Return the request with this cart's signatures, of which a peer takes the one of its version."""
    old, new = (identity.sign(statement(message)).hex() for statement in (request_statement_v1, request_statement))
    return replace(message, signature=old, terms_signature=new)


def signed_offer(identity: Identity, message: SomeOffer) -> SomeOffer:
    """Return the offer with this cart's signature."""
    return replace(message, signature=identity.sign(offer_statement(message)).hex())


def check_signer(message: ModelRequest | SealedOffer | ModelParameters) -> None:
    """Check that the cart that a request or offer names as its source has signed it.

    Raises:
        TransferError: ``BAD_SIGNATURE`` if it has not.
    """
    signature = message.signature
    if not isinstance(message, ModelRequest):
        statement = offer_statement(message)
    elif message.terms:
        statement, signature = request_statement(message), message.terms_signature
    else:
        statement = request_statement_v1(message)
    public_key = bytes.fromhex(message.public_key)
    named = cart_id_of(public_key).hex() == message.source
    if not named or not signature_is_valid(public_key, bytes.fromhex(signature), statement):
        raise TransferError(Code.BAD_SIGNATURE, f"This {message.KIND} is not signed by the cart {message.source[:8]}.")


def _offer_statement_v1(message: ModelParameters) -> bytes:
    numbers = _OFFER_V1.pack(
        message.total_bytes,
        message.chunk_bytes,
        message.chunks,
        message.model_version,
        message.samples,
        message.accuracy,
    )
    ids = (message.transfer, message.source, message.destination, message.digest, message.model_signature, message.key)
    texts = [text.encode() for text in (message.codec, message.cipher)]
    named = b"".join(len(text).to_bytes(2, "big") + text for text in texts)
    return b"cart-offer-v1\0" + _joined(*ids) + numbers + named


def _request_ids(message: ModelRequest) -> bytes:
    return _joined(message.transfer, message.cluster, message.source, message.destination, message.key)


def _joined(*parts: str) -> bytes:
    return b"".join(bytes.fromhex(part) for part in parts)
