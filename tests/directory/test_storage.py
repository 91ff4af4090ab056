"""What a node keeps for others: checked, bounded, the newest of each owner, and not longer than it holds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.bridges.directories import bridge_record, cart_record
from support.clock import Clock

from cart_common.wire.fleet_key import OPEN, bridge_token, new_key
from cart_common.wire.identity import Identity
from cart_common.wire.records import MAX_RECORD_BYTES, CartRecord, Record, RecordError, Refusal, make_withdrawal
from parent_cart.directory.storage import SHARE, RecordStorage, dht_key

TOKEN = bridge_token(new_key())
NOW = int(time.time())
CARTS = [Identity.generate() for _ in range(6)]


def storage(clock: Clock | None = None, **bounds: int) -> RecordStorage:
    return RecordStorage(TOKEN, clock or Clock(NOW), **bounds)


def record_of(cart: Identity, sequence: int = 1, life_s: int = 60, token: bytes = TOKEN) -> CartRecord:
    return cart_record(cart, token=token, sequence=sequence, life_s=life_s, now_s=NOW)


def put(kept: RecordStorage, record: Record, sender: str = "10.0.0.1") -> Record | None:
    return kept.put(dht_key(record.name), record.encoded, sender)


def refusal_of(kept: RecordStorage, key: bytes, encoded: bytes, sender: str = "10.0.0.1") -> Refusal:
    with pytest.raises(RecordError) as caught:
        kept.put(key, encoded, sender)
    return caught.value.refusal


def test_a_record_is_kept_until_it_expires() -> None:
    clock = Clock(NOW)
    kept, record = storage(clock), record_of(CARTS[0])
    assert put(kept, record) == record
    assert put(kept, record) is None
    assert kept.get(dht_key(record.name)) == record.encoded
    assert (len(kept), kept.size_bytes) == (1, len(record.encoded))
    clock.now += 60
    assert kept.get(dht_key(record.name)) is None
    clock.now -= 59
    put(kept, record_of(CARTS[1], life_s=1000))
    clock.now += 100
    with pytest.raises(RecordError):
        put(kept, record_of(CARTS[2]))
    assert len(kept) == 1  # the expired one has made room


def test_forged_foreign_expired_and_misfiled_records_are_refused() -> None:
    kept, record = storage(), record_of(CARTS[0])
    key = dht_key(record.name)
    assert refusal_of(kept, key, record.encoded[:-1]) is Refusal.MALFORMED
    forged = record.encoded.replace(b"SHELL", b"KERNEL")
    assert refusal_of(kept, key, forged) is Refusal.FOREIGN
    assert refusal_of(kept, key, record_of(CARTS[0], token=bridge_token(OPEN)).encoded) is Refusal.FOREIGN
    assert refusal_of(kept, dht_key("cart:another"), record.encoded) is Refusal.WRONG_KEY
    assert refusal_of(kept, key, cart_record(CARTS[0], token=TOKEN, now_s=NOW - 7000).encoded) is Refusal.EXPIRED
    assert refusal_of(kept, key, bytes(MAX_RECORD_BYTES + 1)) is Refusal.TOO_LARGE
    assert len(kept) == kept.size_bytes == 0


def test_an_older_record_does_not_replace_a_newer_one() -> None:
    kept = storage()
    old, new = record_of(CARTS[0], 1), record_of(CARTS[0], 2)
    put(kept, new)
    assert refusal_of(kept, dht_key(old.name), old.encoded) is Refusal.OLDER
    gone = make_withdrawal(new, CARTS[0], TOKEN, NOW)
    put(kept, gone)
    for record in (old, new):
        assert refusal_of(kept, dht_key(old.name), record.encoded) is Refusal.OLDER
    assert kept.get(dht_key(old.name)) == gone.encoded


@settings(max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4), st.integers(1, 90), st.integers(0, 50)), max_size=30))
def test_whatever_comes_the_newest_that_holds_is_what_is_kept(steps: list[tuple[int, int, int, int]]) -> None:
    clock = Clock(NOW)
    kept = storage(clock)
    model: dict[int, CartRecord] = {}
    for cart, sequence, life_s, later_s in steps:
        clock.now += later_s
        record = cart_record(CARTS[cart], token=TOKEN, sequence=sequence, life_s=life_s, now_s=clock.now)
        held = model.get(cart)
        held = held if held is not None and held.holds_at(clock.now) else None
        rank = (record.sequence, record.issued_at_s, record.encoded)
        try:
            put(kept, record)
        except RecordError as error:
            assert error.refusal is Refusal.OLDER
            assert held is not None
            assert rank < (held.sequence, held.issued_at_s, held.encoded)
        else:
            assert held is None or rank >= (held.sequence, held.issued_at_s, held.encoded)
            model[cart] = record
        alive = {cart: record for cart, record in model.items() if record.holds_at(clock.now)}
        for number, identity in enumerate(CARTS):
            expected = alive.get(number)
            found = kept.get(dht_key(f"cart:{identity.cart_id.hex()}"))
            assert found == (None if expected is None else expected.encoded)
        assert len(kept) == len(alive)
        assert kept.size_bytes == sum(len(record.encoded) for record in alive.values())


def test_it_is_bounded_by_count_and_by_bytes() -> None:
    size = len(record_of(CARTS[0]).encoded)
    few, small = storage(most_records=4), storage(most_bytes=2 * size)
    for number, cart in enumerate(CARTS[:4]):
        put(few, record_of(cart), f"10.0.0.{number}")
    last = record_of(CARTS[4])
    assert refusal_of(few, dht_key(last.name), last.encoded, "10.0.0.9") is Refusal.FULL
    put(few, record_of(CARTS[0], 2), "10.0.0.9")  # those that are there can be renewed
    for cart in CARTS[:2]:
        put(small, record_of(cart))
    assert refusal_of(small, dht_key(last.name), last.encoded) is Refusal.FULL


def test_one_sender_fills_a_part_of_it_and_no_more() -> None:
    kept = storage(most_records=2 * SHARE)
    for cart in CARTS[:2]:
        put(kept, record_of(cart), "10.0.0.1")
    third = record_of(CARTS[2])
    assert refusal_of(kept, dht_key(third.name), third.encoded, "10.0.0.1") is Refusal.FULL
    put(kept, third, "10.0.0.2")
    put(kept, record_of(CARTS[0], 2), "10.0.0.2")  # a record counts for the network that renewed it last
    put(kept, record_of(CARTS[3]), "10.0.0.1")


def test_records_that_are_renewed_for_ever_leave_nothing_behind() -> None:
    kept = storage()
    for sequence in range(300):
        put(kept, record_of(CARTS[0], sequence))
    assert len(kept) == 1
    assert len(kept._expiries) < 200
    assert kept._by_sender == {"10.0.0.1": 1}


def test_a_storage_without_a_token_takes_records_of_every_fleet_but_none_that_is_forged() -> None:
    kept, record = RecordStorage(None, Clock(NOW)), bridge_record(CARTS[0], token=TOKEN, now_s=NOW)
    assert put(kept, record) == record
    forged = record.encoded.replace(b"ws://bridge", b"ws://brigde")
    assert refusal_of(kept, dht_key(record.name), forged) is Refusal.BAD_SIGNATURE
