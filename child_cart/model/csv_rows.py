"""Read a user's own rows from a CSV file; errors name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from cart_common.process.errors import UserError
from cart_common.process.os_errors import error_words

from .task import Row, RowError, Task, checked_row


class CsvError(UserError):
    """A CSV file cannot be used; the message names file and line."""


Fields = dict[str, str]
"""A line of the file: the text of each column, by the column's name."""


def read_rows(task: Task, path: Path) -> list[Row]:
    """Read a CSV file with a header line into rows of the task. Column names may be in any case and order.

    Raises:
        CsvError: if the file cannot be read, or for the first line that is not a row of the task.
    """
    return [row for _, row in read_lines(task, path)]


def read_lines(task: Task, path: Path) -> list[tuple[Fields, Row]]:
    """Read a CSV file as ``read_rows`` does; return each line as it stands, and the row that the task makes of it.

    Raises:
        CsvError: as ``read_rows``.
    """
    try:
        lines = list(_lines(task, path))
    except OSError as error:
        raise CsvError(f"{path} cannot be read: {error_words(error)}.") from None
    except UnicodeDecodeError as error:
        raise CsvError(f"{path} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#x}).") from None
    if not lines:
        raise CsvError(f"{path} has no rows below its first line.")
    return lines


def _lines(task: Task, path: Path) -> Iterator[tuple[Fields, Row]]:
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = [name.strip().lower() for name in next(reader, [])]
            if not header:
                raise CsvError(f"{path} is empty; its first line names the columns.")
            for values in filter(None, reader):
                if len(values) != len(header):
                    raise RowError(f"it has {len(values)} columns, the first line {len(header)}")
                fields = dict(zip(header, (value.strip() for value in values), strict=True))
                yield fields, checked_row(task, fields)
        except (RowError, csv.Error) as error:
            raise CsvError(f"{path}, line {reader.line_num}: {error}.") from None
