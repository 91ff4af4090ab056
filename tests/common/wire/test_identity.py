"""A cart keeps its key, no other cart can take its id, and a broken key file is named."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from hypothesis import given
from hypothesis import strategies as st

from cart_common.wire.identity import (
    Identity,
    IdentityError,
    attach_statement,
    cart_id_of,
    signature_is_valid,
)


def test_the_key_is_made_once_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "cart.key"
    made = Identity.load_or_create(path)
    again = Identity.load_or_create(path)
    assert again.cart_id == made.cart_id
    assert again.public_key == made.public_key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["cart.key"]


def test_a_start_that_was_killed_while_it_wrote_leaves_no_half_key(tmp_path: Path) -> None:
    partial = tmp_path / "cart.key.partial"
    partial.write_bytes(b"-----BEGIN PRIV")
    partial.chmod(0o644)
    path = tmp_path / "cart.key"
    made = Identity.load_or_create(path)
    assert Identity.load_or_create(path).cart_id == made.cart_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not partial.exists()


def test_the_id_follows_from_the_key() -> None:
    identity = Identity.generate()
    assert identity.cart_id == cart_id_of(identity.public_key)
    assert identity.cart_id == hashlib.sha256(identity.public_key).digest()[:16]
    assert Identity.generate().cart_id != identity.cart_id


def test_a_signature_holds_for_its_key_and_its_statement_only() -> None:
    identity, other = Identity.generate(), Identity.generate()
    statement = attach_statement(b"n" * 32, b"b" * 16)
    signature = identity.sign(statement)
    assert signature_is_valid(identity.public_key, signature, statement)
    assert not signature_is_valid(other.public_key, signature, statement)
    assert not signature_is_valid(identity.public_key, signature, attach_statement(b"m" * 32, b"b" * 16))
    assert not signature_is_valid(identity.public_key, signature, attach_statement(b"n" * 32, b"c" * 16))
    assert not signature_is_valid(identity.public_key, identity.sign(b"n" * 32 + b"b" * 16), statement)


@given(st.binary(max_size=40), st.binary(max_size=70), st.binary(max_size=40))
def test_arbitrary_bytes_are_no_signature_and_raise_nothing(public: bytes, signature: bytes, statement: bytes) -> None:
    assert not signature_is_valid(public, signature, statement)


def pem_of_another_kind() -> bytes:
    return generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pem_of_an_unknown_curve() -> bytes:
    return (
        b"-----BEGIN EC PARAMETERS-----\nBgUrgQQABA==\n-----END EC PARAMETERS-----\n"
        b"-----BEGIN PRIVATE KEY-----\nMDACAQAwEAYHKoZIzj0CAQYFK4EEAAQEGTAXAgEBBBIAAQIDBAUGBwgJCgsMDQ4PEBE=\n"
        b"-----END PRIVATE KEY-----\n"
    )


@pytest.mark.parametrize(
    "content", [b"", b"no key at all", pem_of_another_kind(), pem_of_an_unknown_curve(), b"\xff\xfe" * 50]
)
def test_a_key_file_that_is_none_is_named_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cart.key"
    path.write_bytes(content)
    with pytest.raises(IdentityError, match=r"cart\.key cannot be used"):
        Identity.load_or_create(path)
    assert path.read_bytes() == content


def test_an_encrypted_key_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "cart.key"
    encryption = serialization.BestAvailableEncryption(b"secret")
    pem = generate_private_key(SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    path.write_bytes(pem)
    with pytest.raises(IdentityError, match=r"cart\.key"):
        Identity.load_or_create(path)


def test_an_unreadable_key_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    path = tmp_path / "cart.key"
    Identity.load_or_create(path)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(IdentityError, match="Permission"):
        Identity.load_or_create(path)


def test_a_folder_in_place_of_the_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(IdentityError, match="directory"):
        Identity.load_or_create(tmp_path)
