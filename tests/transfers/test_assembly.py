"""A transfer ends in exactly the sent bytes, or says why not: whatever happens to its chunks on the way."""

from __future__ import annotations

from dataclasses import replace

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_common.wire.chunk import MAX_CHUNK_BYTES, MAX_SEQUENCE
from cart_common.wire.messages import Code
from child_cart.transfers.assembly import Assembler, Chunk, Splitter, TransferError, check_offer, chunk_count
from child_cart.transfers.offer import Offer
from child_cart.transfers.receive_window import ReceiveWindow

SIGNATURE = "ab" * 16
payloads = st.binary(min_size=1, max_size=600)
chunk_sizes = st.integers(1, 130)
windows = st.integers(1, 700)


def offer_of(payload: bytes, chunk_bytes: int) -> Offer:
    return Offer(
        version=2,
        transfer="01" * 16,
        source="02" * 16,
        destination="03" * 16,
        total_bytes=len(payload),
        chunk_bytes=chunk_bytes,
        chunks=chunk_count(len(payload), chunk_bytes),
        digest=blake3(payload).hexdigest(),
        codec="raw",
        model_signature=SIGNATURE,
        model_version=1,
        kind="model",
        cipher="none",
    )


def all_chunks(payload: bytes, chunk_bytes: int) -> list[Chunk]:
    splitter = Splitter(memoryview(payload), chunk_bytes)
    splitter.grant(len(payload))
    chunks = []
    while (chunk := splitter.next_chunk()) is not None:
        chunks.append(chunk)
    return chunks


def assembler_for(payload: bytes, chunk_bytes: int, window: int) -> tuple[Assembler, bytearray]:
    buffer = bytearray(len(payload))

    def put(start: int, part: bytes | memoryview) -> None:
        buffer[start : start + len(part)] = part

    return Assembler(offer_of(payload, chunk_bytes), put, ReceiveWindow(chunk_bytes, window)), buffer


@given(payload=payloads, chunk_bytes=chunk_sizes, window=windows)
def test_a_sender_and_a_receiver_always_get_to_the_end(payload: bytes, chunk_bytes: int, window: int) -> None:
    splitter = Splitter(memoryview(payload), chunk_bytes)
    assembler, buffer = assembler_for(payload, chunk_bytes, window)
    granted = 0
    while not assembler.complete:
        grant = assembler.next_grant(0.0)
        if grant is not None:
            assert granted < grant <= len(payload)
            granted = grant
            splitter.grant(grant)
        moved = False
        while (chunk := splitter.next_chunk()) is not None:
            moved = True
            assert splitter.sent_bytes <= granted
            assert granted - assembler.received_bytes <= max(window, chunk_bytes)
            assembler.add(chunk.sequence, chunk.payload, chunk.final, 0.0)
        assert moved, "no side can go on"
    assert splitter.finished
    assert bytes(buffer) == payload
    assert assembler.next_grant(0.0) is None


@given(payload=payloads, chunk_bytes=chunk_sizes, window=windows, data=st.data())
def test_progress_does_not_depend_on_when_credit_is_asked_for(
    payload: bytes, chunk_bytes: int, window: int, data: st.DataObject
) -> None:
    """As on a real link: credit and chunks wait in queues, and either side runs ahead of the other."""
    splitter = Splitter(memoryview(payload), chunk_bytes)
    assembler, buffer = assembler_for(payload, chunk_bytes, window)
    grants: list[int] = []
    chunks: list[Chunk] = []
    first = assembler.next_grant(0.0)
    assert first is not None
    grants.append(first)
    while not assembler.complete:
        steps = ["send"] * bool(grants) + ["take"] * bool(chunks)
        assert steps, "no side can go on"
        if data.draw(st.sampled_from(steps)) == "send":
            splitter.grant(grants.pop(0))
            while (chunk := splitter.next_chunk()) is not None:
                chunks.append(chunk)
        else:
            chunk = chunks.pop(0)
            assembler.add(chunk.sequence, chunk.payload, chunk.final, 0.0)
            grant = assembler.next_grant(0.0)
            if grant is not None:
                grants.append(grant)
    assert bytes(buffer) == payload


