"""How the cells of an archive stand for what is in the store, by the number of the archive's format. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from cart_common.process.json_values import Json

from .spreadsheet import cell_of, escaped, unescaped, value_of

NEWEST: Final = 4
SEQUENCE: Final = "sequence"
SALE_ID: Final = "sale_id"


@dataclass(frozen=True)
class CellFormat:
    """The cells of one format: texts of sales and items, and the names and values of a row's fields."""

    text: Callable[[str], str]
    text_of: Callable[[str], str]
    column: Callable[[str], str]
    column_of: Callable[[str], str]
    value: Callable[[object], str]
    field_of: Callable[[str], Any]
    """Returns what the task parses."""
    value_of: Callable[[str], Any]
    """Returns what was stored, as far as the cell says."""
    own_columns: tuple[str, ...] = (SEQUENCE,)
    """The columns of rows that are no field of the task."""

    def cells_of(self, row: Mapping[str, object]) -> dict[str, str]:
        """Return the cells of a row by column, without empty ones."""
        cells = {self.column(str(name)): self.value(value) for name, value in row.items()}
        return {name: cell for name, cell in cells.items() if cell != ""}

    def row_of(self, cells: Mapping[str, str], value_of: Callable[[str], Any]) -> Json:
        """Return a row of its cells; an empty cell is no field."""
        return {self.column_of(name): value_of(cell) for name, cell in cells.items() if cell != ""}


def _first_value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _first_field(cell: str) -> object:
    """Return the list or object that a cell holds as JSON; anything else as its text, for the task to parse."""
    return value_of(cell) if cell[:1] in ("[", "{") else cell


def _column(name: str, own: tuple[str, ...] = (SEQUENCE,)) -> str:
    return json.dumps(name) if name in own else cell_of(name)


def _column_of(cell: str) -> str:
    name = value_of(cell)
    if not isinstance(name, str):
        raise ValueError(f"{cell[:40]!r} is not the name of a column")
    return name


def _plain(text: str) -> str:
    return text


_OWN: Final = (SEQUENCE, SALE_ID)

_THIRD: Final = CellFormat(
    *(escaped, unescaped, partial(_column, own=_OWN), _column_of, cell_of, value_of, value_of), own_columns=_OWN
)

FORMATS: Final = {
    1: CellFormat(_plain, _plain, _plain, _plain, _first_value, _first_field, value_of),
    2: CellFormat(escaped, unescaped, _column, _column_of, cell_of, value_of, value_of),
    3: _THIRD,
    4: _THIRD,
}
"""Format 1 was written by version 0.1.0: it does not tell a number from its text, and holds formulas. Format 2 does
not say which sale made a row, format 3 not which rows are set aside."""
SET_ASIDE_SINCE: Final = 4
