"""A cart's contents as files that other programs read: CSV, JSON and HDF5. No cart needs them to run.

``sales.csv`` has a line per bill line, ``cart_data.csv`` a line per row with the task's own columns. Both are written
and read a few thousand lines at a time, so memory does not grow with history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

import pandas as pd

from cart_common.process.json_values import Json
from cart_common.process.os_errors import error_words

from .migration import Contents, ProgressCallback, RecordCounts, parts_of
from .records import BillLine, Item, Sale, round_of, version_of
from .store import StoreError

T = TypeVar("T")

RowCheck = Callable[[Json], Json]
"""Checks the fields of a row and returns it; raises ``ValueError`` if they are not a row of the task."""

LINE_FIELDS: Final = ("code", "name", "category", "price_cents", "amount")
SALE_FIELDS: Final = ("sale_id", "sold_at", "sold_on", "gender", "total_cents")
LINES_AT_ONCE: Final = 20_000
FORMAT: Final = 1


class ArchiveError(StoreError):
    """An archive cannot be written or read; the message names the file."""


def write_archive(folder: Path, contents: Contents, columns: list[str], progress: ProgressCallback) -> RecordCounts:
    """Write contents into a folder; return how many records of each kind were written.

    Args:
        folder: exists, and holds nothing but models.
        contents: of the store.
        columns: the names of all fields of rows.
        progress: is called after each part.

    Raises:
        OSError: if the disk does not take it.
    """
    sales = _write_csv(folder / "sales.csv", "sales", contents.sales, [*SALE_FIELDS, *LINE_FIELDS], _lines_of, progress)
    rows = _write_csv(
        folder / "cart_data.csv", "rows", enumerate(contents.rows, 1), ["sequence", *columns], _row_line, progress
    )
    batches = _write_csv(
        folder / "batches.csv", "batches", contents.batch_ids, ["batch_id"], lambda name: [{"batch_id": name}], progress
    )
    _write_csv(
        folder / "items.csv", "items", contents.items, list(Item.__dataclass_fields__), lambda i: [asdict(i)], progress
    )
    _write_json(folder / "versions.json", [asdict(version) for version in contents.versions])
    progress("versions", len(contents.versions))
    _write_json(folder / "rounds.json", [asdict(record) for record in contents.rounds])
    progress("rounds", len(contents.rounds))
    _write_json(folder / "settings.json", contents.settings)
    progress("settings", len(contents.settings))
    counts = RecordCounts(
        len(contents.items), sales, rows, batches, len(contents.versions), len(contents.rounds), len(contents.settings)
    )
    # Last: a folder without it is not a complete archive.
    _write_json(folder / "archive.json", {"format": FORMAT, "source": contents.source, "counts": asdict(counts)})
    return counts


def read_counts(folder: Path) -> RecordCounts:
    """Return the number of records that an archive claims to hold.

    Raises:
        ArchiveError: if the folder is not an archive, or not a complete one.
    """
    path = folder / "archive.json"
    about = _read_json(path)
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ArchiveError(f"{path} does not belong to an archive that this program reads (format {FORMAT}).")
    try:
        return RecordCounts(**about["counts"])
    except (KeyError, TypeError):
        raise ArchiveError(f"{path} does not say how much the archive holds.") from None


def read_archive(folder: Path, checked_row: RowCheck) -> Contents:
    """Return the contents of an archive. The large parts are read and checked while the caller iterates over them.

    Args:
        folder: of the archive.
        checked_row: checks each row of cart data.

    Raises:
        ArchiveError: at once or during an iteration; it names the file, and the line where there is one.
    """
    items = [
        _made(folder / "items.csv", place, lambda line=line: _item_of_line(line))
        for place, line in _csv_lines(folder / "items.csv")
    ]
    versions = _records(folder / "versions.json", version_of)
    for version in versions:
        if Path(version.file_name).name != version.file_name:
            raise ArchiveError(f"{folder / 'versions.json'}: file_name is {version.file_name!r}, not a plain name.")
    return Contents(
        str(folder),
        items,
        _read_sales(folder / "sales.csv"),
        _read_rows(folder / "cart_data.csv", checked_row),
        (line.get("batch_id", "") for _, line in _csv_lines(folder / "batches.csv")),
        versions,
        _records(folder / "rounds.json", round_of),
        {str(name): str(value) for name, value in dict(_read_json(folder / "settings.json")).items()},
    )


def columns_of(rows: Iterable[Json]) -> list[str]:
    """Return the names of all fields of the rows, in the order of their first appearance."""
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    return list(names)


def _lines_of(sale: Sale) -> list[Json]:
    whole = {name: getattr(sale, name) for name in SALE_FIELDS}
    return [whole | asdict(line) for line in sale.lines]


def _row_line(numbered: tuple[int, Json]) -> list[Json]:
    number, row = numbered
    return [
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
        | {"sequence": number}
    ]


def _write_csv(
    path: Path, name: str, things: Iterable[T], columns: list[str], lines_of: Any, progress: ProgressCallback
) -> int:
    count = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        pd.DataFrame(columns=columns).to_csv(file, index=False)
        for part in parts_of(things):
            # As objects: a column of whole numbers stays whole where a cell is missing.
            lines = [line for thing in part for line in lines_of(thing)]
            pd.DataFrame(lines, columns=columns, dtype=object).to_csv(file, index=False, header=False)
            count += len(part)
            progress(name, len(part))
    return count


def _csv_lines(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the lines of a CSV file with their numbers, without empty cells."""
    place = 1
    try:
        with pd.read_csv(path, dtype=str, keep_default_na=False, chunksize=LINES_AT_ONCE, encoding="utf-8") as parts:
            for part in parts:
                if not isinstance(part.index, pd.RangeIndex):
                    raise ArchiveError(f"{path} has lines with more cells than its first one.")
                for line in part.to_dict("records"):
                    place += 1
                    yield place, {str(name): text for name, text in line.items() if text != ""}
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error_words(error)}.") from None
    except ValueError as error:  # what pandas rejects, and bytes that are not UTF-8
        raise ArchiveError(f"{path} is not a CSV file ({str(error).strip()[:200]}).") from None


