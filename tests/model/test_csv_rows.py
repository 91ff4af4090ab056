"""Rows from a CSV file of the user's own: every usual form is read, and what is wrong is named."""

import re
import tracemalloc

import pytest

from child_cart.model import csv_rows
from child_cart.model.csv_rows import CsvError, check_file, read_lines, read_rows, sample_rows
from child_cart.model.shopping import Shopping
from child_cart.model.task import KerasTask, RowError
from tests.support.carts.light_task import LightTask


class Machine(KerasTask):
    """Asks for one field after the other, and stops at the first that is not there."""

    name = "machine"
    fields = ("heat", "Noise", "fails")

    def parse_row(self, fields):
        row = {name: float(fields[name]) for name in self.fields}
        return row | {"place": fields.get("place", "")}

    def arrays(self, rows):
        raise NotImplementedError


ROW = {"heat": 0.7, "Noise": -1234.5, "fails": 2.0, "place": ""}


@pytest.fixture
def read(tmp_path):
    def of(text, task=None):
        path = tmp_path / "rows.csv"
        path.write_text(text, "utf-8")
        return read_rows(task or Machine(), path)

    return of


def test_shopping_rows_in_any_order_and_case(read):
    rows = read("\ufeffItem,Month, GENDER\r\n3,12,1\r\n\r\n1,1,0\r\n", Shopping())
    assert rows == [{"month": 12, "gender": 1, "item": 3}, {"month": 1, "gender": 0, "item": 1}]


@pytest.mark.parametrize(
    "text",
    [
        "heat,Noise,fails\n0.7,-1234.5,2\n",
        "HEAT,noise,Fails\n0.7,-1234.5,2\n",
        "heat;Noise;fails\n0.7;-1234.5;2\n",
        "heat\tNoise\tfails\n0.7\t-1234.5\t2\n",
        "heat|Noise|fails\n0.7|-1234.5|2\n",
        "sep=;\nheat;Noise;fails\n0,7;-1234,5;2\n",
        "heat;Noise;fails\n0,7;-1234,5;2\n",
        "heat;Noise;fails\n,7;-1.234,5;2\n",
        "heat\tNoise\tfails\n7e-1\t-1234,5e0\t2\n",
        '"heat","Noise","fails"\n"0.7","-1234.5","2"\n',
        "heat;Noise;fails;\n0,7;-1234,5;2;\n",
    ],
)
def test_separators_decimal_commas_and_the_case_of_names(read, text):
    assert read(text) == [ROW]


def test_texts_with_commas_stay_as_they_are(read):
    text = "heat;Noise;fails;place\n0,7;-1234,5;2;Hall 3, 1st floor\n0,7;-1234,5;2;1,5\n0,7;-1234,5;2;\n1,0;1;2;roof\n"
    assert [row["place"] for row in read(text)] == ["Hall 3, 1st floor", "1,5", "", "roof"]


def test_numbers_with_points_do_not_change_beside_those_with_commas(read):
    with pytest.raises(CsvError, match=r"line 3: the task does not take it .*'0,8'"):
        read("heat;Noise;fails\n0.7;1;2\n0,8;1;2\n")


def test_names_keep_their_case_for_a_task_that_takes_any(tmp_path):
    class Any(Machine):
        def parse_row(self, fields):
            return dict(fields)

    (tmp_path / "rows.csv").write_text("Heat,heat,X Y\n1,2,3\n")
    assert read_rows(Any(), tmp_path / "rows.csv") == [{"Heat": "1", "heat": "2", "X Y": "3"}]


