"""What may stand in the catalogue, and its CSV both ways."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from child_cart.config.settings import is_currency
from child_cart.db.records import Item
from child_cart.shop import catalogue_csv
from child_cart.shop.billing import CATALOGUE, CATEGORIES, index
from child_cart.shop.catalogue import (
    MAX_ITEMS,
    MAX_PRICE_CENTS,
    CatalogueError,
    item_of,
    price_of,
    with_room_for,
    written_price,
)
from child_cart.shop.catalogue_csv import MAX_CSV_BYTES, CsvRefused
from child_cart.shop.gtin import check_digit
from child_cart.shop.item_codes import CodeIndex

FIELDS = {"code": "4006381333931", "name": "Pencil", "category": 6, "price_cents": 120}
HEADING = "code,name,category,price\n"


def own_codes(text: str) -> str:
    return f"X{text}"


CODES = st.one_of(
    st.text("0123456789", min_size=12, max_size=12).map(lambda digits: digits + str(check_digit(digits))),
    st.text("ABC012-._", max_size=20).map(own_codes),
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=15).map(
    lambda name: " ".join([name, name])
)
ITEMS = st.lists(
    st.builds(
        lambda *facts: facts,
        CODES,
        NAMES,
        st.sampled_from(sorted(CATEGORIES)),
        st.integers(1, MAX_PRICE_CENTS),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
    unique_by=lambda facts: facts[0],
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"code": None}, "The code is missing."),
        ({"code": 5}, "The code is missing."),
        ({"code": "4006381333932"}, "4006381333932 is not a valid EAN-13: its last digit would be 1."),
        ({"code": "a b"}, "“a b” is not the code of an item."),
        ({"code": "../x"}, "“../x” is not the code of an item."),
        ({"name": None}, "The name is missing."),
        ({"name": " "}, "The name has 0 characters; it must have 1 to 60."),
        ({"name": "x" * 61}, "The name has 61 characters; it must have 1 to 60."),
        ({"name": "a\nb"}, "The name 'a\\nb' holds characters that cannot be printed."),
        ({"name": "\u202eevil"}, "holds characters that cannot be printed."),
        ({"name": "\ud800"}, "holds characters that cannot be printed."),
        ({"category": 7}, "The category '7' is unknown; there are 1 Bakery, 2 Dairy"),
        ({"category": True}, "The category 'True' is unknown"),
        ({"category": "1"}, "The category '1' is unknown"),
        ({"price_cents": 0}, "The price '0' is not a whole number of cents from 1 to 9999999."),
        ({"price_cents": -5}, "The price '-5' is not a whole number"),
        ({"price_cents": 10**30}, "is not a whole number"),
        ({"price_cents": 3.5}, "The price '3.5' is not a whole number"),
        ({"price_cents": float("nan")}, "The price 'nan' is not a whole number"),
        ({"price_cents": True}, "The price 'True' is not a whole number"),
        ({"retired": "yes"}, "retired is wrong; it is true or false."),
    ],
)
def test_a_field_that_does_not_do_is_named(changes, sentence):
    with pytest.raises(CatalogueError) as caught:
        item_of({**FIELDS, **changes})
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("می\N{ZERO WIDTH NON-JOINER}خواهم", "می\N{ZERO WIDTH NON-JOINER}خواهم"),
        (
            "👩\N{ZERO WIDTH JOINER}👧 family pack\N{ZERO WIDTH JOINER}",
            "👩\N{ZERO WIDTH JOINER}👧 family pack",
        ),
        ("❤\N{VARIATION SELECTOR-16} tea", "❤\N{VARIATION SELECTOR-16} tea"),
        ("Milk 1\N{NO-BREAK SPACE}l\N{NARROW NO-BREAK SPACE}", "Milk 1 l"),
    ],
    ids=["Persian", "emoji", "variation", "no-break spaces"],
)
def test_a_name_is_kept_in_any_script(typed, kept):
    assert item_of({**FIELDS, "name": typed}).name == kept


@pytest.mark.parametrize("joiner", ["\N{ZERO WIDTH JOINER}", "\N{ZERO WIDTH NON-JOINER}"])
def test_what_cannot_be_seen_is_no_name(joiner):
    with pytest.raises(CatalogueError, match="has 0 characters"):
        item_of({**FIELDS, "name": f" {joiner}\N{NO-BREAK SPACE}{joiner} "})


def test_markup_and_quotes_are_a_name_like_any_other():
    assert item_of({**FIELDS, "name": ' <b>Tom\'s   "best"</b> '}).name == '<b>Tom\'s   "best"</b>'


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), st.lists, max_leaves=3)
)
def test_whatever_is_sent_is_an_item_or_a_sentence(value):
    for field in (*FIELDS, "retired"):
        try:
            assert isinstance(item_of({**FIELDS, field: value}), Item)
        except CatalogueError as error:
            assert str(error).endswith(".")
            assert len(str(error)) < 500


@given(st.integers(1, MAX_PRICE_CENTS))
def test_a_price_is_written_as_it_is_read(cents):
    assert price_of(written_price(cents)) == cents
    assert price_of(written_price(cents).replace(".", ",")) == cents


@pytest.mark.parametrize(
    ("currency", "written"), [("", "3.05"), ("€", "3.05\N{NO-BREAK SPACE}€"), ("CHF", "3.05\N{NO-BREAK SPACE}CHF")]
)
def test_a_price_is_written_with_its_currency(currency, written):
    assert is_currency(currency)
    assert written_price(305, currency) == written


@pytest.mark.parametrize("text", [" €", "€ ", "\n", "\N{NO-BREAK SPACE}€", "123456789", "\N{ZERO WIDTH SPACE}"])
def test_what_is_no_currency(text):
    assert not is_currency(text)


@pytest.mark.parametrize(
    "text", ["", "0", "0.00", "-1", "1.234", "1e3", "nan", "inf", "3.", ".5", "100000", "1 000", "٣", "3€"]
)
def test_what_is_no_price_is_refused(text):
    with pytest.raises(CatalogueError, match=r"is not a price; write it like 3\.49"):
        price_of(text)


def test_a_catalogue_has_an_end():
    full = {str(number): CATALOGUE[0] for number in range(MAX_ITEMS)}
    with_room_for(full, {"5": CATALOGUE[0]})
    with pytest.raises(CatalogueError, match="would have 5001 items; at most 5000"):
        with_room_for(full, {"x": CATALOGUE[0]})


# CSV.


@given(ITEMS)
def test_what_is_exported_can_be_imported(facts):
    items = [Item(code, name, category, cents, retired) for code, name, category, cents, retired in facts]
    items = [item_of(vars(item)) for item in items]
    if len(index(items)) == len(items):
        assert catalogue_csv.read(catalogue_csv.written(items).encode()) == items


@given(st.sampled_from(["=", "+", "-", "@", "\uff1d", "'=", "''@"]), NAMES)
def test_no_exported_cell_is_a_formula(start, name):
    item = item_of({**FIELDS, "name": start + name})
    written = catalogue_csv.written([item])
    (_, row) = csv.reader(io.StringIO(written.lstrip("\ufeff")))
    assert not any(cell.startswith(("=", "+", "-", "@", "\uff1d", "\t", "\r")) for cell in row)
    assert catalogue_csv.read(written.encode()) == [item]


def test_an_export_is_plain_to_read():
    lines = catalogue_csv.written(CATALOGUE[:2]).splitlines()
    assert lines == [
        "\ufeffcode,name,category,price,retired",
        "0200000000103,Rye bread,Bakery,3.49,no",
        "0200000000202,Croissant,Bakery,1.29,no",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "code,name,category,price\n0200000000103,Rye bread,1,3.49\n",
        "\ufeffcode,name,category,price\r\n0200000000103,Rye bread,Bakery,3.49\r\n",
        'PRICE;"Name";code;Category;note\n3,49;"Rye bread";0200000000103; bakery ;x\n\n;;;;\n',
        "code,name,category,price\r0200000000103,Rye bread,1,3.49",
        "code,name,category,price\n200000000103,Rye bread,1,3.49\n",  # a spreadsheet ate the zero in front
        "name,code,retired,price,category\nRye bread,0200000000103,,3.49,1\n",
    ],
)
def test_files_as_spreadsheets_write_them_are_read(text):
    assert catalogue_csv.read(text.encode()) == [CATALOGUE[0]]


def test_a_name_may_hold_commas_and_quotes():
    (item,) = catalogue_csv.read((HEADING + 'A1,"Bread, ""dark""",1,1\n').encode())
    assert item.name == 'Bread, "dark"'


