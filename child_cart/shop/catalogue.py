"""Parse items of the catalogue from typed or sent fields; reject invalid ones with a readable error. No I/O."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from cart_common.process.field_errors import FieldErrors, parsed
from cart_common.process.json_values import Json

from ..db.records import Item
from .billing import CATEGORIES
from .item_codes import CodeError, CodeIndex

MAX_ITEMS: Final = 5000
MAX_NAME_CHARS: Final = 60
MAX_PRICE_CENTS: Final = 9_999_999
NOTHING_KNOWN: Final = CodeIndex({})

_PLAIN_SPACES: Final = str.maketrans("\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}", "  ")
_JOINERS: Final = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""They are seen only in how the letters beside them look: Persian words and many emoji are written with them."""
_WITHOUT_JOINERS: Final = str.maketrans("", "", _JOINERS)
_PRICE: Final = re.compile(r"([0-9]{1,5})(?:[.,]([0-9]{1,2}))?")


class CatalogueError(ValueError):
    """A change of the catalogue is rejected; the message is a sentence for the shopkeeper."""


class FieldsRefused(FieldErrors, CatalogueError):
    """Fields make no item; ``fields`` says of each wrong one what is wrong."""


class ReadOnlyCatalogue(CatalogueError):
    """The catalogue is kept elsewhere: no change here would last."""


def item_of(fields: Json, taken: Mapping[str, Item] | None = None) -> Item:
    """Return the item that these fields describe: code, name, category, price_cents, and perhaps retired.

    Args:
        fields: from a request.
        taken: items by code, for an item that is to be new.

    Raises:
        FieldsRefused: if any are invalid; it names all of them.
    """
    there = taken or {}
    return _item_of(fields, lambda value: _free(code_of(value, CodeIndex(there)), there))


def item_under(code: str, fields: Json) -> Item:
    """Return the item that these fields describe, under a code that the catalogue holds.

    Raises:
        FieldsRefused: if any are invalid; it names all of them.
    """
    return _item_of(fields, lambda value: code)


def _item_of(fields: Json, code: Callable[[object], str]) -> Item:
    return item_parsed_by(
        {
            "code": lambda: code(fields.get("code")),
            "name": lambda: name_of(fields.get("name")),
            "category": lambda: _category_number(fields.get("category")),
            "price_cents": lambda: _price_cents(fields.get("price_cents")),
            "retired": lambda: _is_retired(fields.get("retired", False)),
        }
    )


def item_parsed_by(parsers: Mapping[str, Callable[[], object]]) -> Item:
    """Return the item whose fields these parsers return.

    Raises:
        FieldsRefused: if any are invalid; it names all of them.
    """
    try:
        return Item(**parsed(parsers))
    except FieldErrors as error:
        raise FieldsRefused(error.fields) from None


def code_of(value: object, known: CodeIndex = NOTHING_KNOWN) -> str:
    """Return the code of an item in the form that the catalogue keeps, or under which it holds that item already.

    Raises:
        CatalogueError: if it is not a code.
    """
    if not isinstance(value, str):
        raise CatalogueError("The code is missing.")
    try:
        return known.kept_code(value)
    except CodeError as error:
        raise CatalogueError(str(error)) from None


def name_of(value: object) -> str:
    """Return the name of an item, in Unicode NFC and with plain spaces.

    Raises:
        CatalogueError: if it is too long, empty, or not printable.
    """
    if not isinstance(value, str):
        raise CatalogueError("The name is missing.")
    name = unicodedata.normalize("NFC", value).translate(_PLAIN_SPACES).strip(f" {_JOINERS}")
    if not 1 <= len(name) <= MAX_NAME_CHARS:
        raise CatalogueError(f"The name has {len(name)} characters; it must have 1 to {MAX_NAME_CHARS}.")
    if not name.translate(_WITHOUT_JOINERS).isprintable():
        raise CatalogueError(f"The name {name!r} holds characters that cannot be printed.")
    return name


def category_of(text: str) -> int:
    """Return a category from its number or its name.

    Raises:
        CatalogueError: if there is no such category.
    """
    wanted = text.strip().casefold()
    for number, name in CATEGORIES.items():
        if wanted in (str(number), name.casefold()):
            return number
    raise CatalogueError(f"There is no category {text[:40]!r}; there are {_category_words()}.")


def price_of(text: str) -> int:
    """Return a price such as ``3.49``, in whole cents.

    Raises:
        CatalogueError: if it is not a price, or out of bounds.
    """
    found = _PRICE.fullmatch(text.strip())
    cents = int(found[1]) * 100 + int((found[2] or "").ljust(2, "0")) if found else 0
    if cents == 0:
        raise CatalogueError(
            f"{text[:40]!r} is not a price; write it like 3.49, from 0.01 to {written_price(MAX_PRICE_CENTS)}."
        )
    return cents


def written_price(cents: int, currency: str = "") -> str:
    """Return a price as text: 349 cents are ``3.49``, or ``3.49 €`` with a space that allows no line break."""
    return f"{cents // 100}.{cents % 100:02}" + (f"\N{NO-BREAK SPACE}{currency}" if currency else "")


def with_room_for(catalogue: Mapping[str, Item], more: Mapping[str, Item]) -> None:
    """Check that more items fit into the catalogue.

    Raises:
        CatalogueError: if it would become too large.
    """
    count = len(catalogue.keys() | more.keys())
    if count > MAX_ITEMS:
        raise CatalogueError(f"The catalogue would have {count} items; at most {MAX_ITEMS} are kept.")


def _category_number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value not in CATEGORIES:
        raise CatalogueError(f"The category {str(value)[:40]!r} is unknown; there are {_category_words()}.")
    return value


def _price_cents(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MAX_PRICE_CENTS:
        raise CatalogueError(
            f"The price {str(value)[:40]!r} is not a whole number of cents from 1 to {MAX_PRICE_CENTS}."
        )
    return value


def _category_words() -> str:
    return ", ".join(f"{number} {name}" for number, name in CATEGORIES.items())


def _free(code: str, taken: Mapping[str, Item]) -> str:
    if code in taken:
        gone = " It is retired: take it back instead." if taken[code].retired else ""
        raise CatalogueError(f"The code {code} belongs to {taken[code].name}.{gone}")
    return code


def _is_retired(value: object) -> bool:
    if not isinstance(value, bool):
        raise CatalogueError("retired is wrong; it is true or false.")
    return value
