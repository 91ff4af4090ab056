"""Bills, without I/O: the first catalogue of a cart, and prices for lines of codes and amounts.

Prices come from the catalogue alone, never from a scan or a request. A price that a shopper has seen is only compared.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from ..db.records import BillLine, Item

CATEGORIES: Final = {1: "Bakery", 2: "Dairy", 3: "Fruit & vegetables", 4: "Drinks", 5: "Sweets", 6: "Household"}
# Only the page shows these words: bills and rows hold the number.
SHOPPERS: Final = {0: "Woman", 1: "Man", 2: "Not said"}
MAX_AMOUNT: Final = 999
MAX_LINES: Final = 200
MAX_SENT_CODE_CHARS: Final = 64
MAX_SEEN_CENTS: Final = 2**53 - 1
EARLIEST_SALE: Final = date(2000, 1, 1)
DESCRIBED_CHARS: Final = 80

# Codes are EAN-13 of the range that GS1 leaves to shops themselves (prefix 020 to 029).
CATALOGUE: Final = (
    Item("0200000000103", "Rye bread", 1, 349),
    Item("0200000000202", "Croissant", 1, 129),
    Item("0200000000301", "Oat rolls", 1, 279),
    Item("0200000000400", "Baguette", 1, 219),
    Item("0200000000509", "Gouda", 2, 489),
    Item("0200000000608", "Greek yoghurt", 2, 199),
    Item("0200000000707", "Whole milk", 2, 119),
    Item("0200000000806", "Salted butter", 2, 259),
    Item("0200000000905", "Tomatoes", 3, 299),
    Item("0200000001001", "Apples", 3, 249),
    Item("0200000001100", "Spinach", 3, 189),
    Item("0200000001209", "Lemons", 3, 159),
    Item("0200000001308", "Sparkling water", 4, 79),
    Item("0200000001407", "Orange juice", 4, 239),
    Item("0200000001506", "Iced tea", 4, 149),
    Item("0200000001605", "Lemonade", 4, 169),
    Item("0200000001704", "Ice cream", 5, 399),
    Item("0200000001803", "Dark chocolate", 5, 229),
    Item("0200000001902", "Oat biscuits", 5, 179),
    Item("0200000002008", "Liquorice", 5, 139),
    Item("0200000002107", "Washing powder", 6, 699),
    Item("0200000002206", "Dish soap", 6, 199),
    Item("0200000002305", "Candles", 6, 329),
    Item("0200000002404", "Paper towels", 6, 279),
)


class BillError(ValueError):
    """A request makes no bill; the message is a sentence for the shopper."""


@dataclass(frozen=True)
class LineChange:
    """A line whose price is not the one that the shopper has seen. ``price_cents`` is None if it is not sold now."""

    code: str
    name: str
    amount: int
    seen_cents: int
    price_cents: int | None

    @property
    def needs_consent(self) -> bool:
        """Whether the shopper has to agree: a lower price passes."""
        return self.price_cents is None or self.price_cents > self.seen_cents


@dataclass(frozen=True)
class Bill:
    """Priced lines and their total, in whole cents, and how they differ from what the shopper has seen."""

    lines: tuple[BillLine, ...]
    total_cents: int
    changes: tuple[LineChange, ...] = ()


class BillChanged(BillError):
    """The bill is dearer than the shopper has seen, or an item is gone; ``bill`` is what it would be now."""

    def __init__(self, sentence: str, bill: Bill) -> None:
        super().__init__(sentence)
        self.bill = bill


@dataclass
class _Wanted:
    """What a request asks for of one item: how much, and the lowest price that was seen, if any was."""

    amount: int = 0
    seen_cents: int | None = None


def price(lines: object, catalogue: Mapping[str, Item]) -> Bill:
    """Return the priced bill of ``[{"code": ..., "amount": ..., "price_cents": ...}, ...]``.

    Lines of the same item are added up. ``price_cents`` is what the shopper has seen, and may be left out: only lines
    that have it are compared, and only such a line may be of an item that is not sold. It is left off the bill then.

    Args:
        lines: from a request.
        catalogue: all items by code, with the retired ones.

    Raises:
        BillError: for anything else, an unknown code, or an amount out of bounds.
    """
    wanted = _wanted_of(lines)
    sold = {code: item for code in wanted if (item := catalogue.get(code)) is not None and not item.retired}
    changes = []
    for code, entry in wanted.items():
        item = catalogue.get(code)
        if entry.amount > MAX_AMOUNT:
            name = item.name if item else code
            raise BillError(f"{entry.amount} pieces of {name}: at most {MAX_AMOUNT} can be bought.")
        if code not in sold and entry.seen_cents is None:
            raise BillError(_why_not_sold(code, item))
        now = sold[code].price_cents if code in sold else None
        if entry.seen_cents not in (None, now):
            changes.append(LineChange(code, item.name if item else code, entry.amount, entry.seen_cents, now))
    priced = tuple(_priced(item, wanted[code].amount) for code, item in sold.items())
    return Bill(priced, sum(line.price_cents * line.amount for line in priced), tuple(changes))


def shopper(value: object) -> int:
    """Return the shopper's gender, one of ``SHOPPERS``.

    Raises:
        BillError: for anything else.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value not in SHOPPERS:
        raise BillError(f"gender is {described(value)}; it must be 0, 1 or 2 (not said).")
    return value


