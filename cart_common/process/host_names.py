"""Under which names the pages of a bridge or a cart answer. Pure.

The owner of another name can point it at this address (DNS rebinding), and their page then has the same origin as ours.
Addresses cannot be pointed anywhere, so they are allowed, as are localhost and the known names.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit


def host_names(*names: str) -> frozenset[str]:
    """Return names as they are compared; each text may hold several, separated by commas."""
    every = (name.strip().lower() for text in names for name in text.split(","))
    return frozenset(filter(None, every))


def name_in(host: str) -> str:
    """Return the name in a ``Host`` header, in lower case and without a port; empty if there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def is_own_name(name: str, known: Collection[str]) -> bool:
    """Tell whether a name is an address, localhost, or known."""
    return name == "localhost" or name in known or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
