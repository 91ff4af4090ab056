"""Find the item of a code's text, or the reason why there is none. Pure: no picture, no store, no price.

A shelf label of our own holds only the item's code, so that every scanner can type it on every keyboard layout. A
price comes from the catalogue, never from the text of a code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..db.records import Item

MAX_CODE_CHARS: Final = 24
MAX_TEXT_CHARS: Final = 4096
"""Longer texts are not looked at: a QR code can hold 7,089 digits, but the codes of a shop are short."""
SHOWN_CHARS: Final = 40

_OWN_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_GTIN_LENGTHS: Final = {8: "EAN-8", 12: "UPC-A", 13: "EAN-13"}


class CodeProblem(StrEnum):
    """Why a text gives no item."""

    EMPTY = "EMPTY"
    NOT_A_CODE = "NOT_A_CODE"
    CHECK_DIGIT = "CHECK_DIGIT"
    UNKNOWN = "UNKNOWN"
    RETIRED = "RETIRED"


class CodeError(ValueError):
    """A text gives no item; the message is a sentence for the shopper."""

    def __init__(self, reason: CodeProblem, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Reading:
    """The result of one code: an item that is sold here, or the reason and a sentence."""

    text: str
    item: Item | None
    reason: CodeProblem | None = None
    sentence: str = ""


def read(text: str, catalogue: Mapping[str, Item]) -> Reading:
    """Return the item that a code names, or why there is none."""
    shown = _shown(text)
    try:
        code = normal(text)
        item = catalogue.get(code)
        if item is None:
            raise CodeError(CodeProblem.UNKNOWN, f"No item of this shop has the code {code}.")
        if item.retired:
            raise CodeError(CodeProblem.RETIRED, f"{item.name} is no longer sold.")
    except CodeError as error:
        return Reading(shown, None, error.reason, str(error))
    return Reading(shown, item)


def read_all(texts: Sequence[str], catalogue: Mapping[str, Item]) -> list[Reading]:
    """Return the item that each code names, or why there is none."""
    return [read(text, catalogue) for text in texts]


def normal(text: str) -> str:
    """Return a code in the form that the catalogue keeps; a UPC-A becomes an EAN-13.

    8, 12 or 13 digits are an EAN-8, UPC-A or EAN-13 and must end with the right check digit. Everything else is a code
    of the shop's own: letters, digits, dots, dashes, underscores.

    Raises:
        CodeError: if it is not a code.
    """
    code = text.strip()
    if not code:
        raise CodeError(CodeProblem.EMPTY, "The code is empty.")
    if len(text) > MAX_TEXT_CHARS or len(code) > MAX_CODE_CHARS or not _OWN_CODE.fullmatch(code):
        raise CodeError(CodeProblem.NOT_A_CODE, f"“{_shown(text)}” is not the code of an item.")
    code = code.upper()  # after the check: some non-ASCII letters become ASCII here
    kind = _GTIN_LENGTHS.get(len(code)) if code.isdigit() else None
    if kind is None:
        return code
    if int(code[-1]) != check_digit(code[:-1]):
        raise CodeError(
            CodeProblem.CHECK_DIGIT,
            f"{code} is not a valid {kind}: its last digit would be {check_digit(code[:-1])}. Scan it again.",
        )
    return code.rjust(13, "0") if kind == "UPC-A" else code


def check_digit(digits: str) -> int:
    """Return the check digit that follows these digits (GS1 General Specifications, 7.9)."""
    return -sum(int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(digits))) % 10


def widened(upc_e: str) -> str:
    """Return the UPC-A that the eight digits of a UPC-E stand for (GS1 General Specifications, 5.2.2.4.2).

    Raises:
        CodeError: if they are not a UPC-E.
    """
    if not re.fullmatch(r"[01][0-9]{7}", upc_e):
        raise CodeError(CodeProblem.NOT_A_CODE, f"“{_shown(upc_e)}” is not a UPC-E.")
    system, a, b, c, d, e, last, check = tuple(upc_e)
    if last in "012":
        body = f"{a}{b}{last}0000{c}{d}{e}"
    elif last == "3":
        body = f"{a}{b}{c}00000{d}{e}"
    elif last == "4":
        body = f"{a}{b}{c}{d}00000{e}"
    else:
        body = f"{a}{b}{c}{d}{e}0000{last}"
    return f"{system}{body}{check}"


def _shown(text: str) -> str:
    """Return the beginning of the text on one line, without control characters that would change how it is shown."""
    start = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: SHOWN_CHARS + 1])
    return start if len(start) <= SHOWN_CHARS else f"{start[:SHOWN_CHARS]}…"
