"""Make rows of a task from a CSV file of the user's own; errors name the line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any, Final

from .csv_table import SEPARATORS, CsvError, Line, Table, read_table
from .task import Row, RowError, Task, checked_row

__all__ = [
    "CsvError",
    "CsvRows",
    "Fields",
    "WrongLine",
    "check_file",
    "read_fields",
    "read_lines",
    "read_rows",
    "sample_rows",
]

HEAD_LINES: Final = 1000
"""Of a file, which a cart looks at before it starts; its trainer reads the rest."""
ASKED_LINES: Final = 20

Fields = dict[str, str]
"""A line of the file: the text of each column, by the name under which the task takes it."""


@dataclass(frozen=True)
class WrongLine:
    """A line that is not a row of the task, and why."""

    number: int
    reason: str


@dataclass(frozen=True)
class CsvRows:
    """Rows of a file.

    Attributes:
        rows: that the task takes.
        lines: the number of each row's line.
        wrong: lines that it does not take.
        line_count: lines of the file below its first one.
    """

    rows: list[Row]
    lines: list[int]
    wrong: list[WrongLine]
    line_count: int


def read_rows(task: Task, path: Path) -> list[Row]:
    """Read a CSV file with a heading into rows of the task.

    Columns may be in any order. One that the task asks for under a name that differs in case alone is taken for it.
    Commas, semicolons, tabs or vertical bars part the cells; where commas do not, numbers may have decimal commas.

    Raises:
        CsvError: if the file cannot be read, or for the first line that is not a row of the task.
    """
    return [row for _, row in read_lines(task, path)]


def read_lines(task: Task, path: Path) -> list[tuple[Fields, Row]]:
    """Read a CSV file as ``read_rows`` does; return the fields of each line, and the row that the task makes of them.

    Raises:
        CsvError: as ``read_rows``.
    """
    read = []
    for line, fields, made in _made_rows(task, path, read_table(path)):
        if isinstance(made, str):
            raise CsvError(f"{path}, line {line.number}: {made}.")
        read.append((fields, made))
    return read


def read_fields(path: Path) -> list[Fields]:
    """Read a CSV file as ``read_rows`` does, for no task: return the fields of each line as they stand.

    Raises:
        CsvError: if the file cannot be read, or for the first line that has another number of cells than its heading.
    """
    table = read_table(path)
    for line in table.lines:
        if (wrong := _wrong_width(line, table.columns)) is not None:
            raise CsvError(f"{path}, line {line.number}: {wrong}.")
    return [_fields(table.columns, line) for line in table.lines]


def sample_rows(task: Task, path: Path, most: int, seed: int) -> CsvRows:
    """Read at most so many rows: of a longer file a sample, drawn evenly and the same each time.

    Raises:
        CsvError: if the file cannot be read, lacks a column that the task needs, or no line is a row of the task.
    """
    return _rows_of(task, path, read_table(path, most, seed))


def check_file(task: Task, path: Path) -> None:
    """Check the heading and the first lines of a file, in a time that does not grow with it.

    Raises:
        CsvError: as ``sample_rows``, of the first 1,000 lines.
    """
    _rows_of(task, path, read_table(path, stop_after=HEAD_LINES))


def _rows_of(task: Task, path: Path, table: Table) -> CsvRows:
    found = CsvRows([], [], [], table.line_count)
    for line, _, made in _made_rows(task, path, table):
        if isinstance(made, str):
            found.wrong.append(WrongLine(line.number, made))
        else:
            found.rows.append(made)
            found.lines.append(line.number)
    if not found.rows:
        first = found.wrong[0]
        raise CsvError(f"{path}, line {first.number}: {first.reason}. No line that was read is a row of the task.")
    return found


def _made_rows(task: Task, path: Path, table: Table) -> Iterator[tuple[Line, Fields, Row | str]]:
    """Yield each line with its fields and the row that the task makes of it, or the reason why it makes none."""
    names = _asked_names(task, path, table)
    for line in table.lines:
        if (wrong := _wrong_width(line, names)) is not None:
            yield line, {}, wrong
            continue
        fields = _fields(names, line)
        try:
            made: Row | str = checked_row(task, fields)
        except RowError as error:
            made = str(error)
        yield line, fields, made


def _wrong_width(line: Line, names: Sequence[str]) -> str | None:
    if len(line.cells) == len(names):
        return None
    return f"it has {len(line.cells)} columns, the first line {len(names)}"


def _fields(names: Sequence[str], line: Line) -> Fields:
    return {name: cell for name, cell in zip(names, line.cells, strict=True) if name}


def _asked_names(task: Task, path: Path, table: Table) -> list[str]:
    """Return the names of the columns as the task asks for them.

    Raises:
        CsvError: if it refuses the first lines, and has asked for a column that is not there.
    """
    names = list(table.columns)
    lacking: list[str] = []
    for line in islice((line for line in table.lines if _wrong_width(line, names) is None), ASKED_LINES):
        asked = [""]
        while asked:  # each turn renames a column: a task may ask for the next one only when it has found the first
            fields = _AskedFields(_fields(names, line))
            refusal = _refusal(task, fields)
            asked = [name for name in fields.missing if _rename(names, name)]
        if refusal is None:
            return names
        # Others may be asked for and not needed.
        lacking += [name for name in fields.missing if name == fields.last or name in refusal]
    if lacking:
        raise CsvError(f"{path} has no column {lacking[0]!r}, which the task asks for. {_has(lacking[0], table)}")
    return names


def _rename(names: list[str], asked: str) -> bool:
    """Give the column whose name differs from this one in case alone this name; tell whether there is just one."""
    same = [place for place, name in enumerate(names) if name.casefold() == asked.casefold()]
    if len(same) != 1:
        return False
    names[same[0]] = asked
    return True


def _refusal(task: Task, fields: Fields) -> str | None:
    try:
        checked_row(task, fields)
    except RowError as error:
        return str(error)
    return None


def _has(name: str, table: Table) -> str:
    columns = [column for column in table.columns if column]
    near = get_close_matches(name, columns, n=1)
    meant = f"Is it {near[0]!r}? " if near else ""
    separator = SEPARATORS.get(table.separator, repr(table.separator))
    return f"{meant}Its first line names, with {separator} between them: {', '.join(columns)}."


class _AskedFields(dict[str, str]):
    """Fields that note the names that were asked for and are not there.

    Attributes:
        missing: those names, in order.
        last: the name that was asked for last, there or not.
    """

    def __init__(self, fields: Fields) -> None:
        super().__init__(fields)
        self.missing: list[str] = []
        self.last = ""

    def __getitem__(self, name: str) -> str:
        if name not in self:
            raise KeyError(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        is_there = super().__contains__(name)
        self.last = str(name)
        if not is_there:
            self.missing.append(self.last)
        return is_there

    def get(self, name: str, default: Any = None) -> Any:
        """Return a field, or the default."""
        try:
            return self[name]
        except KeyError:
            return default