@given(payload=payloads, chunk_bytes=chunk_sizes, window=windows, data=st.data())
def test_a_transfer_goes_on_after_any_lost_link(
    payload: bytes, chunk_bytes: int, window: int, data: st.DataObject
) -> None:
    """What was under way on the lost link is sent again, at most a window of it, and nothing else."""
    splitter = Splitter(memoryview(payload), chunk_bytes)
    assembler, buffer = assembler_for(payload, chunk_bytes, window)
    sent_bytes = losses = 0
    while not assembler.complete:
        grant = assembler.next_grant(0.0)
        if grant is not None and data.draw(st.booleans()):
            splitter.grant(grant)
        arrives = True
        while (chunk := splitter.next_chunk()) is not None:
            sent_bytes += len(chunk.payload)
            arrives = arrives and data.draw(st.integers(0, 9)) < 9
            if arrives:
                assembler.add(chunk.sequence, chunk.payload, chunk.final, 0.0)
        if not assembler.complete:
            losses += 1
            splitter.go_on_from(*assembler.go_on(window))
    assert bytes(buffer) == payload
    assert sent_bytes <= len(payload) + losses * max(window, chunk_bytes)


@pytest.mark.parametrize("position", [3, 8, 12, 9])
def test_a_sender_goes_on_only_from_what_it_has_sent(position: int) -> None:
    splitter = Splitter(memoryview(bytes(10)), 4)
    splitter.grant(4)
    assert splitter.next_chunk() is not None
    with pytest.raises(TransferError, match=f"byte {position} of 4") as caught:
        splitter.go_on_from(position, 10)
    assert caught.value.code is Code.BAD_MESSAGE


def test_a_sender_goes_on_from_what_had_come_through_before_it_went_back() -> None:
    splitter = Splitter(memoryview(bytes(10)), 4)
    splitter.grant(10)
    while splitter.next_chunk() is not None:
        pass
    splitter.go_on_from(4, 10)
    splitter.go_on_from(8, 10)
    chunk = splitter.next_chunk()
    assert chunk is not None
    assert (chunk.sequence, chunk.final) == (2, True)


@given(payload=payloads, chunk_bytes=chunk_sizes, grants=st.lists(st.integers(1, 900), max_size=8))
def test_the_splitter_never_overruns_its_credit(payload: bytes, chunk_bytes: int, grants: list[int]) -> None:
    splitter = Splitter(memoryview(payload), chunk_bytes)
    assert splitter.next_chunk() is None
    for place, grant in enumerate(grants):
        assert splitter.grant(grant) == (grant > max(grants[:place], default=0))
        while (chunk := splitter.next_chunk()) is not None:
            assert chunk.final == splitter.finished
        reached = max(grants[: place + 1])
        assert splitter.sent_bytes <= reached
        whole = len(payload) if reached >= len(payload) else reached - reached % chunk_bytes
        assert splitter.sent_bytes == whole


