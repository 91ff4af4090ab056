"""The fields of control messages: each function declares a field and the check of its JSON value."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import field
from enum import StrEnum
from typing import Any, Final

MAX_CLUSTER_SIZE: Final = 256
# Bounds the message; a record's own limit is checked with the record.
MAX_RECORD_CHARS: Final = 1500
MAX_COUNT: Final = 2**53 - 1  # the largest integer that every JSON reader keeps exactly

_HEX: Final = re.compile(r"[0-9a-f]+")


def text_field(max_chars: int, **default: Any) -> Any:
    """Declare a printable text."""
    form = f"a printable text of at most {max_chars} characters"
    return _field(form, lambda value: _is_printable(value, max_chars), **default)


def hex_field(size_bytes: int) -> Any:
    """Declare bytes in lower-case hexadecimal."""
    return _field(f"{2 * size_bytes} lower-case hexadecimal digits", lambda value: _is_hex(value, size_bytes))


def blob_field(most_bytes: int, **default: Any) -> Any:
    """Declare bytes of any number up to a most, in lower-case hexadecimal."""

    def fits(value: object) -> bool:
        return value == "" or (
            isinstance(value, str) and len(value) <= 2 * most_bytes and _is_hex(value, len(value) // 2)
        )

    return _field(f"an even number of lower-case hexadecimal digits, at most {2 * most_bytes}", fits, **default)


def count_field(minimum: int = 0, maximum: int = MAX_COUNT, **default: Any) -> Any:
    """Declare a whole number."""

    def fits(value: object) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and minimum <= value <= maximum

    return _field(f"a whole number from {minimum} to {maximum}", fits, **default)


def share_field() -> Any:
    """Declare a number from 0 to 1."""

    def fits(value: object) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1

    return _field("a number from 0 to 1", fits, float)


def one_of_field(kind: type[StrEnum]) -> Any:
    """Declare one of the names of ``kind``."""

    def fits(value: object) -> bool:
        return isinstance(value, str) and value in kind.__members__

    return _field(f"one of {', '.join(kind)}", fits, kind)


def texts_field(most: int, max_chars: int, **default: Any) -> Any:
    """Declare a list of printable texts; it is not empty."""

    def fits(value: object) -> bool:
        return _is_list(value, most, lambda entry: _is_printable(entry, max_chars)) and bool(value)

    form = f"a list of 1 to {most} printable texts, each of at most {max_chars} characters"
    return _field(form, fits, tuple, **default)


def records_field(most: int, **default: Any) -> Any:
    """Declare a list of records, as texts; the records themselves are checked later."""

    def fits(value: object) -> bool:
        return _is_list(value, most, lambda entry: isinstance(entry, str) and len(entry) <= MAX_RECORD_CHARS)

    form = f"a list of at most {most} records, each a text of at most {MAX_RECORD_CHARS} characters"
    return _field(form, fits, tuple, **default)


def peers_field() -> Any:
    """Declare a list of cart ids."""

    def fits(value: object) -> bool:
        return _is_list(value, MAX_CLUSTER_SIZE, lambda entry: _is_hex(entry, 16))

    return _field(f"a list of at most {MAX_CLUSTER_SIZE} ids, each 32 lower-case hexadecimal digits", fits, tuple)


def _field(
    form: str, fits: Callable[[object], bool], take: Callable[[Any], Any] = lambda value: value, **default: Any
) -> Any:
    """Declare a field.

    Args:
        form: what the value must be, in words, for the error sentence and for the protocol's table.
        fits: tells whether a JSON value has this form.
        take: converts a JSON value that fits.
        default: the value if the field is missing.
    """

    def check(value: object) -> Any:
        if not fits(value):
            raise ValueError(f"must be {form}")
        return take(value)

    return field(metadata={"check": check, "form": form}, **default)


def _is_printable(value: object, max_chars: int) -> bool:
    # It is shown in logs and on pages, where line breaks forge lines and half a surrogate pair cannot be encoded.
    return isinstance(value, str) and len(value) <= max_chars and value.isprintable()


def _is_hex(value: object, size_bytes: int) -> bool:
    return isinstance(value, str) and len(value) == 2 * size_bytes and _HEX.fullmatch(value) is not None


def _is_list(value: object, most: int, fits: Callable[[object], bool]) -> bool:
    return isinstance(value, list | tuple) and len(value) <= most and all(map(fits, value))
