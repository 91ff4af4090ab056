"""Every message comes out as it went in; everything else is a ``MessageError`` and nothing worse."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cart_common.wire.chunk import MAX_SEQUENCE, MIN_CHUNK_BYTES
from cart_common.wire.fields import MAX_CLUSTER_SIZE, MAX_COUNT
from cart_common.wire.messages import (
    KINDS,
    MAX_KEY_EPOCH,
    MAX_MESSAGE_BYTES,
    MAX_SENTENCE_CHARS,
    MAX_TERMS_BYTES,
    Attach,
    Attached,
    Cancel,
    Cluster,
    Code,
    Credit,
    Done,
    ErrorMessage,
    Exit,
    ExitDone,
    Found,
    Message,
    MessageError,
    ModelParameters,
    ModelRequest,
    NbrList,
    Paused,
    PeerList,
    PeerType,
    Resume,
    Role,
    SealedOffer,
    Seek,
    Welcome,
    Whereabouts,
    encode,
    parse,
)


def hexes(size_bytes: int) -> st.SearchStrategy[str]:
    return st.binary(min_size=size_bytes, max_size=size_bytes).map(bytes.hex)


def blobs(most_bytes: int) -> st.SearchStrategy[str]:
    return st.binary(max_size=most_bytes).map(bytes.hex)


ids = hexes(16)
epochs = st.integers(0, MAX_KEY_EPOCH)
counts = st.integers(0, MAX_COUNT)
positive = st.integers(1, MAX_COUNT)
chunks_or_more = st.integers(MIN_CHUNK_BYTES, MAX_COUNT)
largest_chunks = st.integers(MIN_CHUNK_BYTES, MAX_SEQUENCE)
places = st.integers(1, MAX_SEQUENCE)
sizes = st.integers(1, MAX_CLUSTER_SIZE)
roles = st.sampled_from(Role)
codes = st.sampled_from(Code)
printable = st.text(max_size=MAX_SENTENCE_CHARS).filter(str.isprintable)
codecs = st.text(max_size=32).filter(str.isprintable)
shares = st.floats(0, 1)
records = st.text(max_size=40)

BUILDS: dict[type[Message], st.SearchStrategy[Any]] = {
    Welcome: st.builds(Welcome, counts, ids, hexes(32), chunks_or_more, chunks_or_more, codecs),
    Attach: st.builds(Attach, counts, hexes(32), hexes(64), roles, ids, counts, hexes(32)),
    Attached: st.builds(Attached, ids),
    Paused: st.builds(Paused, ids),
    Resume: st.builds(Resume, ids, ids, ids, positive, positive, counts, counts),
    PeerType: st.builds(PeerType, roles, counts),
    Cluster: st.builds(Cluster, ids, sizes, sizes),
    PeerList: st.builds(
        PeerList, ids, ids, st.lists(ids, max_size=5).map(tuple), st.lists(records, max_size=4).map(tuple)
    ),
    NbrList: st.builds(NbrList, st.lists(records, max_size=16).map(tuple)),
    Whereabouts: st.builds(Whereabouts, records.filter(str.isprintable)),
    Seek: st.builds(Seek, ids, ids),
    Found: st.builds(Found, ids, records.filter(str.isprintable)),
    ModelRequest: st.builds(
        *(ModelRequest, ids, ids, ids, ids, hexes(32), hexes(32), hexes(64), largest_chunks),
        *(epochs, blobs(MAX_TERMS_BYTES), blobs(64)),
    ),
    SealedOffer: st.builds(
        *(SealedOffer, ids, ids, ids, positive, places, hexes(32), hexes(32), hexes(64)),
        *(epochs, blobs(MAX_TERMS_BYTES)),
    ),
    ModelParameters: st.builds(
        *(ModelParameters, ids, ids, ids, positive, places, places, hexes(32), codecs, ids, counts, counts, shares),
        *(codecs, hexes(32), hexes(32), hexes(64)),
    ),
    Credit: st.builds(Credit, ids, positive),
    Cancel: st.builds(Cancel, ids, codes, printable),
    Done: st.builds(Done, ids),
    Exit: st.just(Exit()),
    ExitDone: st.just(ExitDone()),
    ErrorMessage: st.builds(ErrorMessage, codes, printable, ids | st.just(""), counts),
}
messages = st.one_of(*BUILDS.values())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def test_every_kind_is_tested() -> None:
    assert set(BUILDS) == set(KINDS.values())


@pytest.mark.parametrize("kind", BUILDS, ids=lambda kind: kind.KIND)
@given(data=st.data())
def test_a_message_comes_out_as_it_went_in(kind: type[Message], data: st.DataObject) -> None:
    message = data.draw(BUILDS[kind])
    text = encode(message)
    assert parse(text) == message
    assert type(parse(text)) is kind
    assert json.loads(text)["type"] == kind.KIND


@given(messages, st.dictionaries(st.text(max_size=8).map("x-{}".format), json_values, max_size=3))
def test_unknown_keys_are_ignored(message: Message, more: dict[str, object]) -> None:
    assert parse(json.dumps(more | json.loads(encode(message)))) == message


@given(st.text(max_size=200) | json_values.map(json.dumps))
def test_arbitrary_text_is_a_message_or_a_message_error(text: str) -> None:
    try:
        parse(text)
    except MessageError as error:
        assert str(error).isprintable()


@settings(max_examples=300)
@given(messages, st.data())
def test_a_changed_message_is_valid_or_a_message_error(message: Message, data: st.DataObject) -> None:
    body = json.loads(encode(message))
    key = data.draw(st.sampled_from(sorted(body)))
    body[key] = data.draw(json_values)
    try:
        again = parse(json.dumps(body))
    except MessageError as error:
        assert key in str(error) or key == "type"
        return
    assert parse(encode(again)) == again


@given(messages, st.data())
def test_broken_json_is_a_message_error(message: Message, data: st.DataObject) -> None:
    text = encode(message)
    cut = text[: data.draw(st.integers(0, len(text) - 1))]
    with pytest.raises(MessageError):
        parse(cut)


@pytest.mark.parametrize("kind", [kind for kind in BUILDS if fields(kind)], ids=lambda kind: kind.KIND)
@given(data=st.data())
def test_a_missing_field_is_named(kind: type[Message], data: st.DataObject) -> None:
    body = json.loads(encode(data.draw(BUILDS[kind])))
    name = fields(kind)[0].name
    del body[name]
    with pytest.raises(MessageError, match=f"{kind.KIND} lacks its field '{name}'"):
        parse(json.dumps(body))


@pytest.mark.parametrize("depth", [*range(1, 1200, 7), 10_000, 30_000])
@pytest.mark.parametrize("where", ["type", "code"])
def test_deep_nesting_is_refused_at_any_depth(depth: int, where: str) -> None:
    nested = "[" * depth + "]" * depth
    body = {"type": f'{{"type":{nested}}}', "code": f'{{"type":"CANCEL","transfer":"{"ab" * 16}","code":{nested}}}'}
    with pytest.raises(MessageError):
        parse(body[where])


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"type": "CREDIT", "transfer": "ab" * 16, "up_to_bytes": 0}, "from 1 to"),
        ({"type": "CREDIT", "transfer": "ab" * 16, "up_to_bytes": MAX_COUNT + 1}, "from 1 to"),
        ({"type": "CREDIT", "transfer": "ab" * 16, "up_to_bytes": True}, "whole number"),
        ({"type": "CREDIT", "transfer": "ab" * 16, "up_to_bytes": 1.0}, "whole number"),
        ({"type": "DONE", "transfer": "ab" * 17}, "32 lower-case"),
        ({"type": "DONE", "transfer": "AB" * 16}, "32 lower-case"),
        ({"type": "DONE", "transfer": "ab" * 15 + "g0"}, "32 lower-case"),
        ({"type": "DONE", "transfer": "٣" * 32}, "32 lower-case"),
        ({"type": "CLUSTER", "request": "ab" * 16, "size": MAX_CLUSTER_SIZE + 1, "minimum": 1}, "from 1 to 256"),
        ({"type": "PEERTYPE", "role": "SHEEP", "model_version": 1}, "SHELL, KERNEL"),
        ({"type": "PEERTYPE", "role": None, "model_version": 1}, "SHELL, KERNEL"),
        ({"type": "CANCEL", "transfer": "ab" * 16, "code": "NO_MODEL", "sentence": "x" * 501}, "at most 500"),
        ({"type": "CANCEL", "transfer": "ab" * 16, "code": "NO_MODEL", "sentence": "two\nlines"}, "printable"),
        ({"type": "CANCEL", "transfer": "ab" * 16, "code": "NO_MODEL", "sentence": "\ud800"}, "printable"),
        ({"type": "PEERLIST", "request": "ab" * 16, "cluster": "ab" * 16, "peers": ["ab" * 16] * 257}, "at most 256"),
        ({"type": "PEERLIST", "request": "ab" * 16, "cluster": "ab" * 16, "peers": ["ab"]}, "hexadecimal"),
        ({"type": "PEERLIST", "request": "ab" * 16, "cluster": "ab" * 16, "peers": "abab"}, "list"),
        ({"type": "NOSUCH"}, "unknown kind 'NOSUCH'"),
        ({"type": ""}, "unknown kind"),
        ({"type": 7}, "no JSON object"),
        ([], "no JSON object"),
    ],
)
def test_each_limit_is_kept_and_named(body: object, says: str) -> None:
    with pytest.raises(MessageError, match=says):
        parse(json.dumps(body))


REQUEST = {
    "type": "MODELREQUEST",
    **{name: "ab" * 16 for name in ("transfer", "cluster", "source", "destination")},
    **{"key": "ab" * 32, "public_key": "ab" * 32, "signature": "ab" * 64, "max_chunk_bytes": 65536},
}


def test_a_request_of_version_1_is_one_without_terms() -> None:
    request = parse(json.dumps(REQUEST))
    assert isinstance(request, ModelRequest)
    assert (request.key_epoch, request.terms, request.terms_signature) == (0, "", "")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("terms", wrong) for wrong in (None, 7, ["ab"], "abc", "AB", "zz", "ab\n", "00" * (MAX_TERMS_BYTES + 1))),
        *(("terms_signature", wrong) for wrong in (None, "a", "00" * 65)),
        *(("key_epoch", wrong) for wrong in (-1, 1.0, True, "0", None, MAX_KEY_EPOCH + 1)),
    ],
)
def test_wrong_terms_are_named(field: str, value: object) -> None:
    with pytest.raises(MessageError, match=f"MODELREQUEST has a wrong '{field}'"):
        parse(json.dumps(REQUEST | {field: value}))


@pytest.mark.parametrize("accuracy", ["-0.1", "1.1", "1" + "0" * 400, "true", '"0.5"'])
def test_an_accuracy_outside_0_to_1_is_refused(accuracy: str) -> None:
    body = {
        **{name: "ab" * 16 for name in ("transfer", "source", "destination", "model_signature")},
        **{name: 1 for name in ("total_bytes", "chunk_bytes", "chunks", "model_version", "samples")},
        "type": "MODELPARAMETERS",
        "digest": "ab" * 32,
        "codec": "raw",
    }
    text = json.dumps(body)[:-1] + f', "accuracy": {accuracy}}}'
    with pytest.raises(MessageError, match="accuracy"):
        parse(text)


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1" * 5000])
def test_numbers_that_are_none_are_refused_wherever_they_stand(value: str) -> None:
    with pytest.raises(MessageError, match="not valid JSON"):
        parse(f'{{"type":"EXIT","unknown":{value}}}')


def test_a_message_of_the_largest_size_is_read_and_one_more_is_not() -> None:
    text = encode(Exit())
    padded = text + " " * (MAX_MESSAGE_BYTES - len(text))
    assert parse(padded) == Exit()
    with pytest.raises(MessageError, match=str(MAX_MESSAGE_BYTES + 1)):
        parse(padded + " ")


def test_the_size_of_a_message_is_counted_in_bytes() -> None:
    text = '{"type":"EXIT","x":"%s"}' % ("\U0001f6d2" * (MAX_MESSAGE_BYTES // 4))
    assert len(text) < MAX_MESSAGE_BYTES
    with pytest.raises(MessageError, match=f"has {len(text.encode())} bytes"):
        parse(text)
