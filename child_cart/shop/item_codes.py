"""Find the item of a code's text, or the reason why there is none. Pure: no picture, no store, no price.

A shelf label of our own holds only the item's code, so that every scanner can type it on every keyboard layout. A
price comes from the catalogue, never from the text of a code.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import Final

from ..db.records import Item
from . import gtin

MAX_CODE_CHARS: Final = 24
MAX_TEXT_CHARS: Final = 4096
"""Longer texts are not looked at: a QR code can hold 7,089 digits, but the codes of a shop are short."""
SHOWN_CHARS: Final = 40

FORMS_KEPT: Final = 10_000
"""Codes of a catalogue whose form is remembered: working it out takes some microseconds."""

OWN_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_GTIN_NAMES: Final = {8: "EAN-8", 12: "UPC-A", 13: "EAN-13", 14: "GTIN-14"}
_ADD_ON_SYMBOLS: Final = ("E1", "E2")
_TEXT_CELL: Final = re.compile(r"(?s)\A(?:'|=(?=\"))\"?(.*?)\"?\Z")
# Some programs write no plus; four decimals tell a number from a code of the shop's own.
_SCIENTIFIC: Final = re.compile(r"([0-9])(?:[.,]([0-9]+))?[eE](?:\+|(?<=[0-9]{4}[eE]))([0-9]{1,3})")
_WHOLE_NUMBER: Final = re.compile(r"\A([0-9]+)[.,]0{1,2}\Z")


class CodeProblem(StrEnum):
    """Why a text gives no item."""

    EMPTY = "EMPTY"
    NOT_A_CODE = "NOT_A_CODE"
    CHECK_DIGIT = "CHECK_DIGIT"
    UNKNOWN = "UNKNOWN"
    RETIRED = "RETIRED"
    AMBIGUOUS = "AMBIGUOUS"


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


class CodeIndex:
    """Finds the items of a catalogue by their codes in any form.

    Args:
        catalogue: the items by the codes that they are stored under. Earlier versions stored other forms of some codes.
    """

    def __init__(self, catalogue: Mapping[str, Item]) -> None:
        self._catalogue = catalogue

    def matches(self, text: str) -> list[Item]:
        """Return the items that a code may name, the likeliest first.

        Raises:
            CodeError: if it is neither a code nor stored as one.
        """
        stored = self._catalogue.get(text.strip().upper())
        try:
            same = self._by_form.get(normal(text), [])
        except CodeError:
            if stored is None:
                raise
            same = []
        return same if stored is None else [stored, *(item for item in same if item != stored)]

    def kept_code(self, text: str) -> str:
        """Return the code under which the catalogue keeps an item, or would keep a new one.

        Raises:
            CodeError: if it is neither a code nor stored as one.
        """
        found = self.matches(text)
        return found[0].code if found else normal(text)

    @cached_property
    def _by_form(self) -> dict[str, list[Item]]:
        by_form: dict[str, list[Item]] = {}
        for code, item in self._catalogue.items():
            form = _stored_form(code)
            # An item that is stored under this very form comes first.
            same = by_form.setdefault(form, [])
            same.insert(0 if form == code else len(same), item)
        return by_form


def read(text: str, catalogue: Mapping[str, Item]) -> Reading:
    """Return the item that a code names, or why there is none."""
    return _reading(text, CodeIndex(catalogue))


def read_all(texts: Sequence[str], catalogue: Mapping[str, Item]) -> list[Reading]:
    """Return the item that each code names, or why there is none."""
    known = CodeIndex(catalogue)
    return [_reading(text, known) for text in texts]


def agreed(by_layout: Reading, by_position: Reading) -> Reading:
    """Return what keys of a scanner name, read by this computer's layout and by their places on an American keyboard.

    A scanner does not say which of them it types. Where both name an item, none is taken.
    """
    if by_layout.reason is CodeProblem.NOT_A_CODE or (by_layout.reason is CodeProblem.UNKNOWN and by_position.item):
        return by_layout if by_position.reason is CodeProblem.NOT_A_CODE else by_position
    if by_layout.item is None:
        return by_layout
    if by_position.item in (None, by_layout.item):
        return by_layout
    return Reading(
        by_layout.text,
        None,
        CodeProblem.AMBIGUOUS,
        "The code names two items, each at another keyboard layout. Set the scanner to the layout of this computer.",
    )


def _reading(text: str, known: CodeIndex) -> Reading:
    shown = _shown(text)
    try:
        found = known.matches(text)
        if not found:
            raise CodeError(CodeProblem.UNKNOWN, f"No item of this shop has the code {normal(text)}.")
        item = next((item for item in found if not item.retired), None)
        if item is None:
            raise CodeError(CodeProblem.RETIRED, f"{found[0].name} is no longer sold.")
    except CodeError as error:
        return Reading(shown, None, error.reason, str(error))
    return Reading(shown, item)


def normal(text: str) -> str:
    """Return a code in the one form that the catalogue keeps and scans are looked up by.

    A GTIN, however it is written, becomes its 13 digits, or 8 or 14. Everything else is a code of the shop's own:
    letters, digits, dots, dashes, underscores.

    Raises:
        CodeError: if it is not a code.
    """
    if len(text) > MAX_TEXT_CHARS:
        raise _not_a_code(text)
    symbol, data = gtin.split_aim_id(_trimmed(text))
    if not data:
        raise CodeError(CodeProblem.EMPTY, "The code is empty.")
    if symbol in _ADD_ON_SYMBOLS:
        raise CodeError(CodeProblem.NOT_A_CODE, f"“{_shown(data)}” is the add-on of a barcode. Scan the barcode too.")
    data = _without_spreadsheet(data)
    digits = gtin.named(symbol, data)
    if digits is not None:
        return _checked(digits)
    if len(data) > MAX_CODE_CHARS or not OWN_CODE.fullmatch(data):
        raise _not_a_code(text)
    code = data.upper()  # after the check: some non-ASCII letters become ASCII here
    if not code.isdigit():
        return code
    if symbol == "E0" and len(code) == 8:
        return gtin.upc_e_reading(code) or _checked(code)
    return _checked(code) if len(code) in _GTIN_NAMES else gtin.eaten_zeros(code) or gtin.padded(code) or code


def _checked(digits: str) -> str:
    """Return digits that must be a GTIN in the catalogue's form; eight that are no EAN-8 may be a UPC-E."""
    if gtin.is_valid(digits):
        return gtin.canonical(digits)
    upc_e = gtin.upc_e_reading(digits)
    if upc_e is not None:
        return upc_e
    if not digits.strip("0"):
        raise CodeError(CodeProblem.NOT_A_CODE, f"“{digits}” stands for no code: its digits are all 0.")
    raise CodeError(
        CodeProblem.CHECK_DIGIT,
        f"{digits} is not a valid {_GTIN_NAMES.get(len(digits), 'GTIN')}: "
        f"its last digit would be {gtin.check_digit(digits[:-1])}. Scan it again.",
    )


