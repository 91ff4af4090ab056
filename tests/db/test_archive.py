"""Archives come back as they were; anything else is rejected with a readable error, whatever its bytes."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from child_cart.db.archive import ArchiveError, columns_of, read_archive, read_counts, write_archive
from child_cart.db.migration import Contents
from child_cart.db.records import BillLine, Item, Sale
from child_cart.model.task import checked_row
from tests.support.carts.light_task import LightTask

CHECKED_ROW = partial(checked_row, LightTask())
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


def contents(**other) -> Contents:
    rows = [{"degrees": degrees, "third": degrees // 120} for degrees in (1, 130, 359)]
    whole = {"items": [Item("1", "Tea", 4, 250)], "sales": [], "rows": rows, "batch_ids": ["a b"]}
    return Contents("here", **(whole | {"versions": [], "rounds": [], "settings": {}} | other))


def write(folder: Path, whole: Contents) -> None:
    write_archive(folder, whole, columns_of(whole.rows), lambda name, count: None)


@given(sales)
@example([Sale("NA", 0.1, "nan", 0, (BillLine("007", ' a,"b" ', 1, 1, 1),), 10**12)])
def test_sales_come_back_to_the_last_digit(sold) -> None:
    with tempfile.TemporaryDirectory() as name:
        write(Path(name), contents(sales=sold))
        assert list(read_archive(Path(name), CHECKED_ROW).sales) == sold
        assert read_counts(Path(name)).sales == len(sold)


def test_retired_items_stay_retired(tmp_path) -> None:
    items = [Item("1", "Tea", 4, 250), Item("2", "Jam", 5, 300, retired=True)]
    write(tmp_path, contents(items=items))
    assert read_archive(tmp_path, CHECKED_ROW).items == items


def test_an_archive_of_a_program_that_retired_nothing_is_read(tmp_path) -> None:
    write(tmp_path, contents())
    (tmp_path / "items.csv").write_text("code,name,category,price_cents\n1,Tea,4,250\n")
    assert read_archive(tmp_path, CHECKED_ROW).items == [Item("1", "Tea", 4, 250)]


def read_all(folder: Path) -> None:
    read_counts(folder)
    found = read_archive(folder, CHECKED_ROW)
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
    assert columns_of([{"a": 1}, {"b": 2, "a": 3}]) == ["a", "b"]
