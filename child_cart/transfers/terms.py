"""What carts tell only each other of a transfer: the terms of a request and of an offer, as JSON and back. Pure.

``docs/protocol.md`` says how they are sealed. A cart of version 0.1 has no terms: it asks for and offers what
``VERSION_1`` says, in the clear.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Final, TypeVar

from cart_common.wire.fields import count_field, hex_field, text_field, texts_field
from cart_common.wire.json_objects import declared_values, json_text, json_value
from cart_common.wire.messages import Code

from .assembly import TransferError

TRANSFER_VERSION: Final = 2
"""Of what carts say to each other."""
MODEL: Final = "model"
KINDS_GIVEN: Final = (MODEL,)
VERSION_1_CODEC: Final = "pickle5"
"""The only codec that version 1 names: of arrays in single or half precision."""
MAX_NAME_CHARS: Final = 32
MAX_CODECS: Final = 16


@dataclass(frozen=True)
class RequestTerms:
    """What a receiver asks for: the newest version that it speaks, the kind, and the codecs that it reads."""

    version: int = count_field(2)
    kind: str = text_field(MAX_NAME_CHARS)
    codecs: tuple[str, ...] = texts_field(MAX_CODECS, MAX_NAME_CHARS)


@dataclass(frozen=True)
class OfferTerms:
    """What a sender offers, beside the numbers that the bridge needs."""

    version: int = count_field(2)
    kind: str = text_field(MAX_NAME_CHARS)
    codec: str = text_field(MAX_NAME_CHARS)
    digest: str = hex_field(32)
    model_signature: str = hex_field(16)
    model_version: int = count_field()
    cipher: str = text_field(MAX_NAME_CHARS)
    samples: int | None = count_field(1, default=None)
    """A power of two, at most the rows that the model was trained on; None where the fleet does not tell them."""


VERSION_1: Final = RequestTerms(1, MODEL, ("float32", "float16"))
"""What a request without terms asks for."""
Terms = TypeVar("Terms", RequestTerms, OfferTerms)


def encode_terms(terms: RequestTerms | OfferTerms) -> bytes:
    """Return the JSON text of terms."""
    return json_text({name: value for name, value in asdict(terms).items() if value is not None}).encode()


def parse_terms(kind: type[Terms], data: bytes) -> Terms:
    """Return the terms that a peer has sent.

    Raises:
        TransferError: ``BAD_MESSAGE`` if they are no JSON object, or a field is missing or wrong.
    """
    said = f"The sealed part of the {'request' if kind is RequestTerms else 'offer'}"
    try:
        body = json_value(data.decode())
        if not isinstance(body, dict):
            raise ValueError("is no JSON object")
        return kind(**declared_values(fields(kind), body))
    except UnicodeDecodeError:
        raise TransferError(Code.BAD_MESSAGE, f"{said} is not UTF-8.") from None
    except ValueError as error:
        raise TransferError(Code.BAD_MESSAGE, f"{said} {error}.") from None
