"""The operating system's errors as words for a sentence."""

from __future__ import annotations

import os
import re
import ssl
from typing import Final

_ERRNO: Final = re.compile(r"\[Errno (\d+)\]")


def error_words(error: OSError | UnicodeError) -> str:
    """Return why a file, a socket or a host name cannot be used, as ``No space left on device``."""
    if isinstance(error, UnicodeError):
        return "it is not text" if isinstance(error, UnicodeDecodeError) else str(error)
    if isinstance(error, ssl.SSLError):  # its number is OpenSSL's, not the system's
        return error.strerror or str(error)
    # asyncio replaces the system's words with a text that names the address, and joins several errors into one that has
    # no number of its own. The resolver's numbers are below zero.
    found = _ERRNO.search(str(error))
    number = error.errno or (int(found[1]) if found else 0)
    return os.strerror(number) if number > 0 else error.strerror or str(error)
