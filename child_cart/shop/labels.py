"""Shelf labels as SVG and PNG: QR code, name, price and code of an item. Pure; segno draws the QR codes."""

from __future__ import annotations

from functools import lru_cache
from html import escape
from io import BytesIO
from typing import Any, Final

from ..db.records import Item
from .catalogue import CatalogueError, written_price

WIDTH: Final = 600
HEIGHT: Final = 260
"""In units of the SVG and pixels of the PNG: 300 per inch on a label 51 mm wide."""
QR_SIDE: Final = 212
TEXT_LEFT: Final = 262
MARGIN: Final = 16
PRICE_WIDTH: Final = WIDTH - TEXT_LEFT - MARGIN
NAME_LINES: Final = 2
PRICE_SIZE: Final = 72
NAME_LINE_CHARS: Final = 17
LABELS_KEPT: Final = 500
"""QR codes kept, about 6 KB each: drawing one takes 4 ms, and a sheet has hundreds."""


@lru_cache(LABELS_KEPT)
def qr_path(code: str) -> tuple[int, str]:
    """Return the QR code of an item: modules per side with the quiet zone, and the dark ones as an SVG path.

    Error correction is at its highest level, so that a torn label still scans.
    """
    rows = [bytes(row) for row in _qr(code).matrix_iter(border=4)]
    parts = [f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, dark in enumerate(row) if dark]
    return len(rows), "".join(parts)


def name_lines(name: str) -> list[str]:
    """Break a name into the lines of a label; cut a longer one with an ellipsis."""
    lines: list[str] = []
    for word in name.split(" "):
        if lines and len(lines[-1]) + 1 + len(word) <= NAME_LINE_CHARS:
            lines[-1] += f" {word}"
        else:
            lines += [word[start : start + NAME_LINE_CHARS] for start in range(0, max(1, len(word)), NAME_LINE_CHARS)]
    if len(lines) > NAME_LINES:
        lines = [*lines[: NAME_LINES - 1], f"{lines[NAME_LINES - 1][: NAME_LINE_CHARS - 1]}…"]
    return lines


@lru_cache(LABELS_KEPT)
def price_size(price: str) -> tuple[int, float]:
    """Return the font size at which a price fits on a label, and its width at that size."""
    from font_roboto import RobotoBold
    from PIL import ImageFont

    width = ImageFont.truetype(RobotoBold, PRICE_SIZE).getlength(price)
    size = min(PRICE_SIZE, int(PRICE_SIZE * PRICE_WIDTH / width))
    return size, width * size / PRICE_SIZE


def price_attributes(price: str) -> dict[str, str]:
    """Return the attributes of an SVG text with which a price is one line that fits on a label."""
    size, width = price_size(price)
    attributes = {"font-size": str(size), "font-weight": "bold"}
    if size < PRICE_SIZE:  # a reader's fonts may be wider than ours: a long price gets a fixed width
        attributes |= {"textLength": f"{width:.0f}", "lengthAdjust": "spacingAndGlyphs"}
    return attributes


def svg(item: Item, currency: str = "") -> str:
    """Return the label as an SVG image."""
    written = written_price(item.price_cents, currency)
    price = escape(written)
    attributes = " ".join(f'{name}="{value}"' for name, value in price_attributes(written).items())
    side, path = qr_path(item.code)
    texts = [
        f'<text x="{TEXT_LEFT}" y="{66 + 38 * place}" font-size="32">{escape(line)}</text>'
        for place, line in enumerate(name_lines(item.name))
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="Helvetica, Arial, sans-serif">'
        f"<title>{escape(item.name)}, {price}</title>"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<path transform="translate(24 24) scale({QR_SIDE / side:.5f})" shape-rendering="crispEdges" d="{path}"/>'
        f"{''.join(texts)}"
        f'<text x="{TEXT_LEFT}" y="190" {attributes}>{price}</text>'
        f'<text x="{TEXT_LEFT}" y="228" font-size="22" fill="#444">{escape(item.code)}</text>'
        "</svg>"
    )


def png(item: Item, currency: str = "") -> bytes:
    """Return the label as a PNG image.

    Raises:
        CatalogueError: if its font cannot write the name or the currency.
    """
    from font_roboto import Roboto, RobotoBold
    from PIL import Image, ImageDraw, ImageFont

    unwritable = _without_glyph(f"{item.name}{currency}")
    if unwritable:
        raise CatalogueError(
            f"A PNG label cannot show {' '.join(unwritable)}: its font has Latin, Greek and Cyrillic letters. "
            "Take the SVG label or print the sheet of labels: they use the fonts of the computer."
        )
    label = Image.new("L", (WIDTH, HEIGHT), 255)
    drawn = BytesIO()
    side, _ = qr_path(item.code)
    _qr(item.code).save(drawn, kind="png", border=4, scale=QR_SIDE // side)
    with Image.open(drawn) as code:
        label.paste(code.convert("L"), (24, (HEIGHT - code.height) // 2))
    draw = ImageDraw.Draw(label)
    for place, line in enumerate(name_lines(item.name)):
        draw.text((TEXT_LEFT, 66 + 38 * place), line, font=ImageFont.truetype(Roboto, 32), anchor="ls")
    price = written_price(item.price_cents, currency)
    draw.text((TEXT_LEFT, 190), price, font=ImageFont.truetype(RobotoBold, price_size(price)[0]), anchor="ls")
    draw.text((TEXT_LEFT, 228), item.code, font=ImageFont.truetype(Roboto, 22), fill=64, anchor="ls")
    made = BytesIO()
    label.save(made, "PNG", dpi=(300, 300), optimize=True)
    return made.getvalue()


def _without_glyph(text: str) -> list[str]:
    """Return the characters, each once, for which the PNG's font has only the box of a missing one."""
    from font_roboto import Roboto
    from PIL import ImageFont

    font = ImageFont.truetype(Roboto, 32)
    box = bytes(font.getmask("\uffff"))
    return [char for char in dict.fromkeys(text) if bytes(font.getmask(char)) == box]


def _qr(code: str) -> Any:
    import segno

    return segno.make_qr(code, error="h", boost_error=False)