def described(value: object) -> str:
    """Return a value from a request as an error sentence shows it: short, whatever its type and size."""
    if value is None:
        return "missing"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = repr(value)
    return text if len(text) <= DESCRIBED_CHARS else f"{text[:DESCRIBED_CHARS]}…"


def sale_day(text: object, today: date, days_back: int | None = None) -> date:
    """Return the day of a sale: today, or an earlier one given as ``2026-07-31``.

    Args:
        text: the day; None for today.
        today: at this cart.
        days_back: how many days ago it may have been; None for any day since ``EARLIEST_SALE``.

    Raises:
        BillError: for anything else, a day in the future, or one too long ago.
    """
    if text is None:
        return today
    try:
        day = date.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        day = None
    # A till may be a time zone ahead of us, which is less than a day.
    if day is None or not EARLIEST_SALE <= day <= today + timedelta(days=1):
        raise BillError(f"The day of sale {str(text)[:40]!r} is not a day like 2026-07-31, at most today.")
    if days_back is not None and day < today - timedelta(days=days_back):
        raise BillError(
            f"The day of sale {day.isoformat()!r} is more than {days_back} days ago. Only the operator can add such a "
            "sale, after logging in, and programs that show the cart's token."
        )
    return day


def index(items: Sequence[Item]) -> dict[str, Item]:
    """Return the items by their code."""
    return {item.code: item for item in items}


def _wanted_of(lines: object) -> dict[str, _Wanted]:
    if not isinstance(lines, list) or not 1 <= len(lines) <= MAX_LINES:
        raise BillError(f"A bill has 1 to {MAX_LINES} lines.")
    wanted: dict[str, _Wanted] = {}
    for line in lines:
        code, amount, seen_cents = _line_of(line)
        entry = wanted.setdefault(code, _Wanted())
        entry.amount += amount
        if seen_cents is not None:
            entry.seen_cents = seen_cents if entry.seen_cents is None else min(seen_cents, entry.seen_cents)
    return wanted


def _line_of(line: object) -> tuple[str, int, int | None]:
    if not isinstance(line, dict) or not isinstance(line.get("code"), str):
        raise BillError("Each line of a bill has the code of an item.")
    code, amount, seen_cents = line["code"], line.get("amount", 1), line.get("price_cents")
    if len(code) > MAX_SENT_CODE_CHARS:  # an answer repeats the codes of lines that have changed
        raise BillError(_why_not_sold(code, None))
    if not _is_whole(amount, 1, MAX_AMOUNT):
        raise BillError(f"The amount {str(amount)[:40]!r} is not a whole number from 1 to {MAX_AMOUNT}.")
    if seen_cents is not None and not _is_whole(seen_cents, 0, MAX_SEEN_CENTS):
        raise BillError(
            f"price_cents is {described(seen_cents)}; it is the price that the shopper has seen, in whole cents."
        )
    return code, amount, seen_cents


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _why_not_sold(code: str, item: Item | None) -> str:
    if item is None:
        return f"There is no item with the code {code[:40]!r} in the catalogue."
    return f"{item.name} is no longer sold: take it off the bill."


def _priced(item: Item, amount: int) -> BillLine:
    return BillLine(item.code, item.name, item.category, item.price_cents, amount)
