"""Seals: one cart closes, the other opens, and nothing between them can read or change a bit."""

from __future__ import annotations

import re
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.chunk import DEFAULT_CHUNK_BYTES, HEADER_BYTES, SEAL_BYTES, ChunkHeader, unpack_header
from cart_common.wire.fleet_key import (
    OPEN,
    FleetKeyError,
    Secret,
    as_text,
    bridge_token,
    new_key,
    parse_key,
    read_key,
    sealing_secret,
)
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Code, ModelParameters, ModelRequest, SealedOffer
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.sealing import (
    AES,
    CHACHA,
    Seal,
    TransferKey,
    best_cipher,
    open_terms,
    request_terms_key,
    seal_terms,
)
from child_cart.transfers.statements import (
    UNSIGNED,
    check_signer,
    offer_statement,
    request_statement,
    signed_offer,
    signed_request,
)

TAKER, GIVER, STRANGER = Identity.generate(), Identity.generate(), Identity.generate()


class Pair:
    """Both sides of one transfer, up to the offer."""

    def __init__(self, cipher: str = AES) -> None:
        self.taker_key, self.giver_key, self.cipher = TransferKey(), TransferKey(), cipher
        self.request = signed_request(
            TAKER,
            ModelRequest(
                *("01" * 16, "02" * 16, TAKER.cart_id.hex(), GIVER.cart_id.hex()),
                *(self.taker_key.public, TAKER.public_key.hex(), UNSIGNED, DEFAULT_CHUNK_BYTES, 0, "05" * 40),
            ),
        )
        ends = ("01" * 16, GIVER.cart_id.hex(), TAKER.cart_id.hex(), 1000, 1024)
        mine = (self.giver_key.public, GIVER.public_key.hex(), UNSIGNED)
        self.offer = signed_offer(GIVER, SealedOffer(*ends, *mine, 0, "06" * 40))
        chunks, kind = (1, "03" * 32, "raw", "04" * 16), (7, 0, 0.0, cipher)
        self.old_offer = signed_offer(GIVER, ModelParameters(*ends, *chunks, *kind, *mine))

    def giver_seal(self, fleet_key: bytes = OPEN) -> Seal:
        secret = self.giver_key.agree(self.request.key, fleet_key)
        return secret.seal(request_statement(self.request), offer_statement(self.offer), self.cipher, 1000)

    def taker_seal(self, fleet_key: bytes = OPEN, **altered: Any) -> Seal:
        offer = replace(self.offer, **altered)
        secret = self.taker_key.agree(offer.key, fleet_key)
        said = request_statement(self.request), offer_statement(offer)
        return secret.seal(*said, self.cipher, offer.total_bytes)


def chunk_header(sequence: int = 0, final: bool = False, **other: bytes) -> ChunkHeader:
    ids = {"source": GIVER.cart_id, "destination": TAKER.cart_id, "transfer": b"\1" * 16, **other}
    return ChunkHeader(sequence=sequence, final=final, **ids)


def opened(seal: Seal, frame: bytes) -> bytes:
    return seal.open(unpack_header(frame), memoryview(frame)[HEADER_BYTES:])


@pytest.mark.parametrize("cipher", [AES, CHACHA])
@given(payload=st.binary(min_size=1, max_size=500), sequence=st.integers(0, 2**32 - 1), final=st.booleans())
def test_what_is_sealed_is_opened(cipher: str, payload: bytes, sequence: int, final: bool) -> None:
    pair, key = Pair(cipher), new_key()
    frame = pair.giver_seal(key).frame(chunk_header(sequence, final), memoryview(payload))
    assert len(frame) == HEADER_BYTES + len(payload) + SEAL_BYTES
    assert opened(pair.taker_seal(key), frame) == payload


