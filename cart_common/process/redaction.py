"""Remove user names and passwords from addresses before they are shown, logged or kept."""

from __future__ import annotations

import re
from typing import Final

_PARTS: Final = re.compile(r"\s*((?:[A-Za-z][A-Za-z0-9+.-]*:/+)?)(.*)", re.DOTALL)
_HOST: Final = r"(?:[\w.-]*|\[[0-9A-Fa-f:.]+\])(?::\d+)?"
_HOSTS: Final = re.compile(rf"{_HOST}(?:,{_HOST})*")
_NEARLY: Final = re.compile(r".*[:/].*@", re.DOTALL)
_PATH: Final = re.compile(r"\.{0,2}/|[A-Za-z]:\\")
_IN_PATH: Final = re.compile(r"(passw(?:or)?d|pwd)=[^_&/]*", re.IGNORECASE)  # as many cameras take it
_WITHIN: Final = re.compile(r"(?<=://)\S*@")


def shown(address: str) -> str:
    """Return an address without user, password and options; any other text comes back as it is.

    A mistyped address holds a password as well. Where it is not clear which @ ends the password, the last one does.
    """
    scheme, rest = _PARTS.fullmatch(address).groups()  # type: ignore[union-attr]
    if not scheme:
        is_near = _NEARLY.match(rest) and not _PATH.match(rest)
        return rest.rpartition("@")[2] if is_near else address
    before, slash, path = rest.partition("?")[0].partition("/")
    hosts = before.rpartition("@")[2]
    if "@" in rest and not _HOSTS.fullmatch(hosts):
        return scheme + rest.rpartition("@")[2].partition("?")[0]
    return scheme + hosts + slash + _IN_PATH.sub(r"\1=…", path)


def shown_text(text: str) -> str:
    """Return a text without the user name and password of each URL in it."""
    return _WITHIN.sub("", text)
