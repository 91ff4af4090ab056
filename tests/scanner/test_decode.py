"""Codes in pictures as cameras take them, by both decoders."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageFilter
from support.browser import code_pictures as pictures
from support.skip_loudly import skip_loudly

from child_cart.scanner.decode import OpenCv, Zbar, texts_in

ROOT = Path(__file__).resolve().parents[2]
LABEL, EAN_13, EAN_8, UPC_A = "0200000000103", "4006381333931", "96385074", "036000291452"
WIDE_UPC = "0036000291452"


def has_zbar() -> bool:
    try:
        Zbar()
    except (ImportError, OSError):
        return False
    return True


@pytest.fixture(params=["zbar", "OpenCV"])
def decoder(request):
    if request.param == "OpenCV":
        return OpenCv()
    if not has_zbar():
        skip_loudly("libzbar", "it is not installed: sudo apt install libzbar0", fails_on_ci=False)
    return Zbar()


@pytest.fixture
def zbar():
    if not has_zbar():
        skip_loudly("libzbar", "it is not installed: sudo apt install libzbar0", fails_on_ci=False)
    return Zbar()


def same(texts):
    """Return texts with every UPC-A in the form of an EAN-13: decoders differ in it, the catalogue does not."""
    return {text.rjust(13, "0") if len(text) == 12 else text for text in texts}


SCENES = {
    "label": (pictures.qr(LABEL), LABEL),
    "EAN-13": (pictures.ean_13(EAN_13), EAN_13),
    "EAN-8": (pictures.ean_8(EAN_8), EAN_8),
    "UPC-A": (pictures.ean_13(WIDE_UPC), WIDE_UPC),
}


@pytest.mark.parametrize("scene", SCENES)
def test_a_code_is_read(decoder, scene):
    code, text = SCENES[scene]
    assert same(texts_in(pictures.on_a_shelf(code), decoder)) == {text}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("degrees", [90, 180, 8, -45])
def test_a_turned_code_is_read(decoder, scene, degrees):
    code, text = SCENES[scene]
    assert same(texts_in(pictures.turned(pictures.on_a_shelf(code), degrees), decoder)) == {text}


@pytest.mark.parametrize("scene", SCENES)
def test_a_code_in_the_dark_is_read(decoder, scene):
    code, text = SCENES[scene]
    assert same(texts_in(pictures.dark(pictures.on_a_shelf(code)), decoder)) == {text}


@pytest.mark.parametrize("scene", SCENES)
def test_a_blurred_code_is_read(decoder, scene):
    code, text = SCENES[scene]
    # Two pixels are two thirds of a narrow bar: what zbar still reads there, OpenCV does not.
    radius = 2 if decoder.name == "zbar" or scene == "label" else 1
    blurred = pictures.on_a_shelf(code).filter(ImageFilter.GaussianBlur(radius))
    assert same(texts_in(blurred, decoder)) == {text}


@pytest.mark.parametrize("scene", SCENES)
def test_a_code_in_noise_is_read(decoder, scene):
    code, text = SCENES[scene]
    assert same(texts_in(pictures.noisy(pictures.on_a_shelf(code), 35), decoder)) == {text}


def test_two_codes_in_one_frame_are_both_read(decoder):
    both = pictures.on_a_shelf(pictures.qr(LABEL, 7), pictures.qr("HONEY-1", 7))
    assert set(texts_in(both, decoder)) == {LABEL, "HONEY-1"}


def test_a_label_beside_a_barcode_is_read_with_it(decoder):
    both = pictures.on_a_shelf(pictures.qr(LABEL, 7), pictures.ean_13(EAN_13))
    assert set(texts_in(both, decoder)) == {LABEL, EAN_13}


def test_a_code_that_is_there_twice_is_one_text(decoder):
    assert texts_in(pictures.on_a_shelf(pictures.qr(LABEL, 7), pictures.qr(LABEL, 7)), decoder) == [LABEL]


def test_noise_and_blank_pictures_hold_no_code(decoder):
    for picture in (pictures.on_a_shelf(), pictures.noisy(pictures.on_a_shelf(), 90), Image.new("L", (1, 1))):
        assert texts_in(picture, decoder) == []


def test_zbar_reads_code_128_and_upc_e_too(zbar):
    assert texts_in(pictures.on_a_shelf(pictures.code_128("A-A0")), zbar) == ["A-A0"]
    assert texts_in(pictures.on_a_shelf(pictures.upc_e("04252614")), zbar) == ["042100005264"]


def test_hostile_texts_in_codes_come_out_as_texts(decoder):
    text = "<script>alert(1)</script>'; DROP TABLE items; --"
    assert texts_in(pictures.on_a_shelf(pictures.qr(text, 6)), decoder) == [text]


CHOICE = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None
from child_cart.scanner.decode import decoder
found = decoder()
print(found and found.name, bool(found and found.sentence), "cv2" in sys.modules)
"""


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (["pyzbar"], "OpenCV True False"),
        (["pyzbar", "cv2"], "None False True"),
        ([], "zbar False False"),
    ],
)
def test_the_decoder_is_the_best_one_that_is_there(missing, said):
    """Without loading OpenCV just to say so."""
    if not missing and not has_zbar():
        skip_loudly("libzbar", "it is not installed: sudo apt install libzbar0", fails_on_ci=False)
    ended = subprocess.run(
        [sys.executable, "-c", CHOICE, *missing], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == said
