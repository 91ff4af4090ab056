"""The text of a code to an item of the catalogue, or to the reason why not. Pure: no picture, no store, no price.

A shelf label of our own holds the item's code and nothing else, so that every scanner can read it, at whatever keyboard
layout it types in; what is printed beside a code, or written into one, is never taken for a price.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..db.records import Item

MAX_CODE_CHARS: Final = 24
MAX_TEXT_CHARS: Final = 4096
"""A QR code holds 7,089 digits at most, but none of a shop's."""
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
    """A text that gives no item; the message is a sentence for the shopper."""

    def __init__(self, reason: CodeProblem, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


@dataclass(frozen=True)
class Reading:
    """What became of one code: an item that is sold here, or the reason and a sentence."""

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
            raise CodeError(CodeProblem.RETIRED, f"{item.name} is not sold any more.")
    except CodeError as error:
        return Reading(shown, None, error.reason, str(error))
    return Reading(shown, item)


def normal(text: str) -> str:
    """Return the one form in which the catalogue holds a code; a UPC-A becomes the EAN-13 that it is.

    Digits as long as an EAN-8, UPC-A or EAN-13 must end with the right check digit; everything else is a code of the
    shop's own: letters, digits, dots, dashes, underscores.

    Raises:
        CodeError: if it is no code.
    """
    code = text.strip()
    if not code:
        raise CodeError(CodeProblem.EMPTY, "The code is empty.")
    if len(text) > MAX_TEXT_CHARS or len(code) > MAX_CODE_CHARS or not _OWN_CODE.fullmatch(code):
        raise CodeError(CodeProblem.NOT_A_CODE, f"“{_shown(text)}” is not the code of an item.")
    code = code.upper()  # after the look at its letters: some others become ASCII by this
    kind = _GTIN_LENGTHS.get(len(code)) if code.isdigit() else None
    if kind is None:
        return code
    if int(code[-1]) != check_digit(code[:-1]):
        raise CodeError(
            CodeProblem.CHECK_DIGIT,
            f"{code} is no {kind}: its last digit would be {check_digit(code[:-1])}. Scan it again.",
        )
    return code.rjust(13, "0") if kind == "UPC-A" else code


def check_digit(digits: str) -> int:
    """Return the check digit that follows these digits (GS1 General Specifications, 7.9)."""
    return -sum(int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(digits))) % 10


def widened(upc_e: str) -> str:
    """Return the UPC-A that the eight digits of a UPC-E stand for (GS1 General Specifications, 5.2.2.4.2).

    Raises:
        CodeError: if they are no such digits.
    """
    if not re.fullmatch(r"[01][0-9]{7}", upc_e):
        raise CodeError(CodeProblem.NOT_A_CODE, f"“{_shown(upc_e)}” is no UPC-E.")
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
    """Return the text as it can be shown: its beginning, on one line, and nothing that changes how the rest is read."""
    start = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: SHOWN_CHARS + 1])
    return start if len(start) <= SHOWN_CHARS else f"{start[:SHOWN_CHARS]}…"