def _read_sales(path: Path) -> Iterator[Sale]:
    """Join the lines of a bill, which follow each other, to sales."""
    whole: dict[str, str] = {}
    lines: list[BillLine] = []
    for place, line in _csv_lines(path):
        head = {name: line.get(name, "") for name in SALE_FIELDS}
        if whole and head["sale_id"] != whole["sale_id"]:
            yield _sale_of_lines(path, place - 1, whole, lines)
            lines = []
        whole = head
        fields = _whole({name: line.get(name, "") for name in LINE_FIELDS}, "category", "price_cents", "amount")
        lines.append(_made(path, place, lambda fields=fields: BillLine(**fields)))
    if whole:
        yield _sale_of_lines(path, place, whole, lines)


def _sale_of_lines(path: Path, place: int, whole: dict[str, str], lines: list[BillLine]) -> Sale:
    def make() -> Sale:
        fields: dict[str, Any] = _whole(whole, "gender", "total_cents")
        return Sale(**{**fields, "sold_at": float(whole["sold_at"]), "lines": tuple(lines)})

    sale: Sale = _made(path, place, make)
    return sale


def _read_rows(path: Path, checked_row: RowCheck) -> Iterator[Json]:
    for place, line in _csv_lines(path):
        fields = {name: _cell(text) for name, text in line.items() if name != "sequence"}
        yield _made(path, place, lambda fields=fields: checked_row(fields))


def _cell(text: str) -> object:
    """Return the list or object that a cell holds as JSON; anything else as its text, for the task to parse."""
    if text[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return text


def _item_of_line(line: dict[str, str]) -> Item:
    retired = line.get("retired", "False")  # missing in archives of programs that knew no retired items
    if retired not in ("False", "True"):
        raise ValueError(f"retired is {retired[:40]!r}; it must be True or False")
    fields: dict[str, Any] = _whole(line, "category", "price_cents")
    return Item(**{**fields, "retired": retired == "True"})


def _whole(fields: dict[str, str], *names: str) -> dict[str, Any]:
    """Convert these fields to whole numbers; any other text stays text, and ``_made`` rejects it."""
    return {
        name: int(text) if name in names and text.lstrip("-").isdecimal() and len(text) < 20 else text
        for name, text in fields.items()
    }


def _made(path: Path, place: int, make: Any) -> Any:
    try:
        made = make()
        wrong = [
            name
            for name, field in getattr(made, "__dataclass_fields__", {}).items()
            if field.type == "int" and not isinstance(getattr(made, name), int)
        ]
        if wrong:
            raise ValueError(f"{wrong[0]} is {str(getattr(made, wrong[0]))[:40]!r}; it must be a whole number")
    except (ValueError, TypeError, KeyError) as error:
        raise ArchiveError(f"{path}, line {place}: {error}.") from None
    return made


def _records(path: Path, record_of: Any) -> list[Any]:
    bodies = _read_json(path)
    try:
        return [record_of(body) for body in bodies]
    except (TypeError, ValueError, KeyError) as error:
        raise ArchiveError(f"{path} does not hold what was expected ({error}).") from None


def _write_json(path: Path, body: object) -> None:
    path.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {error_words(error)}.") from None
    except (ValueError, RecursionError):
        raise ArchiveError(f"{path} is not a JSON file.") from None
