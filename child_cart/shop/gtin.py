"""GTINs as scanners, spreadsheets and people write them. Pure; sections are those of the GS1 General Specifications.

Nothing here knows a catalogue. A code is only taken for a GTIN where its check digit or its form says so.
"""

from __future__ import annotations

import re
from typing import Final

GROUP_SEPARATOR: Final = "\x1d"
"""How scanners send FNC1 inside an element string."""

_AIM_ID: Final = re.compile(r"\]([A-Za-z][0-9A-Za-z])")
_GS1_SYMBOLS: Final = ("C1", "e0", "e1", "e2", "d2", "Q3", "J1")
_DIGITAL_LINK: Final = re.compile(r"(?:https?://)?[^/?#\s]+((?:/[^/?#\s]*)+)(?:[?#].*)?", re.IGNORECASE)
_LINK_KEY: Final = re.compile(r"/(?:01|gtin)/([0-9]{8,14})(?=/|$)", re.IGNORECASE)
_WRITTEN_KEY: Final = re.compile(r"\(01\) ?([0-9]{8,14})(?![0-9])")
_GROUPED: Final = re.compile(r"[0-9]+(?:[ \u00a0\u202f.,'\u2019-][0-9]+)+(?:[ -][Xx])?")
_ISBN_WORD: Final = re.compile(r"ISBN(?:-1[03])?:? ?", re.IGNORECASE)
_ISBN_10: Final = re.compile(r"[0-9]{9}[Xx]")
_BOOK_PREFIXES: Final = ("977", "978", "979")
_ADD_ON_LENGTHS: Final = (15, 18)

# The element strings of predefined length (7.8.5), with their identifier; all others end at a separator.
_PREDEFINED_CHARS: Final = (
    {"00": 20, "01": 16, "02": 16, "03": 16, "04": 18, "20": 4, "41": 16}
    | {str(identifier): 8 for identifier in range(11, 20)}
    | {str(identifier): 10 for identifier in range(31, 37)}
)


def check_digit(digits: str) -> int:
    """Return the check digit that follows these digits (7.9)."""
    return -sum(int(digit) * (1 if place % 2 else 3) for place, digit in enumerate(reversed(digits))) % 10


def is_valid(digits: str) -> bool:
    """Tell whether the last digit is the check digit of the others. Zeros alone are a placeholder, not a GTIN."""
    return digits.strip("0") != "" and int(digits[-1]) == check_digit(digits[:-1])


def canonical(digits: str) -> str:
    """Return a GTIN as a catalogue keeps it: 8 or 13 digits, or 14 for a case of pieces.

    Zeros in front do not change a GTIN: a UPC-A is an EAN-13, and a GTIN-14 with a zero in front is the code below it.
    """
    significant = digits.lstrip("0")
    width = next(width for width in (8, 13, 14) if len(significant) <= width)
    return significant.rjust(width, "0")


def widened(upc_e: str) -> str | None:
    """Return the UPC-A that the eight digits of a UPC-E stand for (5.2.2.4.2), or None if they are not a UPC-E."""
    if not re.fullmatch(r"[01][0-9]{7}", upc_e, re.ASCII):
        return None
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


def upc_e_reading(digits: str) -> str | None:
    """Return eight digits, read as a UPC-E, as a catalogue keeps them; None if their check digit says otherwise."""
    wide = widened(digits)
    return canonical(wide) if wide is not None and is_valid(wide) else None


def split_aim_id(text: str) -> tuple[str, str]:
    """Return the symbol's name that a scanner put before its data (ISO/IEC 15424), without ``]``, and the data."""
    found = _AIM_ID.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def named(symbol: str, data: str) -> str | None:
    """Return the digits of the GTIN that the form of the data names: they need a check. None if it names none.

    Such forms are element strings with AI (01), GS1 Digital Links, ISBNs and other GTINs with separators, and barcodes
    of books and magazines with their add-on.

    Args:
        symbol: from the AIM id, or empty.
        data: what was scanned or typed, without an AIM id.
    """
    if symbol == "E3":  # an EAN-13 with its add-on
        return data[:13] if data[:13].isdigit() else None
    if data.startswith("("):
        return _only(_WRITTEN_KEY.findall(data))
    if "/" in data:
        link = _DIGITAL_LINK.fullmatch(data)
        return _only(_LINK_KEY.findall(link[1])) if link else None
    if symbol in _GS1_SYMBOLS or GROUP_SEPARATOR in data:
        return _element_key(data)
    if data.isdigit() and len(data) in _ADD_ON_LENGTHS and data.startswith(_BOOK_PREFIXES) and is_valid(data[:13]):
        return data[:13]
    if re.match(r"01[0-9]{14}(?:[0-9]{2}|$)", data) and is_valid(data[2:16]):  # FNC1 and separators were dropped
        return data[2:16]
    return _ungrouped(data)


def eaten_zeros(digits: str) -> str | None:
    """Return the GTIN that was left by a spreadsheet, which eats zeros in front; None if there is no sign of one."""
    if digits.startswith("0"):
        return None
    if len(digits) == 7:
        return canonical(digits) if is_valid(digits) else upc_e_reading(f"0{digits}")
    return canonical(digits) if 9 <= len(digits) <= 11 and is_valid(digits) else None


def padded(digits: str) -> str | None:
    """Return the GTIN that a merchandise system has filled up with zeros to a field's width; None if it is none."""
    significant = digits.lstrip("0")
    if len(digits) <= 14 or not 9 <= len(significant) <= 14:
        return None
    return canonical(significant) if is_valid(significant) else None


def _only(found: list[str]) -> str | None:
    return found[0] if len(set(found)) == 1 else None


def _element_key(data: str) -> str | None:
    """Return the value of AI (01) in an element string (7.8)."""
    rest = data.lstrip(GROUP_SEPARATOR)
    while rest:
        if rest.startswith("01"):
            key = rest[2:16]
            return key if re.fullmatch(r"[0-9]{14}", key) else None
        predefined = _PREDEFINED_CHARS.get(rest[:2])
        rest = rest[predefined:] if predefined else rest.partition(GROUP_SEPARATOR)[2]
        rest = rest.lstrip(GROUP_SEPARATOR)
    return None


def _ungrouped(data: str) -> str | None:
    """Return the digits of a GTIN or ISBN that is written with separators."""
    word = _ISBN_WORD.match(data)
    data = data[word.end() :] if word else data
    if not word and not _GROUPED.fullmatch(data) and not _ISBN_10.fullmatch(data):
        return None
    digits = re.sub(r"[^0-9Xx]", "", data).upper()
    if _is_isbn_10(digits) and (word or digits.endswith("X") or len(re.findall(r"[ -]", data)) == 3):
        body = f"978{digits[:9]}"
        return f"{body}{check_digit(body)}"
    if not digits.isdigit():
        return None
    if len(digits) == 13 and digits.startswith(_BOOK_PREFIXES) and not re.search(r"[.,]", data):
        return digits
    lengths = (8, 12, 13, 14) if " " in data else (12, 13, 14)
    return digits if len(digits) in lengths and is_valid(digits) else None


def _is_isbn_10(digits: str) -> bool:
    if not re.fullmatch(r"[0-9]{9}[0-9X]", digits):
        return False
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(weight * value for weight, value in zip(range(10, 0, -1), values, strict=True)) % 11 == 0
