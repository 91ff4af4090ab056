"""Write a cart's contents as files that other programs read: CSV, JSON and HDF5. No cart needs them to run.

``sales.csv`` has a line per bill line, ``cart_data.csv`` a line per row with the task's own columns. Both are written a
line at a time, so memory does not grow with history. ``archive_reading.py`` reads them again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

from .archive_format import FORMATS, NEWEST
from .csv_file import write_lines
from .migration import Contents, ProgressCallback, RecordCounts
from .records import Sale, SourcedRow

T = TypeVar("T")

CELLS: Final = FORMATS[NEWEST]
ITEM_FIELDS: Final = ("code", "name", "category", "price_cents", "retired")
LINE_FIELDS: Final = ("code", "name", "category", "price_cents", "amount")
SALE_FIELDS: Final = ("sale_id", "sold_at", "sold_on", "gender", "total_cents")
TOLD_EVERY: Final = 1000


def write_archive(folder: Path, contents: Contents, columns: list[str], progress: ProgressCallback) -> RecordCounts:
    """Write contents into a folder; return how many records of each kind were written.

    Args:
        folder: exists, and holds nothing but models.
        contents: of the store.
        columns: the names of all fields of rows.
        progress: is called now and then with the number that was written since.

    Raises:
        OSError: if the disk does not take it.
    """

    def write(name: str, heading: Iterable[str], things: Iterable[T], lines_of: Any) -> int:
        kind = name.partition(".")[0].replace("cart_data", "rows")
        counted = _Counted(kind, progress)
        lines = (line for thing in counted.each(things) for line in lines_of(thing))
        write_lines(folder / name, list(heading), lines)
        return counted.total

    sales = write("sales.csv", [*SALE_FIELDS, *LINE_FIELDS], contents.sales, _sale_lines)
    heading = [*CELLS.own_columns, *map(CELLS.column, columns)]
    rows = write("cart_data.csv", heading, enumerate(contents.rows, 1), lambda row: [_row_line(row, columns)])
    batches = write("batches.csv", ["batch_id"], contents.batch_ids, lambda name: [[CELLS.text(name)]])
    write("items.csv", ITEM_FIELDS, contents.items, lambda item: [_line(item, ITEM_FIELDS)])
    bodies = {
        "versions": [asdict(version) for version in contents.versions],
        "rounds": [asdict(record) for record in contents.rounds],
        "settings": contents.settings,
        "set_aside": [asdict(row) for row in contents.set_aside],
    }
    for name, body in bodies.items():
        _write_json(folder / f"{name}.json", body)
        progress(name, len(body))
    counts = RecordCounts(
        items=len(contents.items),
        sales=sales,
        rows=rows,
        batches=batches,
        **{name: len(body) for name, body in bodies.items()},
    )
    # Last: a folder without it is not a complete archive.
    _write_json(folder / "archive.json", {"format": NEWEST, "source": contents.source, "counts": asdict(counts)})
    return counts


def columns_of(rows: Iterable[SourcedRow]) -> list[str]:
    """Return the names of all fields of the rows, in the order of their first appearance."""
    names: dict[str, None] = {}
    for entry in rows:
        names.update(dict.fromkeys(entry.row))
    return list(names)


class _Counted:
    """Counts what passes, and tells it now and then."""

    def __init__(self, kind: str, progress: ProgressCallback) -> None:
        self._kind = kind
        self._progress = progress
        self.total = 0

    def each(self, things: Iterable[T]) -> Iterator[T]:
        """Yield the things."""
        for thing in things:
            yield thing
            self.total += 1
            if self.total % TOLD_EVERY == 0:
                self._progress(self._kind, TOLD_EVERY)
        self._progress(self._kind, self.total % TOLD_EVERY)


def _sale_lines(sale: Sale) -> list[list[str]]:
    whole = _line(sale, SALE_FIELDS)
    return [[*whole, *_line(line, LINE_FIELDS)] for line in sale.lines]


def _row_line(numbered: tuple[int, SourcedRow], columns: list[str]) -> list[str]:
    number, entry = numbered
    values = (CELLS.value(entry.row[name]) if name in entry.row else "" for name in columns)
    return [str(number), CELLS.text(entry.sale_id), *values]


def _line(record: Any, names: Iterable[str]) -> list[str]:
    values = [getattr(record, name) for name in names]
    return [CELLS.text(value) if isinstance(value, str) else str(value) for value in values]


def _write_json(path: Path, body: object) -> None:
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