@given(st.data())
def test_any_changed_bit_of_header_payload_or_tag_is_found(data: st.DataObject) -> None:
    pair = Pair()
    frame = bytearray(pair.giver_seal().frame(chunk_header(5), memoryview(b"weights" * 20)))
    frame[data.draw(st.integers(3, len(frame) - 1).filter(lambda at: at != 3))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(TransferError) as caught:
        opened(pair.taker_seal(), bytes(frame))
    assert caught.value.code is Code.BAD_SEAL


@pytest.mark.parametrize(
    "other",
    [{"source": b"x" * 16}, {"destination": b"x" * 16}, {"transfer": b"x" * 16}, {"sequence": 6}, {"final": True}],
)
def test_a_chunk_at_another_place_does_not_open(other: dict[str, object]) -> None:
    pair = Pair()
    frame = pair.giver_seal().frame(chunk_header(5), memoryview(b"weights"))
    moved = pair.giver_seal().frame(chunk_header(**{"sequence": 5, **other}), memoryview(b"weights"))
    spliced = moved[:HEADER_BYTES] + frame[HEADER_BYTES:]
    with pytest.raises(TransferError, match="is not as the other cart sealed it"):
        opened(pair.taker_seal(), spliced)


def changed(value: object) -> object:
    """Return another value that the same field may hold."""
    if isinstance(value, str):
        return "ab" * (len(value) // 2)
    return value + 1 if isinstance(value, int) else 0.5


@pytest.mark.parametrize("name", [entry.name for entry in fields(SealedOffer)])
def test_an_offer_with_any_changed_word_is_refused(name: str) -> None:
    offer = Pair().offer
    with pytest.raises(TransferError) as caught:
        check_signer(replace(offer, **{name: changed(getattr(offer, name))}))
    assert caught.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("name", [entry.name for entry in fields(ModelParameters)])
def test_an_offer_of_version_1_with_any_changed_word_is_refused(name: str) -> None:
    offer = Pair().old_offer
    check_signer(offer)
    with pytest.raises(TransferError) as caught:
        check_signer(replace(offer, **{name: changed(getattr(offer, name))}))
    assert caught.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("name", [entry.name for entry in fields(ModelRequest) if entry.name != "signature"])
def test_a_request_with_any_changed_word_is_refused(name: str) -> None:
    request = Pair().request
    with pytest.raises(TransferError) as caught:
        check_signer(replace(request, **{name: changed(getattr(request, name))}))
    assert caught.value.code is Code.BAD_SIGNATURE


@pytest.mark.parametrize("name", [entry.name for entry in fields(ModelRequest)][:8])
def test_a_request_without_terms_with_any_changed_word_is_refused(name: str) -> None:
    request = replace(Pair().request, terms="", terms_signature="")
    check_signer(request)
    with pytest.raises(TransferError) as caught:
        check_signer(replace(request, **{name: changed(getattr(request, name))}))
    assert caught.value.code is Code.BAD_SIGNATURE


def test_nobody_answers_in_another_carts_name() -> None:
    pair = Pair()
    forged = replace(pair.offer, public_key=STRANGER.public_key.hex())
    with pytest.raises(TransferError, match="not signed by the cart"):
        check_signer(signed_offer(STRANGER, forged))  # a right signature, by a key that is not the source's
    check_signer(pair.offer)
    check_signer(pair.request)


def test_keys_that_were_swapped_on_the_way_open_nothing() -> None:
    pair, bridge = Pair(), TransferKey()
    said = request_statement(pair.request), offer_statement(replace(pair.offer, key=bridge.public))
    frame = bridge.agree(pair.request.key, OPEN).seal(*said, AES, 1000).frame(chunk_header(), memoryview(b"poison"))
    with pytest.raises(TransferError, match="is not as the other cart sealed it"):
        opened(pair.taker_seal(), frame)


def test_terms_that_were_changed_on_the_way_open_nothing() -> None:
    pair = Pair()
    frame = pair.giver_seal().frame(chunk_header(), memoryview(b"weights"))
    for altered in ({"terms": "07" * 40}, {"key_epoch": 1}, {"total_bytes": 1001}, {"chunk_bytes": 1025}):
        with pytest.raises(TransferError):
            opened(pair.taker_seal(**altered), frame)


@given(st.binary(max_size=300), st.data())
def test_terms_are_opened_by_their_key_and_in_no_other_form(terms: bytes, data: st.DataObject) -> None:
    key = request_terms_key(new_key(), "11" * 32)
    sealed = seal_terms(key, terms)
    assert open_terms(key, sealed) == terms
    altered = bytearray.fromhex(sealed)
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    cut = sealed[: 2 * data.draw(st.integers(0, len(altered) - 1))]
    other = seal_terms(request_terms_key(OPEN, "11" * 32), terms)
    for wrong in (altered.hex(), cut, other):
        with pytest.raises(TransferError, match="do not open") as caught:
            open_terms(key, wrong)
        assert caught.value.code is Code.BAD_SEAL


def test_terms_of_an_offer_open_for_its_two_carts_and_its_request_alone() -> None:
    pair, said = Pair(), request_statement(Pair().request)
    key = pair.giver_key.agree(pair.taker_key.public, OPEN).offer_terms_key(said)
    assert pair.taker_key.agree(pair.giver_key.public, OPEN).offer_terms_key(said) == key
    others = (
        TransferKey().agree(pair.giver_key.public, OPEN).offer_terms_key(said),
        pair.taker_key.agree(pair.giver_key.public, new_key()).offer_terms_key(said),
        pair.taker_key.agree(pair.giver_key.public, OPEN).offer_terms_key(said + b"0"),
    )
    assert key not in others


def test_another_fleets_key_opens_nothing() -> None:
    pair, key = Pair(), new_key()
    frame = pair.giver_seal(key).frame(chunk_header(), memoryview(b"weights"))
    for other in (OPEN, new_key(), bridge_token(key)):
        with pytest.raises(TransferError, match="is not as the other cart sealed it"):
            opened(pair.taker_seal(other), frame)


def test_a_key_of_small_order_and_an_unknown_cipher_are_refused() -> None:
    for pair, altered in ((Pair(), {"key": "00" * 32}), (Pair("rot13"), {})):
        with pytest.raises(TransferError) as caught:
            pair.taker_seal(**altered)
        assert caught.value.code is Code.BAD_SEAL


def test_no_two_chunks_or_transfers_are_sealed_alike() -> None:
    frames = [
        bytes(pair.giver_seal().frame(chunk_header(number), memoryview(bytes(64)))[HEADER_BYTES:])
        for pair in (Pair(), Pair())
        for number in range(3)
    ]
    assert len(set(frames)) == len(frames)


@pytest.mark.parametrize(
    ("flags", "cipher"),
    [("flags : fpu aes sse2", AES), ("Features : fp asimd aes", AES), ("flags : fpu", CHACHA), ("", CHACHA)],
)
def test_the_faster_cipher_is_taken(flags: str, cipher: str) -> None:
    assert best_cipher(flags) == cipher


def test_keys_as_text(tmp_path) -> None:
    key = new_key()
    text = as_text(key, Secret.FLEET_KEY)
    assert re.fullmatch("fleet-key:[A-Za-z0-9_-]{43}", text)
    bare = text.removeprefix("fleet-key:")  # as earlier versions wrote it
    assert parse_key(f" {text}\n", Secret.FLEET_KEY) == parse_key(bare, Secret.FLEET_KEY) == key
    token = as_text(bridge_token(key), Secret.BRIDGE_TOKEN)
    assert parse_key(token, Secret.BRIDGE_TOKEN) == bridge_token(key)
    for wrong, kind in ((text, Secret.BRIDGE_TOKEN), (token, Secret.FLEET_KEY)):
        with pytest.raises(FleetKeyError, match=f"it holds a .*, where a {kind} belongs"):
            parse_key(wrong, kind)
    assert len({key, bridge_token(key), sealing_secret(key), sealing_secret(bridge_token(key))}) == 4
    path = tmp_path / "key"
    path.write_text(text + "\n")
    assert read_key(path, Secret.FLEET_KEY) == key
    for wrong in (
        "",
        text[:-1],
        text + "A",
        "!" * 43,
        "ä" * 43,
        text[:-1] + "_x",
        f"key:{bare}",
        f":{text}",
        f"{text}:{bare}",
    ):
        with pytest.raises(FleetKeyError) as caught:
            parse_key(wrong, Secret.FLEET_KEY)
        assert not wrong or wrong not in str(caught.value)
    with pytest.raises(FleetKeyError, match="cannot be read"):
        read_key(tmp_path / "none", Secret.FLEET_KEY)
    path.write_bytes(b"\xff" * 50)
    with pytest.raises(FleetKeyError, match="cannot be read"):
        read_key(path, Secret.FLEET_KEY)