@lru_cache(FORMS_KEPT)
def _stored_form(code: str) -> str:
    try:
        return normal(code)
    except CodeError:  # an earlier version took it: it is found as it is stored
        return code


def _trimmed(text: str) -> str:
    """Return the text without the spaces, control and invisible characters before and after it."""
    start, end = 0, len(text)
    while start < end and _is_padding(text[start]):
        start += 1
    while end > start and _is_padding(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_padding(char: str) -> bool:
    return char.isspace() or unicodedata.category(char) in ("Cc", "Cf")


def _without_spreadsheet(data: str) -> str:
    """Return what stood in the cell: without marks that make it text, the ``.0`` of a number, or an exponent.

    Raises:
        CodeError: if digits were lost.
    """
    data = _TEXT_CELL.sub(r"\1", data)
    number = _SCIENTIFIC.fullmatch(data)
    if number:
        first, decimals, exponent = number[1], number[2] or "", int(number[3])
        if len(decimals) != exponent:
            raise CodeError(
                CodeProblem.NOT_A_CODE,
                f"“{_shown(data)}” has lost digits in a spreadsheet. Format the column as text, and enter it again.",
            )
        return first + decimals
    return _WHOLE_NUMBER.sub(r"\1", data)


def _not_a_code(text: str) -> CodeError:
    return CodeError(CodeProblem.NOT_A_CODE, f"“{_shown(text)}” is not the code of an item.")


def _shown(text: str) -> str:
    """Return the beginning of the text on one line, without control characters that would change how it is shown."""
    start = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text[: SHOWN_CHARS + 1])
    return start if len(start) <= SHOWN_CHARS else f"{start[:SHOWN_CHARS]}…"
