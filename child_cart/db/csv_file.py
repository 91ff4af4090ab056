"""CSV files of any length, written and read a line at a time. A record is bounded before it takes memory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

from cart_common.process.os_errors import error_words

MAX_RECORD_CHARS: Final = 16 * 1024 * 1024
MAX_RECORD_COMMAS: Final = 2 * 1024 * 1024
"""The longest row that a request can bring has as many. Each may part two cells, which take more memory than text."""
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
    before = csv.field_size_limit(MAX_RECORD_CHARS)  # of the whole process: other readers have their own
    line = 0
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = _Lines(file, path)
            reader = csv.reader(lines, strict=True)
            columns = next(reader, [])
            if not 1 <= len(set(columns)) == len(columns) <= MAX_COLUMNS:
                raise CsvFileError(f"{path} is not a CSV file whose first line names each column once.")
            line = reader.line_num
            lines.begin_record()
            for cells in reader:
                if cells and len(cells) != len(columns):
                    raise CsvFileError(f"{path}, line {line + 1}: it has {len(cells)} cells, the first {len(columns)}.")
                if cells:
                    yield line + 1, dict(zip(columns, cells, strict=True))
                line = reader.line_num
                lines.begin_record()
    except OSError as error:
        raise CsvFileError(f"{path} cannot be read: {error_words(error)}.") from None
    except UnicodeDecodeError:
        raise CsvFileError(f"{path} is not a CSV file in UTF-8 (below line {line}).") from None
    except csv.Error as error:
        raise CsvFileError(f"{path}, line {line + 1}: {error}.") from None
    finally:
        csv.field_size_limit(before)


class _Lines:
    """The lines of a file; a record of many lines, or of a long one, is refused before it is read whole."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._number = 0
        self.begin_record()

    def begin_record(self) -> None:
        """Count from here: what was read before has been taken."""
        self._first = self._number + 1
        self._chars = self._commas = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._file.readline(MAX_RECORD_CHARS + 1 - self._chars)
        if not line:
            raise StopIteration
        self._number += 1
        self._chars += len(line)
        self._commas += line.count(",")
        for count, most, words in (
            (self._chars, MAX_RECORD_CHARS, "characters"),
            (self._commas, MAX_RECORD_COMMAS, "commas"),
        ):
            if count > most:
                raise CsvFileError(f"{self._path}, line {self._first}: it has more than {most} {words}.")
        return line
