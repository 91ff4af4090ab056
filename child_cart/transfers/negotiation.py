"""How two carts agree on a transfer: the newest version that both speak, and what is sent in it. No I/O.

A request bears the signature of version 1 beside its terms, so a cart of 0.1 answers it in its own words; a request
without terms is answered in those. Of a bridge's words nothing is believed: see ``docs/threats.md``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cart_common.wire.identity import Identity
from cart_common.wire.messages import Code, ModelParameters, ModelRequest, SealedOffer

from .assembly import TransferError, chunk_count
from .offer import Offer
from .sealing import Seal, TransferKey, open_terms, request_terms_key, seal_terms
from .statements import (
    UNSIGNED,
    check_signer,
    offer_statement,
    request_statement,
    request_statement_v1,
    signed_offer,
    signed_request,
)
from .terms import (
    KINDS_GIVEN,
    TRANSFER_VERSION,
    VERSION_1,
    VERSION_1_CODEC,
    OfferTerms,
    RequestTerms,
    encode_terms,
    parse_terms,
)

KEY_EPOCH: Final = 0
"""The epoch of the fleet key that this cart holds; there is one today."""


class Agreement:
    """One side of a transfer until both know what is sent.

    Args:
        identity: this cart's key pair.
        fleet_key: the fleet's, or ``OPEN``.
        least_version: the oldest version that it speaks.
    """

    def __init__(self, identity: Identity, fleet_key: bytes, least_version: int = 1) -> None:
        self._identity = identity
        self._fleet_key = fleet_key
        self._least_version = least_version
        self._key = TransferKey()

    # The receiver.

    def request(
        self, transfer: str, cluster: str, peer: str, max_chunk_bytes: int, terms: RequestTerms
    ) -> ModelRequest:
        """Return the request to a peer as it is sent: with its sealed terms, and the signatures of both versions."""
        unsigned = ModelRequest(
            transfer=transfer,
            cluster=cluster,
            source=self._identity.cart_id.hex(),
            destination=peer,
            key=self._key.public,
            public_key=self._identity.public_key.hex(),
            signature=UNSIGNED,
            max_chunk_bytes=max_chunk_bytes,
            key_epoch=KEY_EPOCH,
            terms=seal_terms(request_terms_key(self._fleet_key, self._key.public), encode_terms(terms)),
        )
        return signed_request(self._identity, unsigned)

    def accept(
        self, answer: SealedOffer | ModelParameters, request: ModelRequest, asked: RequestTerms
    ) -> tuple[Offer, Seal]:
        """Return what a peer has answered to a request, and the seal of its chunks.

        Raises:
            TransferError: if the answer is not the peer's, not for this request, or in a version that is not spoken.
        """
        check_signer(answer)
        secret = self._key.agree(answer.key, self._fleet_key)
        if isinstance(answer, ModelParameters):
            self._check_version(1)
            offer, said = _offer_of_v1(answer), request_statement_v1(request)
        else:
            _check_epoch(answer)
            said = request_statement(request)
            terms = parse_terms(OfferTerms, open_terms(secret.offer_terms_key(said), answer.terms))
            _check_answers(terms, asked)
            offer = _offer_of(answer, terms)
        return offer, secret.seal(said, offer_statement(answer), offer.cipher, offer.total_bytes)

    # The sender.

    def read(self, request: ModelRequest) -> RequestTerms:
        """Return what a peer asks for, and in which version it is answered.

        Raises:
            TransferError: if the request is not the peer's, or for nothing that this cart gives.
        """
        check_signer(request)
        if not request.terms:
            self._check_version(1)
            return VERSION_1
        _check_epoch(request)
        opened = open_terms(request_terms_key(self._fleet_key, request.key), request.terms)
        terms = parse_terms(RequestTerms, opened)
        if terms.kind not in KINDS_GIVEN:
            known = ", ".join(KINDS_GIVEN)
            raise TransferError(Code.UNKNOWN_KIND, f"The request is for {terms.kind!a}; this cart gives: {known}.")
        return replace(terms, version=min(terms.version, TRANSFER_VERSION))

    def offer(self, offer: Offer, request: ModelRequest) -> tuple[SealedOffer | ModelParameters, Seal]:
        """Return the message that makes an offer in its version, and the seal of the chunks."""
        secret = self._key.agree(request.key, self._fleet_key)
        message: SealedOffer | ModelParameters
        if offer.version == 1:
            said = request_statement_v1(request)
            message = signed_offer(self._identity, self._message_v1(offer))
        else:
            said = request_statement(request)
            sealed = seal_terms(secret.offer_terms_key(said), encode_terms(_terms_of(offer)))
            message = signed_offer(self._identity, self._message(offer, sealed))
        return message, secret.seal(said, offer_statement(message), offer.cipher, offer.total_bytes)

    def _check_version(self, version: int) -> None:
        if version < self._least_version:
            raise TransferError(
                Code.WRONG_VERSION,
                f"The peer speaks version {version} of transfers; this cart speaks none before {self._least_version}.",
            )

    def _message(self, offer: Offer, terms: str) -> SealedOffer:
        return SealedOffer(
            transfer=offer.transfer,
            source=offer.source,
            destination=offer.destination,
            total_bytes=offer.total_bytes,
            chunk_bytes=offer.chunk_bytes,
            key=self._key.public,
            public_key=self._identity.public_key.hex(),
            signature=UNSIGNED,
            key_epoch=KEY_EPOCH,
            terms=terms,
        )

    def _message_v1(self, offer: Offer) -> ModelParameters:
        return ModelParameters(
            transfer=offer.transfer,
            source=offer.source,
            destination=offer.destination,
            total_bytes=offer.total_bytes,
            chunk_bytes=offer.chunk_bytes,
            chunks=offer.chunks,
            digest=offer.digest,
            codec=VERSION_1_CODEC,
            model_signature=offer.model_signature,
            model_version=offer.model_version,
            samples=0,  # version 1 says them in the clear, and has no way to leave them out
            accuracy=0.0,
            cipher=offer.cipher,
            key=self._key.public,
            public_key=self._identity.public_key.hex(),
            signature=UNSIGNED,
        )


def _terms_of(offer: Offer) -> OfferTerms:
    return OfferTerms(
        version=offer.version,
        kind=offer.kind,
        codec=offer.codec,
        digest=offer.digest,
        model_signature=offer.model_signature,
        model_version=offer.model_version,
        cipher=offer.cipher,
        samples=offer.samples,
    )


def _offer_of(message: SealedOffer, terms: OfferTerms) -> Offer:
    return Offer(
        version=terms.version,
        transfer=message.transfer,
        source=message.source,
        destination=message.destination,
        total_bytes=message.total_bytes,
        chunk_bytes=message.chunk_bytes,
        chunks=chunk_count(message.total_bytes, message.chunk_bytes),
        kind=terms.kind,
        codec=terms.codec,
        digest=terms.digest,
        model_signature=terms.model_signature,
        model_version=terms.model_version,
        cipher=terms.cipher,
        samples=terms.samples,
    )


def _offer_of_v1(message: ModelParameters) -> Offer:
    """Return the offer; what version 1 says of accuracy and samples is passed over."""
    return Offer(
        version=1,
        transfer=message.transfer,
        source=message.source,
        destination=message.destination,
        total_bytes=message.total_bytes,
        chunk_bytes=message.chunk_bytes,
        chunks=message.chunks,
        kind=VERSION_1.kind,
        codec=message.codec,
        digest=message.digest,
        model_signature=message.model_signature,
        model_version=message.model_version,
        cipher=message.cipher,
    )


def _check_answers(terms: OfferTerms, asked: RequestTerms) -> None:
    if terms.version > asked.version or terms.kind != asked.kind:
        raise TransferError(
            Code.BAD_OFFER,
            f"The offer is {terms.kind!a} in version {terms.version}; "
            f"the request was for {asked.kind!a}, in version {asked.version} at most.",
        )


def _check_epoch(message: ModelRequest | SealedOffer) -> None:
    if message.key_epoch != KEY_EPOCH:
        raise TransferError(
            Code.BAD_SEAL, f"This {message.KIND} is of key epoch {message.key_epoch}; this cart holds {KEY_EPOCH}."
        )
