"""Shelf labels: what is printed can be scanned, and says the name and the price."""

from __future__ import annotations

import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from child_cart.config.settings import MAX_CURRENCY_CHARS
from child_cart.db.records import Item
from child_cart.scanner.decode import OpenCv, texts_in
from child_cart.scanner.picture import grey
from child_cart.shop import labels
from child_cart.shop.billing import CATALOGUE
from child_cart.shop.catalogue import MAX_PRICE_CENTS, CatalogueError

LONG = Item("SKU-1234567890-ABCDEFGHI", "<script>alert(1)</script> & \"quotes\" 'n' Łódź Köln", 1, 9_999_999)


def drawn_path(path: str, side: int, scale: int = 8) -> Image.Image:
    pixels = np.full((side, side), 255, np.uint8)
    for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path):
        pixels[int(y), int(x)] = 0
    return Image.fromarray(np.kron(pixels, np.ones((scale, scale), np.uint8)))


@pytest.mark.parametrize("item", [CATALOGUE[0], LONG], ids=["short", "long"])
def test_a_printed_label_scans(item):
    photo = Image.open(io.BytesIO(labels.png(item))).rotate(7, expand=True, fillcolor=140)
    made = io.BytesIO()
    photo.filter(ImageFilter.GaussianBlur(1)).save(made, "JPEG")
    assert texts_in(grey(made.getvalue()), OpenCv()) == [item.code]


@pytest.mark.parametrize("item", [CATALOGUE[0], LONG], ids=["short", "long"])
def test_the_outline_is_the_code(item):
    side, path = labels.qr_path(item.code)
    assert texts_in(drawn_path(path, side), OpenCv()) == [item.code]


def test_a_label_with_a_torn_corner_scans():
    side, path = labels.qr_path(CATALOGUE[0].code)
    torn = drawn_path(path, side)
    torn.paste(255, (20 * 8, 20 * 8, 25 * 8, 25 * 8))  # a corner without a finder
    assert texts_in(torn, OpenCv()) == [CATALOGUE[0].code]


@pytest.mark.parametrize("item", [CATALOGUE[0], LONG], ids=["short", "long"])
def test_an_svg_says_what_it_labels_and_is_sound(item):
    root = ElementTree.fromstring(labels.svg(item))
    texts = ["".join(node.itertext()) for node in root if node.tag.endswith("text")]
    assert root[0].text == f"{item.name}, {item.price_cents // 100}.{item.price_cents % 100:02}"
    assert texts[-2:] == [f"{item.price_cents // 100}.{item.price_cents % 100:02}", item.code]
    assert " ".join(texts[:-2]).startswith(item.name[:10])
    assert {node.tag.rpartition("}")[2] for node in root.iter()} <= {"svg", "title", "rect", "path", "text"}


@pytest.mark.parametrize("currency", ["€", "<b>&\"'"])
def test_a_label_shows_the_currency_and_still_scans(currency):
    root = ElementTree.fromstring(labels.svg(CATALOGUE[0], currency))
    texts = ["".join(node.itertext()) for node in root if node.tag.endswith("text")]
    assert texts[-2].endswith(f"\N{NO-BREAK SPACE}{currency}")
    with Image.open(io.BytesIO(labels.png(CATALOGUE[0], currency))) as picture:
        assert picture.tobytes() != Image.open(io.BytesIO(labels.png(CATALOGUE[0]))).tobytes()
        assert texts_in(picture.convert("L"), OpenCv()) == [CATALOGUE[0].code]


@pytest.mark.parametrize("currency", ["", "€", "CHF", "W" * MAX_CURRENCY_CHARS])
@pytest.mark.parametrize("price_cents", [1, 2999, MAX_PRICE_CENTS])
def test_every_price_fits(price_cents, currency):
    item = Item("A1", "Rye bread", 1, price_cents)
    with Image.open(io.BytesIO(labels.png(item, currency))) as picture:
        right = np.asarray(picture)[:, -labels.MARGIN + 2 :]
    assert right.min() == 255
    price = ElementTree.fromstring(labels.svg(item, currency))[-2]
    size, told = int(price.get("font-size")), price.get("textLength")
    assert size == labels.PRICE_SIZE if told is None else float(told) <= labels.WIDTH - labels.TEXT_LEFT - labels.MARGIN


@pytest.mark.parametrize(
    ("name", "currency", "named"),
    [("苹果 Apple", "", "苹 果"), ("حليب", "", "ح ل ي ب"), ("🍎", "", "🍎"), ("Apple", "₿", "₿")],
    ids=["Chinese", "Arabic", "emoji", "currency"],
)
def test_a_png_without_a_glyph_is_refused_and_not_drawn_with_boxes(name, currency, named):
    item = Item("A1", name, 1, 100)
    with pytest.raises(CatalogueError, match=f"cannot show {named}: .* Take the SVG label"):
        labels.png(item, currency)
    assert name in labels.svg(item, currency)


@pytest.mark.parametrize("name", ["Łódź Köln «ñ»", "Молоко", "Ψωμί", "Crème 12″ à 2 ½ €"])
def test_a_png_is_drawn_for_what_its_font_has(name):
    assert labels.png(Item("A1", name, 1, 100), "€")


@given(st.text(st.characters(exclude_categories=("C",)), min_size=1, max_size=60))
def test_every_name_fits(name):
    lines = labels.name_lines(name)
    assert 1 <= len(lines) <= labels.NAME_LINES
    assert all(len(line) <= labels.NAME_LINE_CHARS for line in lines)
    ElementTree.fromstring(labels.svg(Item("A1", name, 1, 100)))
