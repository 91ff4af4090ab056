"""The text of a code to an item, or to a reason with a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from child_cart.db.records import Item
from child_cart.shop.billing import CATALOGUE, index
from child_cart.shop.gtin import check_digit, widened
from child_cart.shop.item_codes import (
    MAX_CODE_CHARS,
    CodeError,
    CodeIndex,
    CodeProblem,
    agreed,
    normal,
    read,
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
    assert widened(wrong) is None


# What scanners send, what stands in spreadsheets, what people copy from a package.
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("01234505", "0012000003455"),  # no EAN-8, so a UPC-E
        ("1234505", "0012000003455"),  # whose zero was eaten
        ("01234565", "01234565"),  # both: an EAN-8
        ("]E001234565", "0012345000065"),  # but here the scanner says that it is a UPC-E
        ("]E401234565", "01234565"),
        ("]E05012345678900", "5012345678900"),
        ("05012345678900", "5012345678900"),
        ("15012345678907", "15012345678907"),  # a case is not its pieces
        ("0000096385074", "96385074"),
        ("00000096385074", "96385074"),
        ("36000291452", "0036000291452"),
        ("https://id.gs1.org/01/05012345678900", "5012345678900"),
        ("HTTPS://SHOP.EXAMPLE/A/01/05012345678900/10/L1?17=270101#x", "5012345678900"),
        ("shop.example/gtin/96385074", "96385074"),
        ("(01)05012345678900(17)270101(10)L1", "5012345678900"),
        ("(10)L1(01)05012345678900", "5012345678900"),
        ("]C10105012345678900", "5012345678900"),
        ("]d2172701010105012345678900", "5012345678900"),
        ("\x1d10L1\x1d0105012345678900", "5012345678900"),
        ("]Q3010501234567890010L(1)", "5012345678900"),
        ("0105012345678900", "5012345678900"),
        ("010501234567890010L1", "5012345678900"),
        ("\x025012345678900\x03\r\n", "5012345678900"),
        ("978-0-306-40615-7", "9780306406157"),
        ("0-306-40615-2", "9780306406157"),
        ("3-16-148410-X", "9783161484100"),
        ("ISBN 0306406152", "9780306406157"),
        ("97803064061570512", "97803064061570512"),  # of no length that an add-on makes
        ("978030640615751299", "9780306406157"),
        ("]E3978030640615751299", "9780306406157"),
        ("5 012345 678900", "5012345678900"),
        ("5.012345678900E+12", "5012345678900"),
        ("5012345678900.0", "5012345678900"),
        ("5012345678900,00", "5012345678900"),
        ("'5012345678900", "5012345678900"),
        ('="5012345678900"', "5012345678900"),
        ("5.012345678900e12", "5012345678900"),
        ("0000005012345678900", "5012345678900"),  # a merchandise system fills its field up
        ("00000000036000291452", "0036000291452"),
        ("00000000000000004011", "00000000000000004011"),  # a number of the shop's own
        ("043942089X", "9780439420891"),
        ("043942089x", "9780439420891"),
        ("123456789Y", "123456789Y"),
        ("4011", "4011"),
        ("4011.0", "4011"),
        ("1E5", "1E5"),
        ("1.5E27", "1.5E27"),
        ("0", "0"),
        ("12-34", "12-34"),
        ("0123456789", "0123456789"),
    ],
)
def test_every_form_of_a_gtin_is_one_code(text, code):
    assert normal(text) == code
    assert normal(code) == code


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("978-0-306-40615-8", CodeProblem.CHECK_DIGIT),
        ("https://id.gs1.org/01/05012345678901", CodeProblem.CHECK_DIGIT),
        ("(01)05012345678901", CodeProblem.CHECK_DIGIT),
        ("]C10105012345678901", CodeProblem.CHECK_DIGIT),
        ("15012345678908", CodeProblem.CHECK_DIGIT),
        ("https://id.gs1.org/01/05012345678900/x/01/96385074", CodeProblem.NOT_A_CODE),  # which of them?
        ("https://id.gs1.org/414/05012345678900?01=96385074", CodeProblem.NOT_A_CODE),
        ("]E105", CodeProblem.NOT_A_CODE),
        ("5.01235E+12", CodeProblem.NOT_A_CODE),
        ("5.0123456789E+12", CodeProblem.NOT_A_CODE),
        ("5.0123456789e12", CodeProblem.NOT_A_CODE),
        ("0000000000000", CodeProblem.NOT_A_CODE),  # what tills write where an item has no code
        ("00000000", CodeProblem.NOT_A_CODE),
        ("BEGIN:VCARD\n4011\nEND:VCARD", CodeProblem.NOT_A_CODE),
        ("4011\n4012", CodeProblem.NOT_A_CODE),
        ("]E0", CodeProblem.EMPTY),
    ],
)
def test_a_form_with_a_wrong_gtin_or_none_is_no_code(text, reason):
    with pytest.raises(CodeError) as caught:
        normal(text)
    assert caught.value.reason is reason


# What earlier versions stored.


@pytest.mark.parametrize(
    "stored", ["05012345678900", "012345678905", "978-0-306-40615-7", "1234505", "0105012345678900"]
)
def test_a_code_in_an_old_form_is_found_by_its_label_and_by_the_barcode(stored):
    item = Item(stored, "Old", 1, 100)
    for text in (stored, normal(stored)):
        assert read(text, index([item])).item == item
        assert CodeIndex(index([item])).kept_code(text) == stored


def test_a_stored_code_that_would_be_refused_now_is_still_sold():
    item = Item("15012345678908", "Old", 1, 100)
    assert read(item.code, index([item])).item == item


def test_of_two_items_with_one_gtin_each_has_its_own_label_and_the_sold_one_is_scanned():
    old, new = Item("05012345678900", "Old", 1, 100), Item("5012345678900", "New", 1, 200)
    for items in ([old, new], [new, old]):
        assert read(old.code, index(items)).item == old
        assert read(new.code, index(items)).item == new
        assert read("(01)05012345678900", index(items)).item == new
    assert read("(01)05012345678900", index([old, replace(new, retired=True)])).item == old


@pytest.mark.parametrize(("both", "wide"), [("01234565", "0012345000065"), ("12340057", "0123400000057")])
def test_eight_digits_that_are_an_ean_8_and_a_upc_e_are_the_ean_8_alone(both, wide):
    other, own = Item(wide, "Other", 1, 100), Item(both, "Own", 1, 100)
    assert read(both, index([other])).reason is CodeProblem.UNKNOWN
    assert read(both, index([other, replace(own, retired=True)])).reason is CodeProblem.RETIRED
    assert read(wide, index([own])).reason is CodeProblem.UNKNOWN
    assert read(both, index([other, own])).item == own
    assert read(f"]E0{both}", index([other, own])).item == other  # the scanner says that it is a UPC-E
    assert CodeIndex(index([other])).kept_code(both) == both


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


FORMS = st.sampled_from(
    [
        *("{}", "0{}", "]E0{}", "]C101{}", "(01){}(17)270101", "01{}", "https://a.example/01/{}/10/x", "{}.0"),
        *("'{}", '="{}"', "\x02{}\x03", "{}\r\n", "\u200e{}\u00a0", "ISBN {}", "01{}10L1\x1d21x"),
    ]
)
GTINS = (
    st.text("0123456789", min_size=12, max_size=12)
    .filter(lambda digits: digits.strip("0"))
    .map(lambda digits: digits + str(check_digit(digits)))
)


# What keys are by the layout of the computer, and by their places.
@pytest.mark.parametrize(
    ("text", "by_position", "item", "reason"),
    [
        ('à"àààààààà(àç', "0200000000509", CATALOGUE[4], None),
        ("0200000000509", ")@))))))))%)(", CATALOGUE[4], None),
        ("à(àç", "0509", None, CodeProblem.UNKNOWN),
        ("honez1", "honey1", Item("HONEY1", "Honey", 5, 1), None),
        ("!!", "??", None, CodeProblem.NOT_A_CODE),
        ("0200000000508", ")@", None, CodeProblem.CHECK_DIGIT),
        (GONE.code, "honey1", None, CodeProblem.RETIRED),
        ("honey1", "jamz", None, CodeProblem.AMBIGUOUS),
    ],
)
def test_keys_are_read_by_both_layouts_and_never_sold_as_either(text, by_position, item, reason):
    items = index([*CATALOGUE, GONE, Item("HONEY1", "Honey", 5, 1), Item("JAMZ", "Jam", 5, 1)])
    reading = agreed(read(text, items), read(by_position, items))
    assert (reading.item, reading.reason) == (item, reason)


TEXTS = (
    st.builds(str.format, FORMS, GTINS)
    | st.text("0123456789-.]()EC \x1dX/+'", max_size=24)
    | st.text()
    | st.text(st.characters(codec="ascii"))
    | st.integers(0, 10**14).map(str)
    | st.sampled_from(list(ITEMS))
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
        assert reading.item.code in (normal(text), text.strip().upper())
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


@given(FORMS, GTINS)
def test_scan_and_catalogue_agree_on_every_form_of_a_gtin(form, gtin):
    digits = gtin.rjust(14, "0") if "01{}" in form or "(01)" in form else gtin
    text = form.format(digits)
    item = Item(normal(text), "Thing", 1, 100)
    assert item.code == normal(gtin)
    assert read(text, index([item])).item == item
    assert read(gtin, index([item])).item == item


@given(GTINS, GTINS, FORMS)
def test_a_scan_never_gives_the_item_of_another_gtin(gtin, other, form):
    reading = read(form.format(gtin), index([Item(normal(other), "Other", 1, 100)]))
    assert reading.item is None or normal(gtin) == normal(other)


@given(TEXTS)
def test_what_a_catalogue_takes_can_be_scanned(text):
    try:
        item = Item(CodeIndex({}).kept_code(text), "Thing", 1, 100)
    except CodeError:
        return
    assert read(text, index([item])).item == item
    assert read(item.code, index([item])).item == item


@given(st.text("0123456789", min_size=7, max_size=12), st.integers(0, 11), st.integers(1, 9))
def test_one_wrong_digit_is_always_seen(digits, place, off):
    code = digits + str(check_digit(digits))
    place %= len(code)
    wrong = code[:place] + str((int(code[place]) + off) % 10) + code[place + 1 :]
    assert check_digit(wrong[:-1]) != int(wrong[-1])