def do_harm(frames: list[tuple[int, bytes, bool]], harm: str, number: int) -> None:
    """Do to the frames what a bad link, or a bad peer, does."""
    at = number % len(frames)
    sequence, part, final = frames[at]
    match harm:
        case "lose":
            del frames[at]
        case "cut":
            frames[at] = (sequence, part[: number % (len(part) + 1)], final)
        case "repeat":
            frames.insert(number % (len(frames) + 1), frames[at])
        case "swap":
            other = (number // 7) % len(frames)
            frames[at], frames[other] = frames[other], frames[at]
        case "final":
            frames[at] = (sequence, part, not final)


damage = st.lists(
    st.tuples(st.sampled_from(["lose", "cut", "repeat", "swap", "final"]), st.integers(0, 10**6)),
    max_size=6,
)


@settings(max_examples=200)
@given(payload=payloads, chunk_bytes=chunk_sizes, harms=damage)
def test_damage_never_changes_what_comes_out(payload: bytes, chunk_bytes: int, harms: list[tuple[str, int]]) -> None:
    frames = [(chunk.sequence, bytes(chunk.payload), chunk.final) for chunk in all_chunks(payload, chunk_bytes)]
    for harm, number in harms:
        if frames:
            do_harm(frames, harm, number)
    assembler, buffer = assembler_for(payload, chunk_bytes, len(payload))
    assert assembler.next_grant(0.0) == len(payload)
    try:
        for sequence, part, final in frames:
            assembler.add(sequence, part, final, 0.0)
    except TransferError as error:
        assert error.code is Code.BAD_CHUNK
        assert error.sentence == str(error)
        assert not assembler.complete
        return
    assert not assembler.complete or bytes(buffer) == payload


@pytest.mark.parametrize(
    ("sequence", "part", "final", "code"),
    [
        (1, b"defg", False, Code.BAD_CHUNK),  # a gap
        (0, b"abc", False, Code.BAD_CHUNK),  # too short
        (0, b"abcde", False, Code.BAD_CHUNK),  # too long
        (0, b"abcd", True, Code.BAD_CHUNK),  # final, too early
    ],
)
def test_a_wrong_chunk_is_named(sequence: int, part: bytes, final: bool, code: Code) -> None:
    assembler, _ = assembler_for(b"abcdefgh", 4, 8)
    assembler.next_grant(0.0)
    with pytest.raises(TransferError) as caught:
        assembler.add(sequence, part, final, 0.0)
    assert caught.value.code is code


def test_a_chunk_that_was_taken_before_is_passed_over() -> None:
    assembler, buffer = assembler_for(b"abcdefgh", 4, 8)
    assembler.next_grant(0.0)
    assembler.add(0, b"abcd", False, 0.0)
    assembler.add(0, b"XXXX", False, 0.0)
    assembler.add(1, b"efgh", True, 0.0)
    assert assembler.complete
    assert bytes(buffer) == b"abcdefgh"


def test_a_chunk_beyond_the_credit_is_an_overrun() -> None:
    assembler, _ = assembler_for(bytes(100), 10, 20)
    assert assembler.next_grant(0.0) == 20
    assembler.add(0, bytes(10), False, 0.0)
    assembler.add(1, bytes(10), False, 0.0)
    with pytest.raises(TransferError) as caught:
        assembler.add(2, bytes(10), False, 0.0)
    assert caught.value.code is Code.OVERRUN
    assert "30" in caught.value.sentence
    assert "20" in caught.value.sentence


def test_credit_is_renewed_only_when_a_third_of_the_window_is_used() -> None:
    assembler, _ = assembler_for(bytes(1000), 10, 100)
    assert assembler.next_grant(0.0) == 100
    messages = 0
    for sequence in range(100):
        assembler.add(sequence, bytes(10), sequence == 99, 0.0)
        messages += assembler.next_grant(0.0) is not None
    assert messages <= 1000 // 33
    assert assembler.complete


def test_a_good_offer_passes() -> None:
    check_offer(offer_of(bytes(10_000), 3000), SIGNATURE, ("raw",), 10_000, MAX_CHUNK_BYTES)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model_signature": "cd" * 16}, Code.WRONG_MODEL),
        ({"codec": "other"}, Code.UNKNOWN_CODEC),
        ({"model_version": 0}, Code.BAD_OFFER),
        ({"total_bytes": 10_001, "chunks": 4}, Code.MODEL_TOO_LARGE),
        ({"chunks": 3}, Code.BAD_OFFER),
        ({"chunks": 5}, Code.BAD_OFFER),
        ({"chunk_bytes": MAX_CHUNK_BYTES + 1, "chunks": 1}, Code.BAD_OFFER),
        ({"chunk_bytes": 1000, "chunks": 10}, Code.BAD_OFFER),  # a bridge that let this pass is hostile, too
    ],
)
def test_an_offer_is_refused_by_name(changes: dict[str, object], code: Code) -> None:
    with pytest.raises(TransferError) as caught:
        check_offer(replace(offer_of(bytes(10_000), 3000), **changes), SIGNATURE, ("raw",), 10_000, MAX_CHUNK_BYTES)
    assert caught.value.code is code


def test_an_offer_of_larger_chunks_than_were_asked_for_is_refused() -> None:
    with pytest.raises(TransferError, match="takes chunks of 1024 to 2999") as caught:
        check_offer(offer_of(bytes(10_000), 3000), SIGNATURE, ("raw",), 10_000, 2999)
    assert caught.value.code is Code.BAD_OFFER


def test_an_offer_of_more_chunks_than_can_be_counted_is_refused() -> None:
    much = MAX_SEQUENCE + 1
    offer = replace(offer_of(b"x", 1), total_bytes=much, chunks=much)
    with pytest.raises(TransferError) as caught:
        check_offer(offer, SIGNATURE, ("raw",), much, MAX_CHUNK_BYTES)
    assert caught.value.code is Code.BAD_OFFER


def test_a_refusal_for_size_carries_both_numbers() -> None:
    with pytest.raises(TransferError, match=r"123456 bytes; this cart takes 1000"):
        check_offer(replace(offer_of(b"x", 1), total_bytes=123456), SIGNATURE, ("raw",), 1000, MAX_CHUNK_BYTES)
