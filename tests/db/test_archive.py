"""Archives come back as they were; anything else is rejected with a readable error, whatever its bytes."""

from __future__ import annotations

import csv
import io
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from child_cart.db import csv_file, json_file
from child_cart.db.archive import columns_of, write_archive
from child_cart.db.archive_reading import ArchiveError, RecordChecks, read_archive, read_counts
from child_cart.db.migration import Contents
from child_cart.db.records import BillLine, Item, RoundRecord, Sale, SetAsideRow, SourcedRow, Verdict
from child_cart.db.spreadsheet import cell_of, escaped, unescaped, value_of
from child_cart.model.shopping import Shopping
from child_cart.model.stored_rows import StoredRowCheck
from child_cart.model.task import RowError
from tests.support.carts.light_task import LightTask


def same(record):
    return record


def checks(row) -> RecordChecks:
    return RecordChecks(same, same, same, row, same, same, lambda name, value: str(value))


def unchecked() -> RecordChecks:
    return checks(lambda fields, row, is_same: row)


def checked() -> RecordChecks:
    return checks(StoredRowCheck(LightTask()))


FILES = ["sales.csv", "cart_data.csv", "batches.csv", "items.csv", "versions.json", "rounds.json", "archive.json"]

texts = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], include_characters=" "), min_size=1, max_size=30)
numbers = st.integers(0, 10**12)
lines = st.builds(BillLine, texts, texts, numbers, numbers, numbers)
sales = st.lists(
    st.builds(
        *(Sale, texts, st.floats(0, 1e11), texts, st.integers(0, 1)),
        *(st.lists(lines, min_size=1, max_size=3).map(tuple), numbers),
    ),
    unique_by=lambda sale: sale.sale_id,
    max_size=5,
)


def sourced(rows) -> list[SourcedRow]:
    return [SourcedRow(row) for row in rows]


def contents(**other) -> Contents:
    rows = sourced([{"degrees": degrees, "third": degrees // 120} for degrees in (1, 130, 359)])
    whole = {"items": [Item("1", "Tea", 4, 250)], "sales": [], "rows": rows, "batch_ids": ["a b"]}
    return Contents("here", **(whole | {"versions": [], "rounds": [], "settings": {}} | other))


def write(folder: Path, whole: Contents) -> None:
    write_archive(folder, whole, columns_of(whole.rows), lambda name, count: None)


@given(sales)
@example([Sale("NA", 0.1, "nan", 0, (BillLine("007", ' a,"b" ', 1, 1, 1),), 10**12)])
def test_sales_come_back_to_the_last_digit(sold) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), contents(sales=sold))
        assert list(read_archive(Path(name), checked()).sales) == sold
        assert read_counts(Path(name)).sales == len(sold)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
tricky = st.text("=+-@\t\r\n'\",;| \uff1d1", max_size=8)


@given(st.lists(st.dictionaries(tricky | st.text(), tricky | json_values, min_size=1), min_size=1, max_size=4))
@example(
    [{"sequence": "sequence", "sale_id": "mine", "": "", "5": 5, "x": "5", "é": [], "null": None, "d": {"a": "\ud800"}}]
)
@example([{"a": "-1"}, {"b": -1}, {"a": "NaN", "b": "1e999"}, {"a": -0.0, "b": True}])
def test_rows_of_any_task_come_back_exactly(rows) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), contents(rows=sourced(rows)))
        assert no_formulas((Path(name) / "cart_data.csv").read_text())
        found = [entry.row for entry in read_archive(Path(name), unchecked()).rows]
    assert json.dumps(found, sort_keys=True) == json.dumps(rows, sort_keys=True)


FORMULA = re.compile(r"[ \u00a0]*[=+\-@\t\r\uff0b-\uff0d\uff1d\uff20]")


def no_formulas(text: str) -> bool:
    """Tell whether a spreadsheet finds a formula in no cell, whichever separator it takes; numbers are none."""
    cells = [
        cell
        for separator in ",;\t|"
        for line in csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        for cell in line
    ]
    return not [cell for cell in cells if FORMULA.match(cell) and not is_number(cell)]


def is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell[0] == "-"


