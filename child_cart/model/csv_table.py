"""Read a table from a CSV file of any length: its separator, the names of its columns, and a sample of its lines."""

from __future__ import annotations

import csv
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from cart_common.process.errors import UserError
from cart_common.process.os_errors import error_words

SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_NAMED_SEPARATOR: Final = re.compile(r"sep=(.)\s*", re.IGNORECASE)
"""The first line by which spreadsheets tell each other the separator."""
_COMMA: Final = re.compile(r"[+-]?(?:\d{1,3}(?:\.\d{3})+|\d*),\d+(?:[eE][+-]?\d+)?")
_NUMBER: Final = re.compile(r"[+-]?\d+(?:[eE][+-]?\d+)?|[+-]?\d{1,3}(?:\.\d{3})+")


class CsvError(UserError):
    """A CSV file cannot be used; the message names file and line."""


@dataclass(frozen=True)
class Line:
    """A line of the table: the number of its last line in the file, and its cells without outer spaces."""

    number: int
    cells: Sequence[str]


@dataclass(frozen=True)
class Table:
    """What was read of a file.

    Attributes:
        separator: that parts the cells.
        columns: their names as they stand in the file; empty for columns without a name.
        lines: all lines or a sample of them, in the order of the file.
        line_count: lines that the file has below its first one, as far as it was read.
    """

    separator: str
    columns: Sequence[str]
    lines: Sequence[Line]
    line_count: int


def read_table(path: Path, most: int | None = None, seed: int = 0, stop_after: int | None = None) -> Table:
    """Read a CSV file with a heading, in UTF-8. Memory is bounded by the sample, not by the file.

    Args:
        path: of the file.
        most: lines to keep: of a longer file a sample, drawn evenly (algorithm R: Vitter 1985). None keeps all.
        seed: of the draw.
        stop_after: read no further than this many lines; None reads the whole file.

    Raises:
        CsvError: if the file cannot be read, has no lines, or its heading names a column twice.
    """
    with _named_errors(path), open(path, encoding="utf-8-sig", newline="") as file:
        separator = _separator(file)
        reader = csv.reader(file, delimiter=separator, strict=True)
        try:
            columns = [name.strip() for name in next(reader, [])]
            _check_columns(path, columns)
            drawn, count = _drawn(reader, most, seed, stop_after)
        except csv.Error as error:
            raise CsvError(f"{path}, line {reader.line_num}: {error}.") from None
    if not drawn:
        raise CsvError(f"{path} has no rows below its first line.")
    lines = _with_decimal_points(sorted(drawn), separator)
    return Table(separator, columns, lines, count)


def _separator(file: TextIO) -> str:
    """Return what parts the first line into most columns, and leave the file at the heading."""
    first = file.readline()
    named = _NAMED_SEPARATOR.fullmatch(first)
    if named is not None:
        return named[1]
    file.seek(0)

    def columns(separator: str) -> int:
        return len(next(csv.reader([first], delimiter=separator), []))

    return max(SEPARATORS, key=columns)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    if not any(columns):
        raise CsvError(f"{path} is empty; its first line names the columns.")
    twice = [name for name, count in Counter(filter(None, columns)).items() if count > 1]
    if twice:
        raise CsvError(f"{path} has more than one column {twice[0]!r}: name each column once, in the first line.")


def _drawn(
    lines: Iterator[list[str]], most: int | None, seed: int, stop_after: int | None
) -> tuple[list[tuple[int, list[str]]], int]:
    draw = random.Random(seed).random  # noqa: S311 - nothing secret
    drawn: list[tuple[int, list[str]]] = []
    count = 0
    for cells in lines:
        if not cells:
            continue
        count += 1
        if most is None or count <= most:
            drawn.append((lines.line_num, cells))  # type: ignore[attr-defined]
        elif (place := int(draw() * count)) < most:
            drawn[place] = (lines.line_num, cells)  # type: ignore[attr-defined]
        if count == stop_after:
            break
    return drawn, count


def _with_decimal_points(drawn: Sequence[tuple[int, list[str]]], separator: str) -> list[Line]:
    """Return lines whose numbers have points, where a whole column has commas. Where commas part cells, none has."""
    lines = [Line(number, [cell.strip() for cell in cells]) for number, cells in drawn]
    if separator == ",":
        return lines
    width = max(len(line.cells) for line in lines)
    changed = {
        place for place in range(width) if _has_commas([line.cells[place] for line in lines if place < len(line.cells)])
    }
    if not changed:
        return lines
    return [
        Line(line.number, [_with_point(cell) if place in changed else cell for place, cell in enumerate(line.cells)])
        for line in lines
    ]


def _has_commas(cells: Sequence[str]) -> bool:
    """Tell whether most of these are numbers, some with a decimal comma and none with a decimal point."""
    commas = sum(_COMMA.fullmatch(cell) is not None for cell in cells)
    filled = sum(bool(cell) for cell in cells)
    whole = sum(_NUMBER.fullmatch(cell) is not None for cell in cells)
    return commas > 0 and 2 * (commas + whole) > filled and not any(map(_has_point, cells))


def _has_point(cell: str) -> bool:
    head, point, tail = cell.partition(".")
    return bool(point) and tail.isdigit() and head.lstrip("+-").isdigit() and _NUMBER.fullmatch(cell) is None


def _with_point(cell: str) -> str:
    is_number = _COMMA.fullmatch(cell) is not None or _NUMBER.fullmatch(cell) is not None
    return cell.replace(".", "").replace(",", ".") if is_number else cell


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CsvError(f"{path} cannot be read: {error_words(error)}.") from None
    except UnicodeDecodeError as error:
        raise CsvError(f"{path} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#x}).") from None
