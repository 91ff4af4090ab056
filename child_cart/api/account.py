"""The operator's account: the hash of its password, the key that sessions are signed with, the token of programs.

All of it lies in the data folder, each in a file that only the cart's user can read; the password itself nowhere.
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
from cart_common.process.settings import SettingError

from .secret_files import read_text, token_of

MIN_PASSWORD_CHARS: Final = 10
MAX_PASSWORD_CHARS: Final = 200
METHOD: Final = "scrypt"
GROUPS: Final = 4
GROUP_CHARS: Final = 5
LETTERS: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # none that is mistaken for another


class PasswordRefused(ValueError):
    """A new password that will not do; the message says why."""


class Account:
    """The one account of a cart.

    Args:
        folder: the data folder.
        password_file: a file with the password to begin with; without it one is made up.

    Attributes:
        made_password: the password that was made up at this start, to be shown once; else None.
        session_key: what session cookies are signed with.
        token: what programs show instead of a password.

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
        """Write the account down, if it is a new one.

        Called when a made-up password is sure to be shown: who has kept an account shows none at its next start.
        """
        if not self._path.exists():
            write_whole(self._path, _written(self._hash, self._sessions))

    @property
    def user_id(self) -> str:
        """What a session must name to be one of this account; another one after each logout and new password."""
        return self._sessions

    def is_password(self, password: str) -> bool:
        """Return whether this is the password. Takes some 50 ms of a processor, on purpose."""
        with self._checking:  # one at a time: each takes 32 MiB
            return len(password) <= MAX_PASSWORD_CHARS and check_password_hash(self._hash, password)

    def is_token(self, token: str) -> bool:
        """Return whether this is the token of programs."""
        return hmac.compare_digest(token.encode(), self.token.encode())

    def change_password(self, password: str) -> None:
        """Take another password; every session ends.

        Raises:
            PasswordRefused: if it is too short or too long, or cannot be kept; nothing changes then.
        """
        check_new(password)
        try:
            self._keep(generate_password_hash(password, METHOD))
        except OSError as error:
            raise PasswordRefused(f"The new password cannot be kept: {error.strerror}.") from error

    def end_sessions(self) -> None:
        """Log out: whatever cookie is shown from now on, it is none of this account."""
        with self._writing:
            self._sessions = _new_sessions()  # first: it holds even where the disk is full
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
    """Return a password that is easy to type and has 100 bits."""
    groups = ("".join(secrets.choice(LETTERS) for _ in range(GROUP_CHARS)) for _ in range(GROUPS))
    return "-".join(groups)


def check_new(password: str) -> None:
    """Make sure that a new password will do.

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