@given(tricky | st.text())
@example("'=1")
@example("\t=")
@example("a;'-b,,=c")
def test_escaping_is_undone_and_leaves_no_formula(text: str) -> None:
    assert unescaped(escaped(text)) == text
    assert not any(FORMULA.match(part) for part in re.split(r"[,;|\t\r\n]", escaped(text)) if part)
    assert not text or escaped(text)[0] not in "=+-@\t\r"


@given(json_values | tricky)
def test_a_cell_gives_its_value_again(value) -> None:
    assert json.dumps(value_of(cell_of(value))) == json.dumps(value)


names = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1, max_size=30)


@given(st.lists(tricky.filter(bool) | names, unique=True, min_size=1, max_size=3))
def test_no_field_of_an_archive_is_a_formula_and_each_comes_back(texts) -> None:
    whole = contents(
        items=[Item(text, text, 1, 1) for text in texts],
        sales=[Sale(text, 1.5, text, 0, (BillLine(text, text, 1, 1, 1),), 1) for text in texts],
        batch_ids=texts,
    )
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), whole)
        for path in Path(name).glob("*.csv"):
            assert no_formulas(path.read_bytes().decode()), path
        found = read_archive(Path(name), unchecked())
        assert (found.items, list(found.sales), list(found.batch_ids)) == (whole.items, whole.sales, texts)


class Machines(LightTask):
    """Stores something else than it parses, as the task of the documentation does."""

    def parse_row(self, fields):
        try:
            return {"x": [float(fields["heat"])], "fails": int(fields["fails"])}
        except (KeyError, TypeError, ValueError) as error:
            raise RowError("heat and fails must be numbers") from error

    def arrays(self, rows):
        return np.array([row["x"] for row in rows], np.float32).reshape(-1, 1), np.array([row["fails"] for row in rows])


class Scaled(Machines):
    """Takes its own rows, and would make others of them."""

    def parse_row(self, fields):
        return {"x": [float(fields["x"][0]) / 2], "fails": int(fields["fails"])}


@pytest.mark.parametrize("task", [Machines(), Scaled()])
@pytest.mark.parametrize("form", [1, 2, 3, 4])
def test_rows_that_are_stored_otherwise_than_parsed_come_back(tmp_path, task, form) -> None:
    rows = [{"x": [0.5], "fails": 0}, {"x": [-1.5], "fails": 1}]
    write(tmp_path, contents(rows=sourced(rows)))
    about = tmp_path / "archive.json"
    about.write_text(about.read_text().replace('"format": 4', f'"format": {form}'))
    assert list(read_archive(tmp_path, checks(StoredRowCheck(task))).rows) == sourced(rows)


@pytest.mark.parametrize("form", [1, 2, 3, 4])
def test_a_row_that_parsing_gives_back_says_nothing_about_the_next(tmp_path, form) -> None:
    rows = [{"x": [value], "fails": 0} for value in (0.0, 0.5, 0.0, 0.8)]
    write(tmp_path, contents(rows=sourced(rows)))
    about = tmp_path / "archive.json"
    about.write_text(about.read_text().replace('"format": 4', f'"format": {form}'))
    assert list(read_archive(tmp_path, checks(StoredRowCheck(Scaled()))).rows) == sourced(rows)


def sold(sale_id: str) -> Sale:
    return Sale(sale_id, 1.5, "2026-05-01", 0, (BillLine("1", "Tea", 4, 250, 1),), 250)


def test_rows_come_back_with_the_sale_that_made_them(tmp_path) -> None:
    sales = [sold("=1"), sold("other")]
    rows = [SourcedRow({"sale_id": "field"}, "other"), SourcedRow({"n": 2}), SourcedRow({"n": 3}, "=1")]
    write(tmp_path, contents(sales=sales, rows=rows))
    found = read_archive(tmp_path, unchecked())
    assert (list(found.sales), list(found.rows)) == (sales, rows)


def test_a_row_of_a_sale_that_is_not_there_is_refused(tmp_path) -> None:
    write(tmp_path, contents(sales=[sold("s")], rows=[SourcedRow({"n": 1}, "s"), SourcedRow({"n": 2}, "gone")]))
    found = read_archive(tmp_path, unchecked())
    list(found.sales)
    with pytest.raises(ArchiveError, match=r"cart_data\.csv, line 3: sale_id is 'gone', and there is no such sale"):
        list(found.rows)


