"""The list of bridges that a cart knows, on disk: a restart works even if the configured bridges are gone."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Final

from cart_common.process.atomic_files import write_whole
from cart_common.process.os_errors import error_words

from .bridge_selection import KnownBridge, as_json, from_json

log = logging.getLogger("cart.bridges")
MAX_FILE_BYTES: Final = 256 * 1024


class BridgeFile:
    """One file with a list of bridges."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> list[KnownBridge]:
        """Return the list; a missing or invalid file counts as empty, since the cart learns bridges again."""
        try:
            with open(self._path, "rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
            if len(content) > MAX_FILE_BYTES:
                raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
            return from_json(json.loads(content))
        except FileNotFoundError:
            return []
        except (OSError, ValueError, RecursionError) as error:
            log.warning("the list of bridges in %s is passed over: %s", self._path, error)
            return []

    def save(self, bridges: list[KnownBridge]) -> None:
        """Replace the file as a whole; a failing disk only costs a line in the log."""
        try:
            write_whole(self._path, json.dumps(as_json(bridges), indent=1).encode())
        except OSError as error:
            log.warning("the list of bridges cannot be kept in %s: %s", self._path, error_words(error))
