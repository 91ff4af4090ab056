"""Requests and offers whose keys and signatures mean nothing, for tests of those who do not look at them."""

from typing import Any

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES
from cart_common.wire.messages import ModelRequest, SealedOffer
from child_cart.transfers.statements import UNSIGNED

NO_KEY = "00" * 32


def model_request(transfer: str, cluster: str, source: str, destination: str) -> ModelRequest:
    return ModelRequest(transfer, cluster, source, destination, NO_KEY, NO_KEY, UNSIGNED, DEFAULT_CHUNK_BYTES)


def sealed_offer(*given: Any, **named: Any) -> SealedOffer:
    unsigned = {"key": NO_KEY, "public_key": NO_KEY, "signature": UNSIGNED, "key_epoch": 0, "terms": "00" * 40}
    return SealedOffer(*given, **named, **unsigned)
