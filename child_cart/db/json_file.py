"""JSON files of an archive. An object, or a record of a list, is known to be short before it is decoded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TextIO

from cart_common.process.os_errors import error_words

MAX_JSON_BYTES: Final = 256 * 1024 * 1024
"""Of a list of records, which is read record by record."""
MAX_RECORD_CHARS: Final = 4 * 1024 * 1024
"""Of a record, or a file with one object: empty objects take about thirty bytes for each of their characters."""

_SPACES: Final = re.compile(r"[ \t\r\n]*")


class JsonFileError(Exception):
    """A file cannot be read as JSON; the message names the file."""


def read_object(path: Path) -> Any:
    """Return what a small JSON file holds.

    Raises:
        JsonFileError: if it cannot be read, is too large, or is not JSON.
    """
    with _explained(path, MAX_RECORD_CHARS):
        return json.loads(path.read_text(encoding="utf-8"))


def read_records(path: Path) -> Iterator[Any]:
    """Yield the values of a JSON file that holds a list, one after the other.

    Raises:
        JsonFileError: if the file cannot be read, is too large, is not JSON, or holds no list.
    """
    with _explained(path, MAX_JSON_BYTES), open(path, encoding="utf-8") as file:
        text = _Text(file)
        if text.next_mark() != "[":
            raise JsonFileError(f"{path} does not hold a list of records.")
        if text.next_mark("]") != "]":
            yield text.value()
            while (mark := text.next_mark()) == ",":
                yield text.value()
            if mark != "]":
                raise ValueError
        if text.next_mark():
            raise ValueError


class _Text:
    """The text of a file, of which no more than one record is held.

    Args:
        file: open for reading.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._held = ""
        self._place = 0
        self._decoder = json.JSONDecoder()

    def next_mark(self, wanted: str = "") -> str:
        """Return the next character that is no space, or "" at the end; go past it, if it is wanted or nothing is."""
        while True:
            spaces = _SPACES.match(self._held, self._place)
            self._place = spaces.end() if spaces else self._place
            mark = self._held[self._place : self._place + 1]
            if mark:
                self._place += not wanted or mark == wanted
                return mark
            if not self._read_on():
                return ""

    def value(self) -> Any:
        """Return the next value.

        Raises:
            ValueError: if there is none, or it is longer than a record may be.
        """
        self.next_mark("\0")  # to the next character
        try:
            found, self._place = self._decoder.raw_decode(self._held, self._place)
        except ValueError:
            if not self._read_on():
                raise
            found, self._place = self._decoder.raw_decode(self._held, self._place)
        return found

    def _read_on(self) -> bool:
        """Hold as many characters as a record may have, from the present place on; return whether they are more."""
        rest = self._held[self._place :]
        more = self._file.read(MAX_RECORD_CHARS - len(rest))
        self._held, self._place = rest + more, 0
        return bool(more)


@contextmanager
def _explained(path: Path, most_bytes: int) -> Iterator[None]:
    """Check the size of a file, and name it in every error of the block."""
    try:
        if path.stat().st_size > most_bytes:
            raise JsonFileError(f"{path} has more than {most_bytes} bytes.")
        yield
    except OSError as error:
        raise JsonFileError(f"{path} cannot be read: {error_words(error)}.") from None
    except (ValueError, RecursionError):
        raise JsonFileError(f"{path} is not a JSON file, or a record of it is too long.") from None