def test_every_wrong_line_is_named_by_its_number():
    text = HEADING + (
        "0200000000104,Rye bread,1,3.49\n"
        "A1,ok,1,1\n"
        "A2,much,1,1,1\n"
        "\n"
        'A3,"two\nlines",1,1\n'
        "A4,few\n"
        "A5,cheap,1,-1\n"
        "a1,again,1,1\n"
        "A6,where,Garden,1\n"
    )
    with pytest.raises(CsvRefused, match="Nothing was imported: 7 lines are wrong") as caught:
        catalogue_csv.read(text.encode())
    expected = {
        2: "0200000000104 is not a valid EAN-13: its last digit would be 3.",
        4: "The line has more fields than the first one.",
        6: "The name 'two\\nlines' holds characters that cannot be printed.",
        8: "There is no category ''; there are 1 Bakery, 2 Dairy",
        9: "'-1' is not a price; write it like 3.49",
        10: "The code A1 is in line 3 already.",
        11: "There is no category 'Garden'; there are",
    }
    assert [entry.line for entry in caught.value.lines] == list(expected)
    for entry in caught.value.lines:
        assert entry.error.startswith(expected[entry.line])


def test_every_wrong_field_of_a_line_is_named_at_once():
    line = "a1,Jam,1,1,no\n"
    with pytest.raises(CsvRefused) as caught:
        catalogue_csv.read(f"code,name,category,price,retired\n{line}A1,{'x' * 61},Garden,-1,perhaps\n".encode())
    (entry,) = caught.value.lines
    code, name, category, price, retired = entry.error.split(". ")
    assert code == "The code A1 is in line 2 already"
    assert name == "The name has 61 characters; it must have 1 to 60"
    assert category.startswith("There is no category 'Garden'; there are 1 Bakery, 2 Dairy")
    assert price.startswith("'-1' is not a price; write it like 3.49")
    assert retired == "retired is 'perhaps'; it is yes or no."


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The first line must name the columns"),
        (b"\xff\xfe\x00", "The file is not in UTF-8."),
        (b"code,name\nA,B\n", "The first line must name the columns"),
        (b"code,name,category,price,code\n", "each once"),
        (HEADING.encode(), "There is no item in the file."),
        (HEADING.encode() + b"\n\n,,,\n", "There is no item in the file."),
        (HEADING.encode() + b"A1,\x00,1,1\n", "zero bytes"),
        (HEADING.encode() + b'A1,"never closed,1,1\n', "The file is not valid CSV"),
        (HEADING.encode() + b'A1,5" pipe,1,1\nA2,"never closed,1,1\nA3,x,1,1\n', "The file is not valid CSV"),
        (HEADING.encode() + b"x" * MAX_CSV_BYTES, "at most 1048576 are taken."),
        (HEADING.encode() + b"\n" * 10_001, "more than 10000 lines"),
        (b"PK\x03\x04" + bytes(100), "zero bytes"),
    ],
)
def test_a_file_that_is_none_is_refused(data, sentence):
    with pytest.raises(CsvRefused) as caught:
        catalogue_csv.read(data)
    assert sentence in str(caught.value)


