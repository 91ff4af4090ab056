"""Check several fields and name every wrong one at once, not only the first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class FieldErrors(ValueError):
    """Fields are wrong; ``fields`` has a sentence for each, and the message has all of them."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(". ".join(sentence.rstrip(".") for sentence in fields.values()) + _end(fields))
        self.fields = dict(fields)


def parsed(parsers: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return what each parser returns, by the name of its field.

    Args:
        parsers: each raises ``ValueError`` with a sentence, or ``FieldErrors`` if it checks several fields itself.

    Raises:
        FieldErrors: if any has failed. If two speak of one field, the first is kept.
    """
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for name, parse in parsers.items():
        try:
            values[name] = parse()
        except FieldErrors as error:
            wrong |= {field: told for field, told in error.fields.items() if field not in wrong}
        except ValueError as error:
            wrong.setdefault(name, str(error))
    if wrong:
        raise FieldErrors(wrong)
    return values


def _end(fields: Mapping[str, str]) -> str:
    return "." if any(sentence.endswith(".") for sentence in fields.values()) else ""
