"""Read what ``archive.py`` has written, of this or an earlier format; say by line what is wrong, whatever the bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, TypeVar

from cart_common.process.field_errors import parsed
from cart_common.process.json_values import Json

from .archive import LINE_FIELDS, SALE_FIELDS
from .archive_format import FORMATS, SALE_ID, SEQUENCE, SET_ASIDE_SINCE, CellFormat
from .csv_file import CsvFileError, read_lines
from .field_types import MAX_TEXT_CHARS, check_fields
from .json_file import JsonFileError, read_object, read_records
from .migration import Contents, RecordCounts
from .records import (
    ACCURACY,
    MAX_ID_CHARS,
    BillLine,
    Item,
    ModelVersion,
    RoundRecord,
    Sale,
    SetAsideRow,
    SourcedRow,
    Verdict,
    round_of,
    version_of,
)
from .store import StoreError

T = TypeVar("T")
R = TypeVar("R", ModelVersion, RoundRecord)
S = TypeVar("S", Verdict, RoundRecord)

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")


class ArchiveError(StoreError):
    """An archive cannot be read; the message names the file."""


@dataclass(frozen=True)
class RecordChecks:
    """What records must be beyond their types. Each check returns what is kept, or raises ``ValueError``.

    Items, bill lines and sales may hold values of other types than theirs: all wrong fields are named at once.
    """

    item: Callable[[Item], Item]
    bill_line: Callable[[BillLine], BillLine]
    sale: Callable[[Sale], Sale]
    row: Callable[[Json, Json, Callable[[Json], bool]], Json]
    """Gets fields for the task to parse, the row as it was stored, and a test whether a parsed row is that one."""
    batch_id: Callable[[str], str]
    version: Callable[[ModelVersion], ModelVersion]
    setting: Callable[[str, object], str]


def read_counts(folder: Path) -> RecordCounts:
    """Return the number of records that an archive claims to hold.

    Raises:
        ArchiveError: if the folder is not an archive, or not a complete one.
    """
    about = _about(folder)
    try:
        counts = RecordCounts(**about["counts"])
        check_fields(counts)
    except (KeyError, TypeError, ValueError):
        raise ArchiveError(f"{folder / 'archive.json'} does not say how much the archive holds.") from None
    return counts


def read_archive(folder: Path, checks: RecordChecks) -> Contents:
    """Return the contents of an archive. The large parts are read and checked while the caller iterates over them.

    Rows may name sales, so the caller iterates over the sales first.

    Args:
        folder: of the archive.
        checks: are made of each record.

    Raises:
        ArchiveError: at once or during an iteration; it names the file, and the line where there is one.
    """
    form = _about(folder)["format"]
    reader = _Reader(folder, FORMATS[form], checks)
    set_aside = reader.set_aside() if form >= SET_ASIDE_SINCE else []
    return Contents(
        str(folder),
        list(reader.once("items.csv", reader.items(), lambda item: item.code)),
        reader.once("sales.csv", reader.sales(), lambda sale: sale.sale_id, reader.sale_keys),
        reader.rows({row.sequence for row in set_aside}),
        reader.once("batches.csv", reader.batch_ids(), str),
        reader.records("versions.json", lambda body: checks.version(_version(body))),
        reader.records("rounds.json", _round),
        reader.settings(),
        set_aside,
    )


class _Reader:
    """Reads the files of one folder."""

    def __init__(self, folder: Path, cells: CellFormat, checks: RecordChecks) -> None:
        self._folder = folder
        self._cells = cells
        self._checks = checks
        self.sale_keys: set[bytes] = set()
        """Of the sales that were read: a row may name one of them alone."""

    def items(self) -> Iterator[tuple[int, Item]]:
        """Yield the catalogue, each item with its line."""
        for line, cells in self._lines("items.csv"):
            with self._naming("items.csv", line):
                item = self._item(cells)
            yield line, item

    def sales(self) -> Iterator[tuple[int, Sale]]:
        """Yield sales, each with its last line. The lines of a bill follow each other."""
        whole: dict[str, str] = {}
        lines: list[BillLine] = []
        last = 0
        for line, cells in self._lines("sales.csv"):
            head = {name: cells.get(name, "") for name in SALE_FIELDS}
            if whole and head["sale_id"] != whole["sale_id"]:
                yield last, self._sale(last, whole, lines)
                lines = []
            if lines and head != whole:
                raise self._wrong("sales.csv", line, "it has another date, shopper or total than the line before")
            whole, last = head, line
            with self._naming("sales.csv", line):
                lines.append(self._bill_line(cells))
        if whole:
            yield last, self._sale(last, whole, lines)

    def rows(self, set_aside: Set[int]) -> Iterator[SourcedRow]:
        """Yield rows in the order of their numbers, which run from 1. Only those not set aside must be the task's."""
        for number, (line, cells) in enumerate(self._lines("cart_data.csv"), 1):
            if cells.pop(SEQUENCE, "") != str(number):
                raise self._wrong("cart_data.csv", line, f"its {SEQUENCE} must be {number}: they run from 1, in order")
            with self._naming("cart_data.csv", line):
                sale_id = self._sale_of_row(cells)
                row = self._row(cells, number in set_aside)
            yield SourcedRow(row, sale_id)

    def batch_ids(self) -> Iterator[tuple[int, str]]:
        """Yield the ids of batches, each with its line."""
        for line, cells in self._lines("batches.csv"):
            with self._naming("batches.csv", line):
                batch_id = self._checks.batch_id(self._cells.text_of(cells.get("batch_id", "")))
            yield line, batch_id

    def records(self, name: str, record_of: Callable[[Json], R]) -> list[R]:
        """Return the records of a JSON file, whose numbers must rise."""
        made: list[R] = []
        newest = -1
        for place, body in enumerate(_named(read_records(self._folder / name)), 1):
            with self._naming(name, place, "record"):
                record = record_of(body)
                if record.number <= newest:
                    raise ValueError(f"its number {record.number} must be above {newest}")
            newest = record.number
            made.append(record)
        return made

    def set_aside(self) -> list[SetAsideRow]:
        """Return the rows that are set aside, whose numbers must rise."""
        made: list[SetAsideRow] = []
        newest = 0
        for place, body in enumerate(_named(read_records(self._folder / "set_aside.json")), 1):
            with self._naming("set_aside.json", place, "record"):
                record = SetAsideRow(**body)
                check_fields(record)
                if record.sequence <= newest:
                    raise ValueError(f"its sequence {record.sequence} must be above {newest}")
            newest = record.sequence
            made.append(record)
        return made

    def settings(self) -> dict[str, str]:
        """Return the settings that were changed on the cart."""
        bodies = _object(self._folder / "settings.json")
        if not isinstance(bodies, dict):
            raise ArchiveError(f"{self._folder / 'settings.json'} does not hold settings by name.")
        kept: dict[str, str] = {}
        for place, (name, value) in enumerate(bodies.items(), 1):
            with self._naming("settings.json", place, "setting"):
                kept[name] = self._checks.setting(name, value)
        return kept

    def once(
        self,
        name: str,
        numbered: Iterable[tuple[int, T]],
        key_of: Callable[[T], str],
        seen: set[bytes] | None = None,
    ) -> Iterator[T]:
        """Yield records whose keys differ, and note them in ``seen``; refuse a key that was there before."""
        seen = set() if seen is None else seen
        for line, record in numbered:
            key = _short(key_of(record))
            if key in seen:
                raise self._wrong(name, line, f"{key_of(record)!r} was there before")
            seen.add(key)
            yield record

    def _item(self, cells: dict[str, str]) -> Item:
        retired = cells.get("retired", "False")  # missing in archives of programs that knew no retired items
        fields = self._typed(cells, ("code", "name", "category", "price_cents"))
        return _checked(Item(**fields, retired=_FLAGS.get(retired, retired)), self._checks.item)  # type: ignore[arg-type]

    def _bill_line(self, cells: dict[str, str]) -> BillLine:
        return _checked(BillLine(**self._typed(cells, LINE_FIELDS)), self._checks.bill_line)

    def _sale(self, line: int, whole: dict[str, str], lines: list[BillLine]) -> Sale:
        with self._naming("sales.csv", line):
            fields = self._typed(whole, SALE_FIELDS)
            sale = Sale(**{**fields, "sold_at": _number_of(whole["sold_at"]), "lines": tuple(lines)})
            return _checked(sale, self._checks.sale)

    def _typed(self, cells: dict[str, str], names: Iterable[str]) -> dict[str, Any]:
        """Return cells as whole numbers or texts; where a number belongs and there is none, the text is refused."""
        return {
            name: int(text) if name in _NUMBERS and _WHOLE.fullmatch(text) else self._cells.text_of(text)
            for name in names
            for text in (cells.get(name, ""),)
        }

    def _sale_of_row(self, cells: dict[str, str]) -> str:
        """Take the id of the sale that made a row out of its cells; empty if it comes from none."""
        sale_id = self._cells.text_of(cells.pop(SALE_ID, "")) if SALE_ID in self._cells.own_columns else ""
        if sale_id and _short(sale_id) not in self.sale_keys:
            raise ValueError(f"{SALE_ID} is {sale_id[:40]!r}, and there is no such sale in sales.csv")
        return sale_id

    def _row(self, cells: dict[str, str], is_set_aside: bool) -> Json:
        kept = {name: cell for name, cell in cells.items() if cell != ""}
        fields = self._cells.row_of(kept, self._cells.field_of)
        row = self._cells.row_of(kept, self._cells.value_of)
        if is_set_aside:
            return row
        return self._checks.row(fields, row, lambda parsed: self._cells.cells_of(parsed) == kept)

    def _lines(self, name: str) -> Iterator[tuple[int, dict[str, str]]]:
        return _named(read_lines(self._folder / name))

    @contextmanager
    def _naming(self, name: str, place: int, kind: str = "line") -> Iterator[None]:
        """Name the file and the place of whatever is wrong in the block."""
        try:
            yield
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise self._wrong(name, place, str(error) or type(error).__name__, kind) from None

    def _wrong(self, name: str, place: int, why: str, kind: str = "line") -> ArchiveError:
        return ArchiveError(f"{self._folder / name}, {kind} {place}: {why.rstrip('.')}. Nothing was imported.")


