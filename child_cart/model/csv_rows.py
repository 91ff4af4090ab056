"""Read a user's own rows from a CSV file; errors name the line."""

from __future__ import annotations

import csv
from pathlib import Path

from cart_common.process.errors import UserError
from cart_common.process.os_errors import error_words

from .task import Row, RowError, Task, checked_row


class CsvError(UserError):
    """A CSV file cannot be used; the message names file and line."""


def read_rows(task: Task, path: Path) -> list[Row]:
    """Read a CSV file with a header line into rows of the task. Column names may be in any case and order.

    Raises:
        CsvError: if the file cannot be read, or for the first line that is not a row of the task.
    """
    rows: list[Row] = []
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            if not header:
                raise CsvError(f"{path} is empty; its first line names the columns.")
            for values in reader:
                if not values:
                    continue
                try:
                    if len(values) != len(header):
                        raise RowError(f"it has {len(values)} columns, the first line {len(header)}")
                    fields = dict(zip(header, (value.strip() for value in values), strict=True))
                    rows.append(checked_row(task, fields))
                except RowError as error:
                    raise CsvError(f"{path}, line {reader.line_num}: {error}.") from None
    except OSError as error:
        raise CsvError(f"{path} cannot be read: {error_words(error)}.") from None
    except UnicodeDecodeError as error:
        raise CsvError(f"{path} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#x}).") from None
    except csv.Error as error:
        raise CsvError(f"{path}, line {reader.line_num}: {error}.") from None
    if not rows:
        raise CsvError(f"{path} has no rows below its first line.")
    return rows