def test_a_task_of_format_2_may_have_a_field_that_format_3_uses_itself(tmp_path) -> None:
    write(tmp_path, contents())
    (tmp_path / "cart_data.csv").write_text("sequence,sale_id\n1,mine\n")
    about = tmp_path / "archive.json"
    about.write_text(about.read_text().replace('"format": 4', '"format": 2'))
    assert list(read_archive(tmp_path, unchecked()).rows) == sourced([{"sale_id": "mine"}])


def test_long_sentences_of_old_rounds_are_cut(tmp_path) -> None:
    verdict = Verdict("ab" * 16, "ACCEPTED", "w" * 10_000)
    write(tmp_path, contents(rounds=[RoundRecord("id", 1, 3.5, sentence="x" * 10_001, verdicts=(verdict,))]))
    (found,) = read_archive(tmp_path, unchecked()).rounds
    assert found.sentence == "x" * 9_999 + "…"
    assert found.verdicts == (verdict,)
    write(tmp_path, contents(rounds=[RoundRecord("id", 1, 3.5, verdicts=(replace(verdict, sentence="w" * 20_000),))]))
    (found,) = read_archive(tmp_path, unchecked()).rounds
    assert found.verdicts[0].sentence == "w" * 9_999 + "…"


def test_rows_that_the_task_cannot_learn_from_are_refused_by_line(tmp_path) -> None:
    write(tmp_path, contents(rows=sourced([{"x": [0.5], "fails": 0}, {"y": 1}])))
    found = read_archive(tmp_path, checks(StoredRowCheck(Machines())))
    with pytest.raises(ArchiveError, match=r"cart_data\.csv, line 3: the task cannot learn from it \(KeyError: 'x'\)"):
        list(found.rows)


def test_the_built_in_tasks_check_each_row_themselves(tmp_path) -> None:
    write(tmp_path, contents(rows=sourced([{"month": 13, "gender": 0, "item": 1}])))
    with pytest.raises(ArchiveError, match=r"cart_data\.csv, line 2: month is '13'"):
        list(read_archive(tmp_path, checks(StoredRowCheck(Shopping()))).rows)