def _short(key: str) -> bytes:
    return blake2b(key.encode(), digest_size=12).digest()  # a store may hold millions


_NUMBERS: Final = frozenset({"category", "price_cents", "amount", "gender", "total_cents"})
_FLAGS: Final = {"True": True, "False": False}


def _checked(record: T, check: Callable[[T], T]) -> T:
    """Return what a check returns; name all fields that are wrong, by their types or by the check."""
    kept: T = parsed({"types": lambda: check_fields(record), "record": lambda: check(record)})["record"]
    return kept


def _number_of(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _version(body: Json) -> ModelVersion:
    version = version_of(body)
    check_fields(version)
    _check_metric(version.metric)
    if not _FILE_NAME.fullmatch(version.file_name):
        raise ValueError(f"file_name is {version.file_name[:80]!r}, not a plain name")
    if not _DIGEST.fullmatch(version.digest):
        raise ValueError(f"digest is {version.digest[:80]!r}; it must be 64 hexadecimal digits")
    if min(version.number, version.samples, version.trained_from, version.trained_to, version.round_number) < 0:
        raise ValueError("a number or a count of it is below 0")
    return version


def _round(body: Json) -> RoundRecord:
    record = round_of(body)
    record = _with_short_sentence(replace(record, verdicts=tuple(map(_with_short_sentence, record.verdicts))))
    check_fields(record)
    _check_metric(record.metric)
    for verdict in record.verdicts:
        check_fields(verdict)
    return record


def _check_metric(metric: Json) -> None:
    texts = {name: part for name, part in metric.items() if isinstance(part, str) and len(part) <= MAX_ID_CHARS}
    if texts.keys() != ACCURACY.keys() or texts != metric or metric["direction"] not in ("higher", "lower"):
        raise ValueError(f"metric is {str(metric)[:80]}; it must have a name, a unit, and a direction higher or lower")


def _with_short_sentence(record: S) -> S:
    """Return a record whose sentence can be kept: earlier versions bounded the words of a failure less."""
    sentence = record.sentence
    if not isinstance(sentence, str) or len(sentence) <= MAX_TEXT_CHARS:
        return record
    return replace(record, sentence=f"{sentence[: MAX_TEXT_CHARS - 1]}…")


def _about(folder: Path) -> Json:
    path = folder / "archive.json"
    about = _object(path)
    if not isinstance(about, dict) or about.get("format") not in FORMATS:
        *earlier, newest = FORMATS
        formats = f"{', '.join(map(str, earlier))} and {newest}"
        raise ArchiveError(f"{path} does not belong to an archive that this program reads (formats {formats}).")
    return about


def _object(path: Path) -> Any:
    try:
        return read_object(path)
    except JsonFileError as error:
        raise ArchiveError(str(error)) from None


def _named(things: Iterator[T]) -> Iterator[T]:
    """Yield what a file holds; say in our own error what is wrong with it."""
    try:
        yield from things
    except (CsvFileError, JsonFileError) as error:
        raise ArchiveError(str(error)) from None
