"""Two carts agree on what is sent: in the newest version that both speak, whatever a third one says in between."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from support.odd_values import ODD

from cart_common.wire.chunk import HEADER_BYTES, ChunkHeader, unpack_header
from cart_common.wire.fields import MAX_COUNT
from cart_common.wire.fleet_key import new_key
from cart_common.wire.identity import Identity
from cart_common.wire.messages import MAX_TERMS_BYTES, Code, ModelParameters, ModelRequest, SealedOffer, encode, parse
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.negotiation import Agreement
from child_cart.transfers.offer import Offer
from child_cart.transfers.sealing import AES, CHACHA, open_terms, request_terms_key, seal_terms
from child_cart.transfers.statements import signed_request
from child_cart.transfers.terms import (
    MAX_CODECS,
    VERSION_1,
    OfferTerms,
    RequestTerms,
    encode_terms,
    parse_terms,
)

OF_0_1_0 = Path(__file__).parents[1] / "data/transfer-0.1.0.json"
TAKER, GIVER = Identity.generate(), Identity.generate()
FLEET_KEY = new_key()
TRANSFER, CLUSTER = "01" * 16, "02" * 16
ASKED = RequestTerms(2, "model", ("float16", "float32"))

names = st.text(max_size=32).filter(str.isprintable)
versions = st.integers(2, MAX_COUNT)
codec_lists = st.lists(names, min_size=1, max_size=MAX_CODECS).map(tuple)
# Any of these have room in a message.
ascii_names = st.text(st.characters(codec="ascii", categories=["L", "N", "Zs"]), max_size=32)
ascii_codecs = st.lists(ascii_names, min_size=1, max_size=MAX_CODECS).map(tuple)
requests_terms = st.builds(RequestTerms, versions, names, codec_lists)
offers_terms = st.builds(
    *(OfferTerms, versions, names, names, st.binary(min_size=32, max_size=32).map(bytes.hex)),
    *(st.binary(min_size=16, max_size=16).map(bytes.hex), st.integers(0, MAX_COUNT), names),
    st.none() | st.integers(1, MAX_COUNT),
)
json_values = st.sampled_from(ODD) | st.lists(st.integers() | st.text(max_size=40), max_size=40)


class Pair:
    """Both sides of a transfer, and the request of one."""

    def __init__(self, asked: RequestTerms = ASKED, least_version: int = 1) -> None:
        self.asked = asked
        self.taker = Agreement(TAKER, FLEET_KEY, least_version)
        self.giver = Agreement(GIVER, FLEET_KEY, least_version)
        self.request = over_a_bridge(self.taker.request(TRANSFER, CLUSTER, GIVER.cart_id.hex(), 131072, asked))

    def offer(self, version: int, **other: Any) -> Offer:
        ends = (TRANSFER, GIVER.cart_id.hex(), TAKER.cart_id.hex())
        model = ("model", "float16", "03" * 32, "04" * 16, 7)
        return replace(Offer(version, *ends, 2304, 1024, 3, *model, cipher=CHACHA), **other)

    def accepted(self, answer: SealedOffer | ModelParameters) -> Offer:
        return self.taker.accept(answer, self.request, self.asked)[0]


def over_a_bridge(message: Any) -> Any:
    return parse(encode(message))


def without_terms(request: ModelRequest) -> ModelRequest:
    """Return what a bridge of version 0.1.0 passes on of a request."""
    return replace(request, key_epoch=0, terms="", terms_signature="")


def with_terms(request: ModelRequest, terms: object) -> ModelRequest:
    """Return the request with other terms, well sealed and well signed."""
    data = terms if isinstance(terms, bytes) else json.dumps(terms).encode()
    return signed_request(TAKER, replace(request, terms=seal_terms(request_terms_key(FLEET_KEY, request.key), data)))


def code_of(call: Any, *given: Any) -> Code:
    with pytest.raises(TransferError) as caught:
        call(*given)
    assert caught.value.sentence.isprintable()
    return caught.value.code


def open_frame(seal: Any, frame: bytes) -> bytes:
    return bytes(seal.open(unpack_header(frame), memoryview(frame)[HEADER_BYTES:]))


# What is agreed.


@pytest.mark.parametrize("cipher", [AES, CHACHA])
@given(samples=st.none() | st.integers(1, MAX_COUNT), codecs=ascii_codecs, model_version=st.integers(0, MAX_COUNT))
def test_both_carts_mean_the_same(
    cipher: str, samples: int | None, codecs: tuple[str, ...], model_version: int
) -> None:
    pair = Pair(RequestTerms(2, "model", codecs))
    assert pair.giver.read(pair.request) == pair.asked
    given = pair.offer(2, cipher=cipher, samples=samples, codec=codecs[0], model_version=model_version)
    message, given_seal = pair.giver.offer(given, pair.request)
    assert isinstance(message, SealedOffer)
    offer, seal = pair.taker.accept(over_a_bridge(message), pair.request, pair.asked)
    assert offer == given
    header = ChunkHeader(GIVER.cart_id, TAKER.cart_id, bytes.fromhex(TRANSFER), 0, False)
    assert open_frame(seal, given_seal.frame(header, memoryview(b"weights"))) == b"weights"


def test_a_bridge_reads_nothing_of_an_offer_but_its_size_and_its_carts() -> None:
    pair = Pair()
    said = encode(pair.giver.offer(pair.offer(2, samples=4096), pair.request)[0])
    assert set(json.loads(said)) == {
        *("type", "transfer", "source", "destination", "total_bytes", "chunk_bytes"),
        *("key", "public_key", "signature", "key_epoch", "terms"),
    }
    assert not any(word in said for word in ("03" * 32, "04" * 16, "float16", "4096", "accuracy"))


def test_a_request_of_a_later_version_is_answered_in_this_one() -> None:
    for later in (3, MAX_COUNT):
        pair = Pair(RequestTerms(later, "model", ("float16", "wavelet")))
        assert pair.giver.read(pair.request) == replace(pair.asked, version=2)
        message, _ = pair.giver.offer(pair.offer(2), pair.request)
        assert pair.accepted(message).version == 2


def test_what_a_later_version_adds_is_passed_over() -> None:
    pair = Pair()
    request = with_terms(pair.request, {"version": 3, "kind": "model", "codecs": ["x"], "revoked": [1, {"a": None}]})
    assert pair.giver.read(request) == RequestTerms(2, "model", ("x",))


@given(requests_terms | offers_terms)
def test_terms_come_out_as_they_went_in(terms: RequestTerms | OfferTerms) -> None:
    assert parse_terms(type(terms), encode_terms(terms)) == terms


def test_the_longest_terms_have_room_in_a_message() -> None:
    longest = "\U0001f6d2" * 32
    offer = OfferTerms(MAX_COUNT, longest, longest, "03" * 32, "04" * 16, MAX_COUNT, longest, MAX_COUNT)
    pair = Pair(RequestTerms(2, "model", tuple(f"codec-of-thirty-two-letters-{n:04}" for n in range(MAX_CODECS))))
    assert pair.giver.read(pair.request) == pair.asked
    assert len(encode_terms(offer)) < MAX_TERMS_BYTES - 16


# What is wrong.


@pytest.mark.parametrize("kind", ["report", "", "Model", "mödel", "model "])
def test_an_unknown_kind_is_refused_by_name(kind: str) -> None:
    pair = Pair(replace(ASKED, kind=kind))
    assert code_of(pair.giver.read, pair.request) is Code.UNKNOWN_KIND


@pytest.mark.parametrize(
    "wrong",
    [
        *({"codecs": codecs} for codecs in ([], "float32", None, [1], [["a"]], ["x"] * 17, ["x" * 33], ["a\n"], {})),
        *({"version": version} for version in (1, 0, -2, 2.0, "2", True, None, MAX_COUNT + 1)),
        *({"kind": kind} for kind in (None, 7, ["model"], "x" * 33, "two\nlines")),
    ],
)
def test_wrong_terms_are_refused_by_name(wrong: dict[str, object]) -> None:
    pair = Pair()
    terms = {"version": 2, "kind": "model", "codecs": ["float32"], **wrong}
    assert code_of(pair.giver.read, with_terms(pair.request, terms)) is Code.BAD_MESSAGE
    del terms[next(iter(wrong))]
    assert code_of(pair.giver.read, with_terms(pair.request, terms)) is Code.BAD_MESSAGE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"7",
        b"null",
        b'{"version":NaN}',
        b"[" * 2000,
        b'{"version":' + b"9" * 1900 + b"}",
        b"{" * 9,
    ],
)
def test_what_is_no_object_is_refused(data: bytes) -> None:
    pair = Pair()
    assert code_of(pair.giver.read, with_terms(pair.request, data)) is Code.BAD_MESSAGE


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_are_terms_or_a_transfer_error(data: bytes) -> None:
    for kind in (RequestTerms, OfferTerms):
        try:
            parse_terms(kind, data)
        except TransferError as error:
            assert error.code is Code.BAD_MESSAGE
            assert error.sentence.isprintable()


@given(requests_terms | offers_terms, st.data())
def test_changed_terms_are_terms_or_a_transfer_error(terms: RequestTerms | OfferTerms, data: st.DataObject) -> None:
    body = json.loads(encode_terms(terms))
    key = data.draw(st.sampled_from(sorted(body)))
    body[key] = data.draw(json_values)
    try:
        again = parse_terms(type(terms), json.dumps(body).encode())
    except TransferError as error:
        assert error.code is Code.BAD_MESSAGE
        assert key in error.sentence
        return
    assert parse_terms(type(again), encode_terms(again)) == again


def test_another_fleets_request_does_not_open() -> None:
    pair = Pair()
    stranger = Agreement(GIVER, new_key())
    assert code_of(stranger.read, pair.request) is Code.BAD_SEAL


def test_another_key_epoch_is_refused() -> None:
    pair = Pair()
    later = signed_request(TAKER, replace(pair.request, key_epoch=1))
    assert code_of(pair.giver.read, later) is Code.BAD_SEAL
    message, _ = pair.giver.offer(pair.offer(2), pair.request)
    assert isinstance(message, SealedOffer)
    assert code_of(pair.accepted, replace(message, key_epoch=1)) is Code.BAD_SIGNATURE


@pytest.mark.parametrize("wrong", [{"version": 3}, {"kind": "report"}])
def test_an_answer_to_something_else_is_refused(wrong: dict[str, Any]) -> None:
    pair = Pair()
    message, _ = pair.giver.offer(replace(pair.offer(2), **wrong), pair.request)
    assert code_of(pair.accepted, message) is Code.BAD_OFFER


def test_an_answer_to_another_request_does_not_open() -> None:
    pair = Pair()
    other = pair.taker.request(TRANSFER, CLUSTER, GIVER.cart_id.hex(), 131072, replace(ASKED, codecs=("float32",)))
    message, _ = pair.giver.offer(pair.offer(2), other)
    assert code_of(pair.accepted, message) is Code.BAD_SEAL


# Version 1.


def test_a_request_without_terms_is_answered_in_version_1_which_says_no_accuracy_and_no_samples() -> None:
    pair = Pair()
    old_request = without_terms(pair.request)
    assert pair.giver.read(old_request) == VERSION_1
    message, given_seal = pair.giver.offer(pair.offer(1, samples=4096), old_request)
    assert isinstance(message, ModelParameters)
    assert (message.samples, message.accuracy, message.codec) == (0, 0.0, "pickle5")
    offer, seal = pair.taker.accept(over_a_bridge(message), pair.request, pair.asked)
    assert offer == pair.offer(1, codec="pickle5")
    header = ChunkHeader(GIVER.cart_id, TAKER.cart_id, bytes.fromhex(TRANSFER), 0, False)
    assert open_frame(seal, given_seal.frame(header, memoryview(b"weights"))) == b"weights"


def test_version_1_is_refused_where_it_is_told() -> None:
    pair, strict = Pair(), Pair(least_version=2)
    assert code_of(strict.giver.read, without_terms(strict.request)) is Code.WRONG_VERSION
    assert strict.giver.read(strict.request) == ASKED
    message, _ = pair.giver.offer(pair.offer(1), without_terms(strict.request))
    assert code_of(strict.accepted, message) is Code.WRONG_VERSION


def test_the_terms_of_a_request_are_not_replaced_in_part() -> None:
    """A bridge can take terms away as a whole; less than that is a wrong signature."""
    pair = Pair()
    other = seal_terms(request_terms_key(FLEET_KEY, pair.request.key), encode_terms(VERSION_1))
    for forged in (replace(pair.request, terms=other), replace(pair.request, terms_signature="")):
        assert code_of(pair.giver.read, forged) is Code.BAD_SIGNATURE


class Recorded:
    """A transfer as carts of version 0.1.0 made it: ``tests/data/transfer-0.1.0.json``."""

    def __init__(self) -> None:
        self.body = json.loads(OF_0_1_0.read_text())
        self.request, self.offer = (parse(self.body[name]) for name in ("request", "offer"))
        self.frames = [bytes.fromhex(frame) for frame in self.body["frames"]]

    def side(self, identity: Identity, key: str) -> Agreement:
        agreement = Agreement(identity, bytes.fromhex(self.body["fleet_key"]))
        agreement._key._private = X25519PrivateKey.from_private_bytes(bytes.fromhex(self.body[key]))
        return agreement


def test_what_a_cart_of_0_1_0_has_sent_is_taken() -> None:
    recorded = Recorded()
    assert isinstance(recorded.offer, ModelParameters)
    assert isinstance(recorded.request, ModelRequest)
    assert (recorded.offer.samples, recorded.offer.accuracy) == (345, 0.75)
    taker = recorded.side(TAKER, "taker_key")
    offer, seal = taker.accept(recorded.offer, recorded.request, ASKED)
    assert (offer.version, offer.codec, offer.model_version, offer.samples) == (1, "pickle5", 7, None)
    assert b"".join(open_frame(seal, frame) for frame in recorded.frames) == bytes(range(256)) * 9


def test_a_cart_of_0_1_0_that_asks_is_answered() -> None:
    recorded = Recorded()
    assert isinstance(recorded.request, ModelRequest)
    giver = recorded.side(GIVER, "giver_key")
    assert giver.read(recorded.request) == VERSION_1
    assert not json.loads(recorded.body["request"]).keys() & {"terms", "key_epoch", "terms_signature"}


def test_the_terms_of_a_request_tell_the_version_the_kind_and_the_codecs_alone() -> None:
    pair = Pair()
    opened = open_terms(request_terms_key(FLEET_KEY, pair.request.key), pair.request.terms)
    assert json.loads(opened) == {"version": 2, "kind": "model", "codecs": ["float16", "float32"]}
