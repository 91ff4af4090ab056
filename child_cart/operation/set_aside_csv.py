"""Rows that are set aside as CSV, one line each, with their fields. No cell is a formula to a spreadsheet."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from ..db.records import SetAsideRow
from ..db.spreadsheet import cell_of, escaped

OWN_COLUMNS: Final = ("sequence", "set_aside_at_utc", "reason")


def written(rows: Sequence[SetAsideRow]) -> str:
    """Return the rows as CSV with a first line of column names: our own three, then the fields of the rows."""
    fields = list(dict.fromkeys(name for entry in rows for name in entry.row))
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow([*OWN_COLUMNS, *(cell_of(name) for name in fields)])
    lines.writerows(_line(entry, fields) for entry in rows)
    return text.getvalue()


def _line(entry: SetAsideRow, fields: Sequence[str]) -> list[object]:
    return [
        entry.sequence,
        datetime.fromtimestamp(entry.set_aside_at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        escaped(entry.reason),
        *(cell_of(entry.row[name]) if name in entry.row else "" for name in fields),
    ]
