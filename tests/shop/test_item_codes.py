"""The text of a code to an item, or to a reason with a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from child_cart.db.records import Item
from child_cart.shop.billing import CATALOGUE, index
from child_cart.shop.item_codes import (
    MAX_CODE_CHARS,
    CodeError,
    CodeProblem,
    check_digit,
    normal,
    read,
    widened,
)

HONEY = Item("HONEY-1", "Honey", 5, 420)
UPC = Item("0036000291452", "Tissues", 6, 199)
SMALL = Item("96385074", "Gum", 5, 99)
GONE = replace(CATALOGUE[3], retired=True)
ITEMS = index([*CATALOGUE, HONEY, UPC, SMALL, GONE])


@pytest.mark.parametrize("item", [*CATALOGUE[:3], HONEY, UPC, SMALL], ids=lambda item: item.name)
def test_the_code_of_an_item_gives_the_item(item):
    assert read(item.code, ITEMS).item == item
    assert read(f"  {item.code.lower()}\r\n", ITEMS).item == item


def test_a_upc_a_is_the_ean_13_that_it_is():
    assert read("036000291452", ITEMS).item == UPC


# Examples from GS1's general specifications and from labels of common goods.
@pytest.mark.parametrize("code", ["4006381333931", "9780201379624", "0614141999996", "96385074", "73513537"])
def test_check_digits_are_those_of_the_standard(code):
    assert normal(code) == code


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("01234505", "012000003455"),
        ("04252614", "042100005264"),
        ("01234565", "012345000065"),
        ("01234531", "012300000451"),
        ("01234543", "012340000053"),
    ],
)
def test_a_upc_e_is_widened(short, long):
    assert widened(short) == long


def test_a_widened_upc_e_has_its_check_digit():
    assert normal(widened("04252614")) == "0042100005264"


@pytest.mark.parametrize("wrong", ["", "1234567", "91234567", "0123456x", "012345670"])
def test_what_is_no_upc_e_is_not_widened(wrong):
    with pytest.raises(CodeError):
        widened(wrong)


@pytest.mark.parametrize(
    ("text", "reason", "sentence"),
    [
        ("", CodeProblem.EMPTY, "The code is empty."),
        (" \t\n", CodeProblem.EMPTY, "The code is empty."),
        (
            "0200000000104",
            CodeProblem.CHECK_DIGIT,
            "0200000000104 is not a valid EAN-13: its last digit would be 3. Scan it again.",
        ),
        (
            "036000291453",
            CodeProblem.CHECK_DIGIT,
            "036000291453 is not a valid UPC-A: its last digit would be 2. Scan it again.",
        ),
        (
            "96385075",
            CodeProblem.CHECK_DIGIT,
            "96385075 is not a valid EAN-8: its last digit would be 4. Scan it again.",
        ),
        ("4006381333931", CodeProblem.UNKNOWN, "No item of this shop has the code 4006381333931."),
        ("SKU-9", CodeProblem.UNKNOWN, "No item of this shop has the code SKU-9."),
        (GONE.code, CodeProblem.RETIRED, "Baguette is no longer sold."),
        ("https://a.example/x", CodeProblem.NOT_A_CODE, "“https://a.example/x” is not the code of an item."),
        ("0200000000103;price=1", CodeProblem.NOT_A_CODE, "“0200000000103;price=1” is not the code of an item."),
        ("٠٢٠٠٠٠٠٠٠٠١٠٣", CodeProblem.NOT_A_CODE, "“٠٢٠٠٠٠٠٠٠٠١٠٣” is not the code of an item."),
        ("maß", CodeProblem.NOT_A_CODE, "“maß” is not the code of an item."),
        ("a\x00b", CodeProblem.NOT_A_CODE, "“a\N{REPLACEMENT CHARACTER}b” is not the code of an item."),
        ("x" * 25, CodeProblem.NOT_A_CODE, f"“{'x' * 25}” is not the code of an item."),
    ],
)
def test_what_gives_no_item_says_why(text, reason, sentence):
    reading = read(text, ITEMS)
    assert (reading.item, reading.reason, reading.sentence) == (None, reason, sentence)


TEXTS = (
    st.text() | st.text(st.characters(codec="ascii")) | st.integers(0, 10**14).map(str) | st.sampled_from(list(ITEMS))
)


@given(TEXTS)
@example("\ud800")
@example("\u202e0200000000103")
@example("9" * 100_000)
def test_whatever_is_scanned_gives_an_item_or_a_sentence(text):
    reading = read(text, ITEMS)
    if reading.item is not None:
        assert reading.item is ITEMS[reading.item.code]
        assert not reading.item.retired
        assert reading.item.code.rstrip("0123456789") == text.strip().upper().rstrip("0123456789")
    else:
        assert reading.reason in CodeProblem
        assert reading.sentence.endswith(".")
    assert len(reading.text) <= 41
    assert len(reading.sentence) < 150
    assert (reading.text + reading.sentence).isprintable()
    (reading.text + reading.sentence).encode()


@given(TEXTS)
def test_the_one_form_of_a_code_is_its_own(text):
    try:
        code = normal(text)
    except CodeError as error:
        assert error.reason in CodeProblem
        return
    assert normal(code) == code
    assert 1 <= len(code) <= MAX_CODE_CHARS
    assert code.isascii()


@given(st.text("0123456789", min_size=7, max_size=12), st.integers(0, 11), st.integers(1, 9))
def test_one_wrong_digit_is_always_seen(digits, place, off):
    code = digits + str(check_digit(digits))
    place %= len(code)
    wrong = code[:place] + str((int(code[place]) + off) % 10) + code[place + 1 :]
    assert check_digit(wrong[:-1]) != int(wrong[-1])
