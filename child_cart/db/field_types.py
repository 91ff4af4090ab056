"""Check the fields of records that were read from a file: a dataclass takes whatever it is given. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Any, Final

from cart_common.process.field_errors import FieldErrors

MAX_WHOLE: Final = 2**53 - 1
MAX_TEXT_CHARS: Final = 10_000


def check_fields(record: Any) -> None:
    """Check that the fields of a record have the types that its class declares, and sane sizes.

    Raises:
        FieldErrors: naming every field that is wrong, and its value.
    """
    wrong: dict[str, str] = {}
    for name, entry in record.__dataclass_fields__.items():
        value = getattr(record, name)
        kind, _, optional = str(entry.type).partition(" | ")
        is_right, words = _KINDS.get(kind, _ANYTHING)
        if not (is_right(value) or (optional == "None" and value is None)):
            wrong[name] = f"{name} is {str(value)[:40]!r}; it must be {words}"
    if wrong:
        raise FieldErrors(wrong)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_WHOLE


def _is_number(value: object) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT_CHARS and "\0" not in value and _is_unicode(value)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which no store takes
        return False
    return True


def _are_numbers(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(name) and _is_number(part) for name, part in value.items())


_ANYTHING: Final[tuple[Callable[[object], bool], str]] = (lambda _: True, "")
_KINDS: Final[dict[str, tuple[Callable[[object], bool], str]]] = {
    "int": (_is_whole, "a whole number"),
    "float": (_is_number, "a number"),
    "bool": (lambda value: isinstance(value, bool), "true or false"),
    "str": (_is_text, f"a text of at most {MAX_TEXT_CHARS} characters"),
    "Json": (lambda value: isinstance(value, dict), "an object"),
    "dict[str, float]": (_are_numbers, "an object of numbers"),
    "Origin": (lambda value: isinstance(value, Enum), "one of the known origins"),
    "Outcome": (lambda value: isinstance(value, Enum), "one of the known outcomes"),
}
