"""Cells of exported files: no cell is a formula to a spreadsheet, and reading gives exactly what was written. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final, NoReturn

# A spreadsheet takes a cell that begins like this for a formula, the wide signs too. It may split a line at other
# separators than ours, so what follows one of those begins a cell as well. It drops quotes and may drop blanks.
_BEGINNING: Final = r"(?<![^,;|\t\r\n])"
_FORMULA: Final = r"'*[ \u00a0\"]*[=+\-@＝＋－＠\t\r\n]"  # noqa: RUF001
_UNSAFE: Final = re.compile(f"{_BEGINNING}(?={_FORMULA})")
_ESCAPED: Final = re.compile(f"{_BEGINNING}'(?={_FORMULA})")
_JSON_TEXT: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_UNSAFE_IN_JSON: Final = re.compile(r'(?<=[",;|])([ ]*)([=+\-@])')


def escaped(text: str) -> str:
    """Return text with an apostrophe before whatever begins like a formula; ``unescaped`` gives the text again."""
    return _UNSAFE.sub("'", text)


def unescaped(text: str) -> str:
    """Return the text that ``escaped`` was given. Of any other text, lose an apostrophe before a formula."""
    return _ESCAPED.sub("", text)


def cell_of(value: object) -> str:
    """Return a value of plain JSON as a cell: JSON, or for most texts the text itself.

    A text that would come back as something else, as ``5`` or an empty one, is written as JSON, in quotes.
    """
    if isinstance(value, str):
        cell = escaped(value)
        if value.isprintable() and value_of(cell) == value:
            return cell
    return _JSON_TEXT.sub(_harmless, json.dumps(value, allow_nan=False))


def value_of(cell: str) -> Any:
    """Return the value of a cell that ``cell_of`` has made; of any other cell, its JSON or its text."""
    if cell == "":
        return None  # is no cell that ``cell_of`` makes
    try:
        return json.loads(cell, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return unescaped(cell)


def _harmless(text: re.Match[str]) -> str:
    """Return a text of JSON with its signs that could begin a formula as escapes of JSON."""
    return _UNSAFE_IN_JSON.sub(lambda found: f"{found[1]}\\u{ord(found[2]):04x}", text[0])


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")
