"""Records: what was signed is read back, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.fleet_key import OPEN, bridge_token, new_key, record_tag
from cart_common.wire.identity import Identity
from cart_common.wire.messages import Role
from cart_common.wire.records import (
    BRIDGE_LIFE_S,
    MAX_RECORD_BYTES,
    MAX_SKEW_S,
    MOST_SIGNATURES,
    BridgeRecord,
    CartRecord,
    Record,
    RecordError,
    Refusal,
    check_record,
    claimed_time,
    is_bridge_url,
    make_bridge_record,
    make_cart_record,
    make_withdrawal,
    newest,
)

NOW = 1_800_000_000.5
TOKEN = bridge_token(new_key())
BRIDGE, CART = Identity.generate(), Identity.generate()
SIGNATURE = "ab" * 16


def bridge_record(**changed: Any) -> BridgeRecord:
    values: dict[str, Any] = {
        "url": "wss://bridge.example:9000",
        "carts": 7,
        "max_carts": 10_000,
        "shells": {SIGNATURE: 5},
        "sequence": 3,
        "now_s": NOW,
    }
    return make_bridge_record(changed.pop("identity", BRIDGE), changed.pop("token", TOKEN), **values | changed)


def cart_record(**changed: Any) -> CartRecord:
    values: dict[str, Any] = {
        "bridge_id": BRIDGE.cart_id.hex(),
        "bridge_url": "ws://10.0.0.1:9000",
        "role": Role.KERNEL,
        "model_signature": SIGNATURE,
        "sequence": 1,
        "now_s": NOW,
    }
    return make_cart_record(changed.pop("identity", CART), changed.pop("token", TOKEN), **values | changed)


def refusal_of(encoded: object, token: bytes | None = TOKEN, now_s: float = NOW, name: str | None = None) -> Refusal:
    with pytest.raises(RecordError) as caught:
        check_record(encoded, token, now_s, name)
    return caught.value.refusal


def signed_anew(record: Record, identity: Identity, token: bytes = TOKEN, **changed: Any) -> bytes:
    """Return a record with other content, and with proofs that fit it: what a hostile owner can make."""
    said = {name: value for name, value in json.loads(record.encoded).items() if name not in ("signature", "tag")}
    said = {name: value for name, value in (said | changed).items() if value is not ...}
    said["tag"] = record_tag(token, canonical(said)).hex()
    return canonical(said | {"signature": identity.sign(b"cart-record-v1\0" + canonical(said)).hex()})


def canonical(body: dict[str, Any]) -> bytes:
    return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


ids = st.binary(min_size=16, max_size=16).map(bytes.hex)
urls = st.from_regex(r"wss?://[a-z0-9]([a-z0-9.-]{0,100}[a-z0-9])?:[1-9][0-9]{3}", fullmatch=True)


@given(urls, st.integers(0, 10**6), st.dictionaries(ids, st.integers(1, 10**6), max_size=40), st.integers(0, 2**45))
def test_a_bridge_record_is_read_back(url: str, carts: int, shells: dict[str, int], sequence: int) -> None:
    made = bridge_record(url=url, carts=carts, shells=shells, sequence=sequence)
    read = check_record(made.encoded, TOKEN, NOW, f"bridge:{BRIDGE.cart_id.hex()}")
    assert read == made
    assert isinstance(read, BridgeRecord)
    assert (read.url, read.carts, read.max_carts, read.sequence, read.gone) == (url, carts, 10_000, sequence, False)
    assert read.bridge_id == read.owner_id == BRIDGE.cart_id.hex()
    assert len(read.shells) == min(len(shells), MOST_SIGNATURES)
    dropped = shells.keys() - read.shells.keys()
    assert all(shells[name] == count for name, count in read.shells.items())
    assert not dropped or max(shells[name] for name in dropped) <= min(read.shells.values())
    assert len(made.encoded) <= MAX_RECORD_BYTES


@given(ids, urls, st.sampled_from(Role), ids)
def test_a_cart_record_is_read_back(bridge_id: str, url: str, role: Role, signature: str) -> None:
    made = cart_record(bridge_id=bridge_id, bridge_url=url, role=role, model_signature=signature)
    read = check_record(made.encoded, TOKEN, NOW, f"cart:{CART.cart_id.hex()}")
    assert isinstance(read, CartRecord)
    assert read == made
    assert (read.bridge_id, read.bridge_url, read.role, read.model_signature) == (bridge_id, url, role, signature)
    assert read.cart_id == CART.cart_id.hex()


def test_the_largest_record_fits() -> None:
    shells = {f"{number:032x}": 10**6 for number in range(MOST_SIGNATURES)}
    url = "wss://" + "a" * 188 + ":65535"
    made = bridge_record(url=url, carts=10**6, max_carts=10**6, shells=shells, sequence=2**45)
    assert len(made.encoded) <= MAX_RECORD_BYTES


@given(st.binary(max_size=1500) | st.recursive(st.none() | st.text(), st.lists).map(repr).map(str.encode))
def test_arbitrary_bytes_are_no_record(encoded: bytes) -> None:
    assert refusal_of(encoded) in (Refusal.MALFORMED, Refusal.TOO_LARGE)


@given(st.data())
def test_a_record_in_which_any_byte_differs_is_refused(data: st.DataObject) -> None:
    encoded = bytearray(data.draw(st.sampled_from([bridge_record(), cart_record()])).encoded)
    place = data.draw(st.integers(0, len(encoded) - 1))
    encoded[place] ^= data.draw(st.integers(1, 255))
    for token in (TOKEN, None):
        assert isinstance(refusal_of(bytes(encoded), token), Refusal)


@given(st.integers(0, MAX_RECORD_BYTES))
def test_a_record_that_is_cut_short_or_longer_is_refused(length: int) -> None:
    encoded = cart_record().encoded
    assert refusal_of(encoded[: min(length, len(encoded) - 1)]) is Refusal.MALFORMED
    assert refusal_of(encoded + b" " * (length + 1)) in (Refusal.MALFORMED, Refusal.TOO_LARGE)


@pytest.mark.parametrize(
    "encoded",
    [
        None,
        7,
        "text",
        [b""],
        b"[]",
        b"1" * 1300,
        b"[" * 1300,
        b"{}",
        b'{"kind":[]}',
        b'{"kind":"tree"}',
        b"\xff" * 9,
    ],
)
def test_what_is_no_record_at_all_is_malformed(encoded: object) -> None:
    assert refusal_of(encoded) is Refusal.MALFORMED


def test_one_content_has_one_text() -> None:
    record = cart_record()
    body = json.loads(record.encoded)
    assert refusal_of(json.dumps(body, sort_keys=True).encode()) is Refusal.MALFORMED
    loose = json.dumps(dict(reversed(body.items())), separators=(",", ":")).encode()
    assert refusal_of(loose) is Refusal.MALFORMED
    spaced = body | {"tag": body["tag"][:2] + " " + body["tag"][2:]}
    assert refusal_of(json.dumps(spaced, sort_keys=True, separators=(",", ":")).encode()) is Refusal.MALFORMED
    doubled = record.encoded[:-1] + b',"tag":"' + b"0" * 64 + b'"}'
    assert refusal_of(doubled) is Refusal.MALFORMED


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "http://a:1"},
        {"url": 7},
        {"url": "ws://" + "a" * 300},
        {"carts": -1},
        {"carts": 2**53},
        {"carts": True},
        {"carts": 1.0},
        {"shells": []},
        {"shells": {SIGNATURE: 0}},
        {"shells": {SIGNATURE: True}},
        {"shells": {"xyz": 1}},
        {"shells": {f"{number:032x}": 1 for number in range(MOST_SIGNATURES + 1)}},
        {"gone": 1},
        {"sequence": "1"},
        {"issued_at_s": None},
        {"public_key": "AB" * 32},
        {"max_carts": ...},
    ],
    ids=str,
)
def test_a_field_that_is_wrong_or_missing_is_malformed_though_it_is_signed(changed: dict[str, Any]) -> None:
    assert refusal_of(signed_anew(bridge_record(), BRIDGE, **changed)) is Refusal.MALFORMED


def test_a_later_version_may_say_more() -> None:
    read = check_record(signed_anew(cart_record(), CART, colour="green"), TOKEN, NOW)
    bare = {"encoded": b"", "signature": "", "tag": ""}
    assert replace(read, **bare) == replace(cart_record(), **bare)


def test_nobody_signs_for_another() -> None:
    record = cart_record()
    assert refusal_of(signed_anew(record, BRIDGE)) is Refusal.BAD_SIGNATURE
    swapped = signed_anew(record, BRIDGE, public_key=BRIDGE.public_key.hex())
    assert refusal_of(swapped, name=record.name) is Refusal.WRONG_KEY
    assert check_record(swapped, TOKEN, NOW).owner_id == BRIDGE.cart_id.hex()


def test_a_record_of_another_kind_or_owner_is_filed_wrongly() -> None:
    record = cart_record()
    assert refusal_of(record.encoded, name=f"bridge:{record.owner_id}") is Refusal.WRONG_KEY
    assert refusal_of(record.encoded, name=f"cart:{'0' * 32}") is Refusal.WRONG_KEY


def test_a_record_of_another_fleet_is_foreign() -> None:
    other = cart_record(token=bridge_token(new_key()))
    unkeyed = cart_record(token=bridge_token(OPEN))
    for record in (other, unkeyed):
        assert refusal_of(record.encoded) is Refusal.FOREIGN
        assert check_record(record.encoded, None, NOW) == record


def test_a_record_holds_from_its_making_to_its_expiry() -> None:
    record = bridge_record()
    assert (record.issued_at_s, record.expires_at_s) == (1_800_000_000, 1_800_000_000 + BRIDGE_LIFE_S)
    check_record(record.encoded, TOKEN, record.expires_at_s - 0.1)
    assert refusal_of(record.encoded, now_s=record.expires_at_s) is Refusal.EXPIRED
    check_record(record.encoded, TOKEN, record.issued_at_s - MAX_SKEW_S)
    assert refusal_of(record.encoded, now_s=record.issued_at_s - MAX_SKEW_S - 1) is Refusal.TOO_EARLY


@pytest.mark.parametrize("make", [bridge_record, cart_record])
def test_no_record_holds_for_ever(make: Callable[..., Record]) -> None:
    longest = make().MAX_LIFE_S
    check_record(make(life_s=longest).encoded, TOKEN, NOW)
    assert refusal_of(make(life_s=longest + 1).encoded) is Refusal.TOO_LONG_LIVED
    backwards = signed_anew(make(), BRIDGE if make is bridge_record else CART, issued_at_s=int(NOW) + 100)
    assert refusal_of(signed_anew(cart_record(), CART, expires_at_s=int(NOW) + 50, issued_at_s=int(NOW) + 51)) is (
        Refusal.TOO_LONG_LIVED
    )
    check_record(backwards, TOKEN, NOW)


def test_a_record_that_is_too_large_is_not_made() -> None:
    with pytest.raises(RecordError) as caught:
        bridge_record(
            url="ws://" + "a" * 195, carts=2**52, max_carts=2**52, shells={f"{n:032x}": 2**52 for n in range(16)}
        )
    assert caught.value.refusal is Refusal.TOO_LARGE


RIVALS = [(1, 9, 0), (2, 0, 0), (2, 5, 0), (2, 5, 1)]


@given(st.permutations([bridge_record(sequence=n, now_s=NOW + later, carts=carts) for n, later, carts in RIVALS]))
def test_everybody_finds_the_same_one_newest(records: list[BridgeRecord]) -> None:
    found: BridgeRecord | None = None
    for record in records:
        found = newest(found, record)
    assert found is max(records, key=lambda record: (record.sequence, record.issued_at_s, record.encoded))
    assert found.sequence == 2
    assert found.issued_at_s == int(NOW) + 5
    assert newest(None, None) is None


@given(st.integers(0, BRIDGE_LIFE_S + 10))
def test_a_withdrawal_wins_for_as_long_as_what_it_takes_back_would_hold(later_s: int) -> None:
    record = bridge_record()
    gone = make_withdrawal(record, BRIDGE, TOKEN, NOW + later_s)
    assert gone.gone
    assert newest(record, gone) is newest(gone, record) is gone
    assert gone.expires_at_s == record.expires_at_s
    if record.holds_at(NOW + later_s):
        assert check_record(gone.encoded, TOKEN, NOW + later_s, record.name) == gone
    same = {entry.name for entry in fields(record)} - {"encoded", "gone", "sequence", "issued_at_s", "signature", "tag"}
    assert all(getattr(gone, name) == getattr(record, name) for name in same)


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("ws://bridge", True),
        ("wss://bridge.example:9000", True),
        ("ws://[2001:db8::1]:9000", True),
        ("ws://bridge:65535", True),
        ("ws://bridge:65536", False),
        ("ws://bridge:0", False),
        ("ws://bridge/", False),
        ("ws://bridge/v1", False),
        ("ws://me:word@bridge", False),
        ("http://bridge", False),
        ("ws://", False),
        ("ws://bridge?x", False),
        ("ws://a b", False),
        ("ws://bridge\n", False),
        ("ws://" + "a" * 200, False),
    ],
)
def test_an_address_is_scheme_host_and_port(text: str, right: bool) -> None:
    assert is_bridge_url(text) is right


@given(st.binary(max_size=300))
def test_any_bytes_claim_a_time_or_none(content: bytes) -> None:
    assert claimed_time(content) is None


def test_a_record_claims_its_time_whoever_has_signed_it() -> None:
    record = cart_record(token=bridge_token(new_key()))
    assert claimed_time(record.encoded) == record.issued_at_s
