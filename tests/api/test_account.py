"""The operator's account on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from cart_common.process.settings import SettingError
from child_cart.api.access import account as account_module
from child_cart.api.access.account import Account, PasswordRefused

FILES = ("admin.json", "session-key", "api-token")


def test_a_password_is_made_once_and_kept_as_a_hash_alone(tmp_path: Path) -> None:
    first = Account(tmp_path)
    first.keep()
    made = first.made_password
    assert made is not None
    assert len(made) >= 20
    for name in FILES:
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert made not in (tmp_path / name).read_text()
    assert "scrypt:" in (tmp_path / "admin.json").read_text()
    again = Account(tmp_path)
    assert again.made_password is None
    assert again.is_password(made)
    assert not again.is_password(made[:-1])
    assert not again.is_password("x" * 100_000)
    assert (again.token, again.session_key) == (first.token, first.session_key)


def test_a_start_that_fails_keeps_no_password_that_nobody_was_shown(tmp_path: Path) -> None:
    lost = Account(tmp_path)
    again = Account(tmp_path)
    assert again.made_password not in (None, lost.made_password)
    again.keep()
    again.keep()
    assert Account(tmp_path).is_password(again.made_password or "")


def test_two_carts_share_no_secret(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = Account(tmp_path / "a"), Account(tmp_path / "b")
    assert one.token != other.token
    assert one.session_key != other.session_key
    assert one.made_password != other.made_password
    assert one.user_id != other.user_id


def test_a_password_file_counts_at_the_first_start(tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.write_text("correct horse battery\n")
    account = Account(tmp_path, str(given))
    assert account.made_password is None
    assert account.is_password("correct horse battery")
    account.change_password("another password")
    assert Account(tmp_path, str(given)).is_password("another password")


@pytest.mark.parametrize(
    ("content", "words"), [("short", "10 to 200 characters; this one has 5"), (None, "No such file or directory")]
)
def test_a_password_file_that_will_not_do_is_named(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "given"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingError, match=words) as refused:
        Account(tmp_path, str(path))
    assert str(path) in str(refused.value)
    assert not (tmp_path / "admin.json").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", "no json", '{"password_hash": 5, "sessions": "x"}'])
def test_a_damaged_account_is_named_with_what_to_do(tmp_path: Path, text: str) -> None:
    (tmp_path / "admin.json").write_text(text)
    with pytest.raises(SettingError, match=r"admin\.json holds no account\. Remove it"):
        Account(tmp_path)


@pytest.mark.parametrize("name", ["session-key", "api-token"])
def test_an_empty_secret_is_no_secret(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(SettingError, match=f"{name} holds no token"):
        Account(tmp_path)


def test_a_new_password_and_a_logout_end_all_sessions_also_over_a_restart(tmp_path: Path) -> None:
    account = Account(tmp_path)
    before = account.user_id
    account.end_sessions()
    assert account.user_id != before
    assert Account(tmp_path).user_id == account.user_id
    before = account.user_id
    account.change_password("a better password")
    assert account.user_id != before


@pytest.mark.parametrize("password", ["", "nine char", "x" * 201])
def test_a_new_password_has_a_length(tmp_path: Path, password: str) -> None:
    account = Account(tmp_path)
    with pytest.raises(PasswordRefused, match=f"this one has {len(password)}"):
        account.change_password(password)
    assert account.is_password(account.made_password or "")


def test_a_password_that_cannot_be_kept_is_not_taken(tmp_path: Path, monkeypatch) -> None:
    account = Account(tmp_path)

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(account_module, "write_whole", refuse)
    with pytest.raises(PasswordRefused, match="cannot be kept: No space left on device"):
        account.change_password("a better password")
    assert account.is_password(account.made_password or "")
    before = account.user_id
    with pytest.raises(OSError, match="No space left"):
        account.end_sessions()
    assert account.user_id != before  # logged out all the same