def test_a_line_without_end_is_refused_before_it_is_read(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(csv_file, "MAX_RECORD_CHARS", 1000)
    write(tmp_path, contents(batch_ids=["b" * 2000]))
    with pytest.raises(ArchiveError, match=r"batches\.csv, line 2: it has more than 1000 characters"):
        list(read_archive(tmp_path, unchecked()).batch_ids)


@pytest.mark.parametrize(("batch_id", "words"), [("b\n" * 600, "1000 characters"), ("," * 60, "50 commas")])
def test_a_record_without_end_is_refused_whatever_its_lines(tmp_path, monkeypatch, batch_id, words) -> None:
    monkeypatch.setattr(csv_file, "MAX_RECORD_CHARS", 1000)
    monkeypatch.setattr(csv_file, "MAX_RECORD_COMMAS", 50)
    many = [f"batch, {number}" for number in range(200)]  # more than a record may have, and each is a record
    write(tmp_path, contents(batch_ids=[*many, batch_id]))
    with pytest.raises(ArchiveError, match=rf"batches\.csv, line 202: it has more than {words}"):
        list(read_archive(tmp_path, unchecked()).batch_ids)
    write(tmp_path, contents(batch_ids=many))
    assert list(read_archive(tmp_path, unchecked()).batch_ids) == many


def test_records_of_json_are_decoded_one_by_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(json_file, "MAX_RECORD_CHARS", 1000)
    rounds = [RoundRecord(f"id {number}", number, 3.5) for number in range(50)]
    write(tmp_path, contents(rounds=rounds))
    path = tmp_path / "rounds.json"
    assert path.stat().st_size > 10_000
    assert read_archive(tmp_path, unchecked()).rounds == rounds
    written = json.loads(path.read_text())
    path.write_text(json.dumps(written, indent=9))
    assert read_archive(tmp_path, unchecked()).rounds == rounds
    path.write_text(json.dumps([*written, {"long": [{}] * 500}]))
    with pytest.raises(ArchiveError, match=r"rounds\.json is not a JSON file, or a record of it is too long"):
        read_archive(tmp_path, unchecked())


def test_the_first_wrong_record_is_named_before_the_next_is_decoded(tmp_path) -> None:
    write(tmp_path, contents())
    (tmp_path / "rounds.json").write_text("[{},{} and what is no JSON")
    with pytest.raises(ArchiveError, match=r"rounds\.json, record 1: 'outcome'"):
        read_archive(tmp_path, unchecked())


@pytest.mark.parametrize("text", ["", "[", "[1", "[1,]", "[,]", "[] []", "]", "[1 2]", '["a"', "[" * 100_000])
def test_what_is_no_list_of_json_is_refused(tmp_path, text) -> None:
    path = tmp_path / "list.json"
    path.write_text(text)
    with pytest.raises(json_file.JsonFileError, match=r"list\.json"):
        list(json_file.read_records(path))


@given(st.lists(json_values), st.integers(0, 3))
def test_a_list_of_json_is_read_as_it_was_written(values, indent) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.json"
        path.write_text(json.dumps(values, indent=indent or None))
        assert list(json_file.read_records(path)) == values


def test_retired_items_stay_retired(tmp_path) -> None:
    items = [Item("1", "Tea", 4, 250), Item("2", "Jam", 5, 300, retired=True)]
    write(tmp_path, contents(items=items))
    assert read_archive(tmp_path, checked()).items == items


def test_an_archive_of_a_program_that_retired_nothing_is_read(tmp_path) -> None:
    write(tmp_path, contents())
    (tmp_path / "items.csv").write_text("code,name,category,price_cents\n1,Tea,4,250\n")
    assert read_archive(tmp_path, checked()).items == [Item("1", "Tea", 4, 250)]


def read_all(folder: Path) -> None:
    read_counts(folder)
    found = read_archive(folder, checked())
    list(found.sales), list(found.rows), list(found.batch_ids)


@pytest.mark.parametrize("name", FILES)
@given(junk=st.binary(max_size=200), cut=st.floats(0, 1))
@example(junk=b'"', cut=0.5)
@example(junk=b"1,2,3,4,5,6,7,8,9,10,11,12,13\n", cut=1.0)
def test_damaged_bytes_are_refused_or_read(name, junk, cut) -> None:
    with tempfile.TemporaryDirectory() as folder:
        sold = [Sale("s", 1.5, "2026-05-01", 0, (BillLine("1", "Tea", 4, 250, 1),), 250)]
        write(Path(folder), contents(sales=sold))
        read_all(Path(folder))
        path = Path(folder) / name
        content = path.read_bytes()
        place = int(cut * len(content))
        path.write_bytes(content[:place] + junk + content[place:][: 100 if len(junk) % 2 else 0])
        try:
            read_all(Path(folder))
        except ArchiveError as error:
            assert name in str(error)


def test_columns_are_those_of_all_rows() -> None:
    assert columns_of(sourced([{"a": 1}, {"b": 2, "a": 3}])) == ["a", "b"]


def test_rows_that_are_set_aside_come_back_though_the_task_cannot_learn_from_them(tmp_path) -> None:
    rows = sourced([{"x": [0.5], "fails": 0}, {"y": 1}])
    kept = [SetAsideRow(2, {"y": 1}, "there is no x", 5.5)]
    write(tmp_path, contents(rows=rows, set_aside=kept))
    assert read_counts(tmp_path).set_aside == 1
    found = read_archive(tmp_path, checks(StoredRowCheck(Machines())))
    assert (list(found.rows), list(found.set_aside)) == (rows, kept)
    about = tmp_path / "archive.json"
    about.write_text(about.read_text().replace('"format": 4', '"format": 3'))
    assert list(read_archive(tmp_path, unchecked()).set_aside) == []


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ([{"sequence": 0, "row": {}, "reason": "", "set_aside_at": 1}], "record 1: its sequence 0 must be above 0"),
        ([{"sequence": 1, "row": [], "reason": "", "set_aside_at": 1}], "record 1: row is"),
        ([{"sequence": 1, "row": {}, "reason": 7, "set_aside_at": 1}], "record 1: reason is '7'"),
        ([{"sequence": 1}], "record 1: .*missing"),
    ],
)
def test_a_wrong_record_of_a_row_set_aside_is_named(tmp_path, records, sentence) -> None:
    write(tmp_path, contents())
    (tmp_path / "set_aside.json").write_text(json.dumps(records))
    with pytest.raises(ArchiveError, match=rf"set_aside\.json, {sentence}"):
        read_archive(tmp_path, unchecked())
