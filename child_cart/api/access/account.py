"""The operator's account: the hash of its password, the key that sessions are signed with, the token of programs.

Each lies in a file of the data folder that only the cart's user can read. The password itself is stored nowhere.
"""

from __future__ import annotations

import hmac
import json
import secrets
import threading
from pathlib import Path
from typing import Final

from werkzeug.security import check_password_hash, generate_password_hash

from cart_common.process.atomic_files import write_whole
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError

from .secret_files import read_text, token_of

MIN_PASSWORD_CHARS: Final = 10
MAX_PASSWORD_CHARS: Final = 200
METHOD: Final = "scrypt"
GROUPS: Final = 4
GROUP_CHARS: Final = 5
LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that look alike, as l and 1


class PasswordRefused(ValueError):
    """A new password is rejected; the message says why."""


class Account:
    """The one account of a cart.

    Args:
        folder: the data folder.
        password_file: a file with the first password; without it the cart makes one up.

    Attributes:
        made_password: the password made up at this start, which must be shown once; else None.
        session_key: what session cookies are signed with.
        token: programs send it instead of a password.

    Raises:
        SettingError: if one of the files cannot be used.
    """

    def __init__(self, folder: Path, password_file: str = "") -> None:
        self._path = folder / "admin.json"
        self._checking = threading.Lock()
        self._writing = threading.Lock()
        self.session_key = token_of(folder / "session-key")
        self.token = token_of(folder / "api-token")
        self.made_password: str | None = None
        if self._path.exists():
            self._hash, self._sessions = _kept(self._path)
            return
        if password_file:
            password = _given(password_file)
        else:
            password = self.made_password = new_password()
        self._hash, self._sessions = generate_password_hash(password, METHOD), _new_sessions()

    def keep(self) -> None:
        """Write a new account to the disk.

        Call this when nothing can keep a made-up password from being shown: the next start shows none.
        """
        if not self._path.exists():
            write_whole(self._path, _written(self._hash, self._sessions))

    @property
    def user_id(self) -> str:
        """The id that a valid session carries; it changes with each logout and each new password."""
        return self._sessions

    def is_password(self, password: str) -> bool:
        """Return whether this is the password. Costs about 50 ms of CPU on purpose, which slows guessing down."""
        with self._checking:  # one at a time: each takes 32 MiB
            return len(password) <= MAX_PASSWORD_CHARS and check_password_hash(self._hash, password)

    def is_token(self, token: str) -> bool:
        """Return whether this is the token of programs."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def change_password(self, password: str) -> None:
        """Change the password and end every session.

        Raises:
            PasswordRefused: if it is too short or too long, or the disk does not take it; nothing changes then.
        """
        check_new(password)
        try:
            self._keep(generate_password_hash(password, METHOD))
        except OSError as error:
            raise PasswordRefused(f"The new password cannot be kept: {error_words(error)}.") from error

    def end_sessions(self) -> None:
        """Log out: every session cookie made so far becomes invalid, copies too."""
        with self._writing:
            self._sessions = _new_sessions()  # before the write, so that it holds even when the disk is full
            write_whole(self._path, _written(self._hash, self._sessions))

    def _keep(self, password_hash: str) -> None:
        with self._writing:
            sessions = _new_sessions()
            write_whole(self._path, _written(password_hash, sessions))
            self._hash, self._sessions = password_hash, sessions


def _new_sessions() -> str:
    return secrets.token_urlsafe(16)


def _written(password_hash: str, sessions: str) -> bytes:
    return f"{json.dumps({'password_hash': password_hash, 'sessions': sessions})}\n".encode()


def new_password() -> str:
    """Return a random password of 100 bits that is easy to type."""
    groups = ("".join(secrets.choice(LETTERS) for _ in range(GROUP_CHARS)) for _ in range(GROUPS))
    return "-".join(groups)


def check_new(password: str) -> None:
    """Check the length of a new password.

    Raises:
        PasswordRefused: if it is too short or too long.
    """
    if not MIN_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        raise PasswordRefused(
            f"A password has {MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters; this one has {len(password)}."
        )


def _given(password_file: str) -> str:
    password = read_text(Path(password_file))
    try:
        check_new(password)
    except PasswordRefused as refused:
        raise SettingError(
            f"--admin-password-file (CART_ADMIN_PASSWORD_FILE) is {password_file!r}; {refused}"
        ) from None
    return password


def _kept(path: Path) -> tuple[str, str]:
    try:
        kept = json.loads(read_text(path))
        password_hash, sessions = kept["password_hash"], kept["sessions"]
        if not (isinstance(password_hash, str) and isinstance(sessions, str) and sessions):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise SettingError(
            f"The file {path} holds no account. Remove it: the cart makes a new password on its next start."
        ) from None
    return password_hash, sessions
