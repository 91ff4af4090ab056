"""Read and write the catalogue as CSV, with pandas, which is imported when the first file comes.

No I/O otherwise. No cell of an exported file is a formula to a spreadsheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Final

from ..db.records import Item
from ..db.spreadsheet import escaped, unescaped
from .billing import CATEGORIES
from .catalogue import (
    MAX_ITEMS,
    NOTHING_KNOWN,
    CatalogueError,
    category_of,
    code_of,
    item_parsed_by,
    name_of,
    price_of,
    written_price,
)
from .item_codes import CodeIndex

if TYPE_CHECKING:
    from pandas import DataFrame

COLUMNS: Final = ("code", "name", "category", "price", "retired")
NEEDED: Final = COLUMNS[:4]
MAX_CSV_BYTES: Final = 1024 * 1024
MAX_ERRORS: Final = 50

_YES: Final = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}


@dataclass(frozen=True)
class LineError:
    """What is wrong in one line of a file, with all its fields; the first line is number 1."""

    line: int
    error: str


class CsvRefused(CatalogueError):
    """A file is rejected as a whole; ``lines`` has the errors."""

    def __init__(self, sentence: str, lines: Sequence[LineError] = ()) -> None:
        super().__init__(sentence)
        self.lines = tuple(lines)


def written(items: Sequence[Item]) -> str:
    """Return the items as CSV, with the byte order mark by which spreadsheets recognise UTF-8."""
    import pandas as pd

    rows = [
        (
            item.code,
            escaped(item.name),
            CATEGORIES.get(item.category, str(item.category)),
            written_price(item.price_cents),
            "yes" if item.retired else "no",
        )
        for item in items
    ]
    text: str = pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(index=False, lineterminator="\r\n")
    return "\N{ZERO WIDTH NO-BREAK SPACE}" + text


def read(data: bytes, known: CodeIndex = NOTHING_KNOWN) -> list[Item]:
    """Return the items of a CSV file with the columns code, name, category, price, and perhaps retired.

    Commas or semicolons separate the columns; prices are like ``3.49`` or ``3,49``; categories are numbers or names.

    Args:
        data: the file.
        known: the catalogue. An item that it holds keeps the code under which it is stored.

    Raises:
        CsvRefused: if anything in the file is wrong, with an error for each line.
    """
    text = _text(data)
    table = _table(text)
    items: dict[str, Item] = {}
    lines_of: dict[str, int] = {}
    errors: list[LineError] = []
    line = 1
    for fields in table.itertuples(index=False, name=None):
        line += 1
        try:
            item = _item(dict(zip(table.columns, fields, strict=True)), known, lines_of, line)
            if item is not None:
                items[item.code] = item
        except CatalogueError as error:
            errors.append(LineError(line, str(error)))
        line += sum(field.count("\n") for field in fields)
    if line < text.count("\n") + (
        not text.endswith("\n")
    ):  # pandas drops a record whose quotation mark is never closed
        raise CsvRefused("The file is not valid CSV.", [LineError(line + 1, "A quotation mark is never closed.")])
    if errors:
        count = "1 line is" if len(errors) == 1 else f"{len(errors)} lines are"
        raise CsvRefused(f"Nothing was imported: {count} wrong.", errors[:MAX_ERRORS])
    if not items:
        raise CsvRefused("There is no item in the file.")
    return list(items.values())


def _text(data: bytes) -> str:
    if len(data) > MAX_CSV_BYTES:
        raise CsvRefused(f"The file has {len(data)} bytes; at most {MAX_CSV_BYTES} are taken.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CsvRefused("The file is not in UTF-8.", [LineError(line, "Save the file as CSV UTF-8.")]) from None
    if "\0" in text:
        raise CsvRefused("The file holds zero bytes; it is not a CSV file.")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _table(text: str) -> DataFrame:
    """Return all fields as text, one row for each record; surplus fields are in the column ``excess``."""
    import pandas as pd

    heading, _, rest = text.partition("\n")
    separator = ";" if heading.count(";") > heading.count(",") else ","
    names = [name.strip().strip('"').casefold() for name in heading.split(separator)]
    missing = [name for name in NEEDED if name not in names]
    if missing or len(set(names)) < len(names) or len(names) > 20 or "excess" in names:
        raise CsvRefused(
            f"The first line must name the columns {', '.join(NEEDED)}, and perhaps retired, each once.",
            [LineError(1, f"It is {heading[:80]!r}.")],
        )
    if rest.count("\n") > 2 * MAX_ITEMS:
        raise CsvRefused(f"The file has more than {2 * MAX_ITEMS} lines; at most {MAX_ITEMS} items are kept.")
    # pandas takes the number of fields from the first record, so this one has them all.
    first = separator.join("x" for _ in [*names, "excess"])
    try:
        table = pd.read_csv(
            StringIO(f"{first}\n{rest}"),
            names=[*names, "excess"],
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            engine="python",
            on_bad_lines=lambda fields: [*fields[: len(names)], "more " + "".join(fields[len(names) :])],
        )
    except (pd.errors.ParserError, ValueError) as error:
        raise CsvRefused(f"The file is not valid CSV: {error}.") from None
    return table.iloc[1:].fillna("")


def _item(fields: dict[str, str], known: CodeIndex, lines_of: dict[str, int], line: int) -> Item | None:
    """Return the item of one record, or None for an empty one. ``lines_of`` holds the lines of the codes so far."""
    if not any(field.strip() for field in fields.values()):
        return None
    if fields["excess"]:
        raise CatalogueError("The line has more fields than the first one. Put quotes around a name with commas.")
    return item_parsed_by(
        {
            "code": lambda: _once(code_of(fields["code"], known), lines_of, line),
            "name": lambda: name_of(unescaped(fields["name"])),
            "category": lambda: category_of(fields["category"]),
            "price_cents": lambda: price_of(fields["price"]),
            "retired": lambda: _is_retired(fields.get("retired", "")),
        }
    )


def _once(code: str, lines_of: dict[str, int], line: int) -> str:
    if lines_of.setdefault(code, line) != line:
        raise CatalogueError(f"The code {code} is in line {lines_of[code]} already.")
    return code


def _is_retired(text: str) -> bool:
    retired = _YES.get(text.strip().casefold())
    if retired is None:
        raise CatalogueError(f"retired is {text[:40]!r}; it is yes or no.")
    return retired