def test_the_fields_of_a_line_have_the_names_that_the_task_asks_for(tmp_path):
    (tmp_path / "rows.csv").write_text("Heat,NOISE,fails,More\n0.7,-1234.5,2,x\n")
    fields = {"heat": "0.7", "Noise": "-1234.5", "fails": "2", "More": "x"}
    assert read_lines(Machine(), tmp_path / "rows.csv") == [(fields, ROW)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("heat,Noise\n1,2\n", "has no column 'fails', which the task asks for. Its first line names, with commas"),
        ("heat;Noize;fails\n1;2;3\n", "has no column 'Noise', .* Is it 'Noize'\\? .*with semicolons .*: heat, Noize, "),
        ("heat,heat,fails\n1,2,3\n", "has more than one column 'heat'"),
        ("a,b\n1,2\n", "has no column 'heat'"),
        ("heat,Noise,fails\n1,2,x\n", "line 2: the task does not take it .ValueError: .*'x'"),  # `place` is not blamed
    ],
)
def test_a_column_that_is_missing_is_named(read, text, sentence):
    with pytest.raises(CsvError, match=sentence):
        read(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (b"", "is empty"),
        (b"Month,Gender,Item\n", "no rows below"),
        (b"Month,Gender,Item\n1,0,1\n13,0,1\n", "line 3: month is '13'"),
        (b"Month,Gender,Item\n1,0\n", "line 2: it has 2 columns, the first line 3"),
        (b"Month,Gender\n1,0\n", "has no column 'item'"),
        (b'Month,Gender,Item\n1,0,"1\n', "line"),
        (b"Month,Gender,Item\n1,0,\xff\n", "not UTF-8 text"),
        (b"Month,Gender,Item\n1,0,1\n1,0," + b"9" * 200_000 + b"\n", "line 3: field larger"),
    ],
)
def test_a_broken_csv_names_file_and_line(tmp_path, text, sentence):
    path = tmp_path / "rows.csv"
    path.write_bytes(text)
    with pytest.raises(CsvError, match=sentence) as caught:
        read_rows(Shopping(), path)
    assert str(path) in str(caught.value)
    with pytest.raises(CsvError, match="cannot be read"):
        read_rows(Shopping(), tmp_path / "none.csv")


def of_degrees(path, degrees):
    path.write_text("degrees,third\n" + "".join(f"{angle},{min(angle // 120, 2)}\n" for angle in degrees))


def test_a_sample_is_of_the_whole_file_and_the_same_each_time(tmp_path):
    of_degrees(tmp_path / "rows.csv", [number // 100 for number in range(36_000)])  # sorted
    found = sample_rows(LightTask(), tmp_path / "rows.csv", 720, seed=3)
    assert found.line_count == 36_000
    assert found.lines == sorted(set(found.lines))
    assert [row["degrees"] for row in found.rows] == [(line - 2) // 100 for line in found.lines]
    counts = [sum(1 for row in found.rows if row["third"] == third) for third in range(3)]
    assert all(190 < count < 290 for count in counts), counts
    assert sample_rows(LightTask(), tmp_path / "rows.csv", 720, seed=3) == found
    assert sample_rows(LightTask(), tmp_path / "rows.csv", 720, seed=4) != found
    every = sample_rows(LightTask(), tmp_path / "rows.csv", 36_000, seed=3)
    assert every.lines == list(range(2, 36_002))


def test_a_sample_takes_no_more_memory_of_a_longer_file(tmp_path):
    peaks = []
    for count in (5_000, 50_000):
        of_degrees(tmp_path / "rows.csv", [number % 360 for number in range(count)])
        tracemalloc.start()
        sample_rows(LightTask(), tmp_path / "rows.csv", 1000, seed=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0], peaks


def test_wrong_lines_are_left_out_of_a_sample_and_named(tmp_path):
    (tmp_path / "rows.csv").write_text("degrees,third\n10,0\n400,1\n200,1,7\n\n300,2\n")
    found = sample_rows(LightTask(), tmp_path / "rows.csv", 99, seed=1)
    assert [row["degrees"] for row in found.rows] == [10, 300]
    assert [(wrong.number, re.split("[;,] ", wrong.reason)[0]) for wrong in found.wrong] == [
        (3, "degrees is '400'"),
        (4, "it has 3 columns"),
    ]


def test_a_file_of_which_no_line_is_a_row_is_refused(tmp_path):
    (tmp_path / "rows.csv").write_text("degrees,third\n400,0\n500,1\n")
    for read_file in (lambda: sample_rows(LightTask(), tmp_path / "rows.csv", 9, 1), lambda: check(tmp_path)):
        with pytest.raises(CsvError, match=r"line 2: degrees is '400'.*No line that was read is a row"):
            read_file()


def check(folder):
    check_file(LightTask(), folder / "rows.csv")


def test_only_the_head_of_a_file_is_read_before_the_start(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "HEAD_LINES", 5)
    (tmp_path / "rows.csv").write_text("degrees,third\n" + "10,0\n" * 5 + '1,"\n')
    check(tmp_path)
    with pytest.raises(CsvError, match="line 7"):
        sample_rows(LightTask(), tmp_path / "rows.csv", 99, 1)


def test_a_task_that_raises_anything_refuses_a_row():
    class Odd(Machine):
        def parse_row(self, fields):
            raise ZeroDivisionError("no\nreason")

    with pytest.raises(RowError, match=r"the task does not take it \(ZeroDivisionError: reason\)"):
        csv_rows.checked_row(Odd(), {})
