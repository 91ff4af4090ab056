"""Addresses of other bridges, kept as JSON, so that a bridge finds the others after a restart.

The file is not trusted: the bridge at an address must prove its key again.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

from cart_common.process.atomic_files import write_whole

from .datagrams import Address, address_of

log = logging.getLogger("bridge.directory")
MOST_REMEMBERED: Final = 256
MAX_FILE_BYTES: Final = 64 * 1024


class KnownAddresses:
    """The last ``MOST_REMEMBERED`` addresses at which bridges have answered, the latest last."""

    def __init__(self, addresses: list[Address]) -> None:
        self._addresses = dict.fromkeys(addresses[-MOST_REMEMBERED:])

    def note(self, address: Address) -> None:
        """Remember that a bridge has answered at this address."""
        self._addresses.pop(address, None)
        self._addresses[address] = None
        while len(self._addresses) > MOST_REMEMBERED:
            del self._addresses[next(iter(self._addresses))]

    def addresses(self) -> list[Address]:
        """Return them, the latest last."""
        return list(self._addresses)


def read_known_addresses(path: Path) -> KnownAddresses:
    """Return the addresses in a file; none if it is missing or damaged."""
    try:
        content = path.read_bytes()
        if len(content) > MAX_FILE_BYTES:
            raise ValueError("it is too large")
        entries = [(host, port) for host, port in json.loads(content)["neighbours"]]
        found = [address_of(host, port) for host, port in entries if type(host) is str and type(port) is int]
        return KnownAddresses([address for address in found if address is not None])
    except FileNotFoundError:
        return KnownAddresses([])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        log.warning("the neighbours kept in %s are not used: %s", path, error)
        return KnownAddresses([])


def write_known_addresses(path: Path, known: KnownAddresses) -> None:
    """Write the addresses to a file.

    Raises:
        OSError: if the disk does not take it; an earlier file is then untouched.
    """
    write_whole(path, json.dumps({"neighbours": known.addresses()}, indent=1).encode())
