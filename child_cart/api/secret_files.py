"""Small files that nobody but the cart's user may read: written whole or not at all, mode 0600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from cart_common.process.os_errors import error_words
from cart_common.process.settings import SettingError

TOKEN_BYTES: Final = 32
MAX_BYTES: Final = 4096


def write_secret(path: Path, text: str) -> None:
    """Write a file with mode 0600, in place of what was there before."""
    # Under a temporary name first: a cart killed while it writes must not find half a file on its next start.
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)  # one that was left keeps its mode
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)  # the new name is data of the folder
    os.fsync(folder)
    os.close(folder)


def token_of(path: Path) -> str:
    """Return the token that a file holds, made on first use.

    Raises:
        SettingError: if the file is there and holds none.
    """
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(TOKEN_BYTES) + "\n")
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