@given(st.binary(max_size=120) | st.text("A1,;\"\n\r\t '=", max_size=120).map(str.encode))
def test_whatever_comes_as_a_file_is_items_or_a_refusal(data):
    for given_bytes in (data, HEADING.encode() + data):
        try:
            items = catalogue_csv.read(given_bytes)
        except CsvRefused as refused:
            assert str(refused).endswith(".")
        else:
            assert [item_of(vars(item)) for item in items] == items


def test_many_errors_are_not_all_told():
    with pytest.raises(CsvRefused, match="4000 lines are wrong") as caught:
        catalogue_csv.read((HEADING + "?,?,?,?\n" * 4000).encode())
    assert len(caught.value.lines) == 50


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("36000291452", "0036000291452"),  # a spreadsheet ate the zero in front
        ("4006381333931.0", "4006381333931"),
        ("4.006381333931E+12", "4006381333931"),
        ("'4006381333931", "4006381333931"),
        ('"=""4006381333931"""', "4006381333931"),
        ("\u200e4006381333931\u00a0", "4006381333931"),
        ("4 006381 333931", "4006381333931"),
        ("978-3-16-148410-0", "9783161484100"),
        ("04006381333931", "4006381333931"),
    ],
)
def test_a_code_that_a_spreadsheet_has_changed_is_repaired(cell, code):
    (item,) = catalogue_csv.read((HEADING + f"{cell},Pencil,6,1.20\n").encode())
    assert item.code == code


@pytest.mark.parametrize("cell", ["4.00638E+12", "400638133393", "978-3-16-148410-1", "14006381333932", "ABC 123"])
def test_a_code_that_no_scan_can_give_is_refused_by_its_line(cell):
    with pytest.raises(CsvRefused) as caught:
        catalogue_csv.read((HEADING + f"A1,Rubber,6,0.50\n{cell},Pencil,6,1.20\n").encode())
    assert [entry.line for entry in caught.value.lines] == [3]


def test_two_forms_of_one_code_are_one_code():
    with pytest.raises(CsvRefused) as caught:
        catalogue_csv.read((HEADING + "036000291452,A,1,1\n00036000291452,B,1,2\n").encode())
    assert caught.value.lines[0].error == "The code 0036000291452 is in line 2 already."


def test_an_item_that_an_earlier_version_stored_keeps_its_code():
    known = CodeIndex(index([Item("04006381333931", "Pencil", 6, 120), Item("14006381333932", "Case", 6, 900)]))
    data = HEADING + "4006381333931,Pencil,6,1.30\n14006381333932,Case,6,9.00\n"
    items = catalogue_csv.read(data.encode(), known)
    assert [item.code for item in items] == ["04006381333931", "14006381333932"]


def test_retired_items_stay_retired():
    gone = replace(CATALOGUE[0], retired=True)
    assert catalogue_csv.read(catalogue_csv.written([gone]).encode()) == [gone]
    with pytest.raises(CsvRefused) as caught:
        catalogue_csv.read(b"code,name,category,price,retired\nA1,x,1,1,perhaps\n")
    assert caught.value.lines[0].error == "retired is 'perhaps'; it is yes or no."
