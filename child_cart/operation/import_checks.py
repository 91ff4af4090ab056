"""What a page would check, for the records of an archive. Pure but for the task, which is the user's."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import date
from typing import Final

from cart_common.process.field_errors import parsed
from cart_common.process.settings import SettingError, field_named, option_of, parse_value

from ..config import CartSettings
from ..db.archive_reading import RecordChecks
from ..db.field_types import MAX_WHOLE
from ..db.records import MAX_ID_CHARS, BillLine, Item, ModelVersion, Sale, is_id
from ..model.stored_rows import StoredRowCheck
from ..model.task import Task
from ..shop.billing import MAX_AMOUNT, MAX_LINES, shopper
from ..shop.catalogue import MAX_ITEMS, MAX_PRICE_CENTS, item_under, name_of
from ..shop.item_codes import OWN_CODE

MAX_EPOCH_S: Final = 32_503_680_000.0
"""The year 3000: later times cannot be shown."""
MAX_SETTING_CHARS: Final = 4096


def import_checks(task: Task) -> RecordChecks:
    """Return the checks of an import for a cart that learns this task."""
    return RecordChecks(
        item=_ItemCheck(),
        bill_line=_checked_line,
        sale=checked_sale,
        row=StoredRowCheck(task),
        batch_id=lambda batch_id: _checked_id("batch_id", batch_id),
        version=lambda version: _checked_version(version, task.name),
        setting=_checked_setting,
    )


class _ItemCheck:
    """Checks items as the catalogue page does, and that they are not too many."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, item: Item) -> Item:
        """Return the item under the code that it has, which may be older than the present form of codes."""
        self._count += 1
        if self._count > MAX_ITEMS:
            raise ValueError(f"at most {MAX_ITEMS} items are kept")
        _checked_id("code", item.code)
        if not OWN_CODE.fullmatch(item.code):
            raise ValueError(f"code is {item.code!r}; it must have letters, digits, dots, dashes and underscores")
        return item_under(item.code, asdict(item))


def checked_sale(sale: Sale) -> Sale:
    """Return a sale if a check-out can have made it.

    Raises:
        ValueError: naming what is wrong.
    """
    parsed(
        {
            "sale_id": lambda: _checked_id("sale_id", sale.sale_id),
            "gender": lambda: shopper(sale.gender),
            "sold_on": lambda: _check_day(sale.sold_on),
            "sold_at": lambda: _check_time(sale.sold_at),
            "lines": lambda: _check_lines(sale),
        }
    )
    return sale


def _check_time(sold_at: object) -> None:
    if not isinstance(sold_at, int | float) or not 0 <= sold_at <= MAX_EPOCH_S:
        raise ValueError(f"sold_at is {sold_at}; it must be seconds since 1970")


def _check_lines(sale: Sale) -> None:
    if not 1 <= len(sale.lines) <= MAX_LINES:
        raise ValueError(f"the sale has {len(sale.lines)} lines; a bill has 1 to {MAX_LINES}")
    total = sum(line.price_cents * line.amount for line in sale.lines)
    if total != sale.total_cents:
        raise ValueError(f"total_cents is {sale.total_cents}, and the lines make {total}")


def _check_day(text: str) -> None:
    # Any day: the cart's clock may have been wrong.
    try:
        is_day = date.fromisoformat(text).isoformat() == text
    except ValueError:
        is_day = False
    if not is_day:
        raise ValueError(f"sold_on is {text[:40]!r}; it must be a day like 2026-07-31")


def _checked_line(line: BillLine) -> BillLine:
    # The code as it was sold, which may be older than the present form of codes; the name, category and price alike.
    parsed(
        {
            "code": lambda: _checked_id("code", line.code),
            "name": lambda: name_of(line.name),
            "amount": lambda: _check_whole("amount", line.amount, MAX_AMOUNT),
            "price_cents": lambda: _check_whole("price_cents", line.price_cents, MAX_PRICE_CENTS),
            "category": lambda: _check_whole("category", line.category, MAX_WHOLE),
        }
    )
    return line


def _check_whole(field: str, value: object, most: int) -> None:
    if not isinstance(value, int) or not 1 <= value <= most:
        raise ValueError(f"{field} is {value}; it must be from 1 to {most}")


def _checked_id(field: str, text: str) -> str:
    if not is_id(text):
        raise ValueError(f"{field} is {text[:40]!r}; it must have 1 to {MAX_ID_CHARS} printable characters")
    return text


def _checked_version(version: ModelVersion, task_name: str) -> ModelVersion:
    if version.task != task_name:
        raise ValueError(f"it is of the task {version.task[:40]!r}, and this cart learns {task_name!r} (--task)")
    return version


def _checked_setting(name: str, value: object) -> str:
    """Return a changed setting as it is kept; one that this program does not know is kept too, and passed over."""
    if not isinstance(value, str) or len(value) > MAX_SETTING_CHARS:
        raise ValueError(f"{name[:40]!r} is {str(value)[:40]!r}; it must be a text")
    if name in {entry.name for entry in fields(CartSettings)}:
        entry = field_named(fields(CartSettings), name)
        if not option_of(entry).live:
            raise SettingError(f"{name} can only be set when the cart starts.")
        parse_value(entry, value, name)
    return value
