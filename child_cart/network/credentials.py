"""Texts without the names and passwords that addresses in them can hold, as they may be shown, logged and kept."""

from __future__ import annotations

import re
from typing import Final

# What is nearly an address holds a password as well: a colon somewhere is enough to be taken for one.
_NEARLY: Final = re.compile(r"\s*[^\s:]*:")
_ADDRESS: Final = re.compile(r"\s*((?:[A-Za-z][A-Za-z0-9+.-]*:/+)?)(?:.*@)?([^?]*).*", re.DOTALL)
_WITHIN: Final = re.compile(r"(?<=://)[^/\s@]*@")


def shown(address: str) -> str:
    """Return an address without user, password and options; what is no address comes back as it is."""
    return _ADDRESS.fullmatch(address).expand(r"\1\2") if _NEARLY.match(address) else address  # type: ignore[union-attr]


def shown_text(text: str) -> str:
    """Return a text with the name and password of each URL in it left out."""
    return _WITHIN.sub("", text)
