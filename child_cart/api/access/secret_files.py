"""Small secrets in files that only the cart's user can read."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from cart_common.process.atomic_files import write_whole
from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError

TOKEN_BYTES: Final = 32
MAX_BYTES: Final = 4096


def token_of(path: Path) -> str:
    """Return the token in a file; make it if there is no file.

    Raises:
        SettingError: if the file exists and holds no token.
    """
    if not path.exists():
        write_whole(path, f"{secrets.token_urlsafe(TOKEN_BYTES)}\n".encode())
    text = read_text(path)
    if len(text) < TOKEN_BYTES:
        raise SettingError(f"The file {path} holds no token. Remove it: the cart makes a new one on its next start.")
    return text


def read_text(path: Path) -> str:
    """Return the text of a small file, without the white space around it.

    Raises:
        SettingError: if it cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"The file {path} cannot be read: {error_words(error)}.") from None
