"""CSV files of any length, written and read a line at a time. A line that is read is bounded before it takes memory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cart_common.process.os_errors import error_words

MAX_LINE_CHARS: Final = 16 * 1024 * 1024
MAX_COLUMNS: Final = 10_000


class CsvFileError(Exception):
    """A file cannot be read as CSV; the message names file and line."""


def write_lines(path: Path, columns: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    """Write a CSV file with a first line of column names.

    Raises:
        OSError: if the disk does not take it.
    """
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow(columns)
        writer.writerows(lines)


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the records of a CSV file by column, each with the number of the line in which it begins.

    Raises:
        CsvFileError: at the first line that is not CSV, is too long, or has another number of cells than the first one.
    """
    before = csv.field_size_limit(MAX_LINE_CHARS)  # of the whole process: other readers have their own
    line = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(_bounded(file, path), strict=True)
            columns = next(reader, [])
            if not 1 <= len(set(columns)) == len(columns) <= MAX_COLUMNS:
                raise CsvFileError(f"{path} is not a CSV file whose first line names each column once.")
            line = reader.line_num
            for cells in reader:
                if cells and len(cells) != len(columns):
                    raise CsvFileError(f"{path}, line {line + 1}: it has {len(cells)} cells, the first {len(columns)}.")
                if cells:
                    yield line + 1, dict(zip(columns, cells, strict=True))
                line = reader.line_num
    except OSError as error:
        raise CsvFileError(f"{path} cannot be read: {error_words(error)}.") from None
    except UnicodeDecodeError:
        raise CsvFileError(f"{path} is not a CSV file in UTF-8 (below line {line}).") from None
    except csv.Error as error:
        raise CsvFileError(f"{path}, line {line + 1}: {error}.") from None
    finally:
        csv.field_size_limit(before)


def _bounded(file: Iterable[str], path: Path) -> Iterator[str]:
    """Yield the lines of a file; refuse one that is too long before it is read whole."""
    for number, line in enumerate(iter(lambda: file.readline(MAX_LINE_CHARS + 1), ""), 1):  # type: ignore[attr-defined]
        if len(line) > MAX_LINE_CHARS:
            raise CsvFileError(f"{path}, line {number}: it has more than {MAX_LINE_CHARS} characters.")
        yield line
