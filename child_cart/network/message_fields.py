"""What a field of a control message may hold: each function declares a field, and how its JSON value is checked."""

from __future__ import annotations

import math
import re
from dataclasses import field
from enum import StrEnum
from typing import Any, Final

MAX_CLUSTER_SIZE: Final = 256
# Bounds the message; the record's own limit is held when it is checked.
MAX_RECORD_CHARS: Final = 1500
MAX_COUNT: Final = 2**53 - 1  # what every JSON reader holds exactly

_HEX: Final = re.compile(r"(?:[0-9a-f]{2})+")


def text_field(max_chars: int, **default: Any) -> Any:
    """Declare a printable text."""

    def check(value: object) -> str:
        # Printable: it ends in logs and on pages, where line breaks forge lines and half a surrogate pair is no text.
        if not isinstance(value, str) or len(value) > max_chars or not value.isprintable():
            raise ValueError(f"must be a printable text of at most {max_chars} characters")
        return value

    return field(metadata={"check": check}, **default)


def _hex_text(value: object, size_bytes: int) -> str:
    if not isinstance(value, str) or len(value) != 2 * size_bytes or not _HEX.fullmatch(value):
        raise ValueError(f"must be {2 * size_bytes} lower-case hexadecimal digits")
    return value


def hex_field(size_bytes: int) -> Any:
    """Declare bytes in lower-case hexadecimal."""
    return field(metadata={"check": lambda value: _hex_text(value, size_bytes)})


def count_field(minimum: int = 0, maximum: int = MAX_COUNT, **default: Any) -> Any:
    """Declare a whole number."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not minimum <= value <= maximum:
            raise ValueError(f"must be a whole number from {minimum} to {maximum}")
        return value

    return field(metadata={"check": check}, **default)


def share_field() -> Any:
    """Declare a number from 0 to 1."""

    def check(value: object) -> float:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
        if not 0.0 <= number <= 1.0:
            raise ValueError("must be a number from 0 to 1")
        return number

    return field(metadata={"check": check})


def one_of_field(kind: type[StrEnum]) -> Any:
    """Declare one of the names of ``kind``."""

    def check(value: object) -> StrEnum:
        if not isinstance(value, str) or value not in kind.__members__:
            raise ValueError(f"must be one of {', '.join(kind)}")
        return kind(value)

    return field(metadata={"check": check})


def records_field(most: int, **default: Any) -> Any:
    """Declare a list of records, as texts that are still to be checked."""

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) > most:
            raise ValueError(f"must be a list of at most {most} records")
        if not all(isinstance(entry, str) and len(entry) <= MAX_RECORD_CHARS for entry in value):
            raise ValueError(f"must hold texts of at most {MAX_RECORD_CHARS} characters")
        return tuple(value)

    return field(metadata={"check": check}, **default)


def peers_field() -> Any:
    """Declare a list of cart ids."""

    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or len(value) > MAX_CLUSTER_SIZE:
            raise ValueError(f"must be a list of at most {MAX_CLUSTER_SIZE} cart ids")
        return tuple(_hex_text(entry, 16) for entry in value)

    return field(metadata={"check": check})
