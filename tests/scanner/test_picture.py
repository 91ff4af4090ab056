"""Bytes that are sent as pictures: photos are taken, bombs and garbage are refused with a sentence, in no memory."""

from __future__ import annotations

import struct
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from support.browser import code_pictures as pictures

from child_cart.scanner.picture import MAX_PICTURE_BYTES, WORKING_SIDE, PictureError, grey

SMALL = pictures.on_a_shelf(pictures.qr("0200000000103", 2), size=(120, 90))
GOOD = {kind: pictures.encoded(SMALL, kind) for kind in ("PNG", "JPEG", "WEBP")}


def png_of(width: int, height: int, rows: bytes = b"") -> bytes:
    """Return a PNG that claims a size, whatever is in it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", GOOD)
def test_a_picture_becomes_grey_pixels(kind):
    picture = grey(GOOD[kind])
    assert (picture.mode, picture.size) == ("L", SMALL.size)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "CMYK", "LA", "I;16"])
def test_pictures_of_all_modes_are_taken(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    source = (
        SMALL.convert("I").point(lambda value: value * 256).convert("I;16") if mode == "I;16" else SMALL.convert(mode)
    )
    assert grey(pictures.encoded(source, kind)).mode == "L"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_large_photo_is_made_smaller(kind):
    photo = Image.new("L", (6000, 4100), 200)
    assert max(grey(pictures.encoded(photo, kind)).size) <= WORKING_SIDE


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "This is not a picture in JPEG, PNG or WebP."),
        (b"not a picture", "This is not a picture in JPEG, PNG or WebP."),
        (pictures.encoded(SMALL, "GIF"), "This is not a picture in JPEG, PNG or WebP."),
        (pictures.encoded(SMALL, "TIFF"), "This is not a picture in JPEG, PNG or WebP."),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "This is not a picture in JPEG, PNG or WebP."),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "This is not a picture in JPEG, PNG or WebP."),
        (GOOD["PNG"][:60], "The picture is damaged."),
        (GOOD["JPEG"][:-200], "The picture is damaged."),
        (b"\xff\xd8" + b"x" * MAX_PICTURE_BYTES, "has 4194306 bytes; at most 4194304 are allowed."),
        (png_of(100_000, 100_000), "The picture is 100000 by 100000 pixels large; at most 12000 a side"),
        (png_of(12_001, 1), "12001 by 1 pixels"),
        (png_of(12_000, 12_000), "at most 12000 a side and 25000000 in all"),
        (png_of(0, 5), "picture"),
    ],
)
def test_what_is_no_photo_is_refused(data, sentence):
    with pytest.raises(PictureError) as caught:
        grey(data)
    assert sentence in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_bomb_is_refused_before_it_goes_off():
    """3 GB of pixels in 3 kB: the header tells, and nothing else is read."""
    bomb = png_of(60_000, 60_000, bytes(3_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(PictureError, match="60000 by 60000"):
            grey(bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_jpeg_that_is_drawn_a_thousand_times_is_refused():
    jpeg = pictures.encoded(SMALL, "JPEG", progressive=True)
    scan = jpeg.rindex(b"\xff\xda")
    with pytest.raises(PictureError, match="more than 100 scans"):
        grey(jpeg[:scan] + jpeg[scan:-2] * 1000 + jpeg[-2:])


def test_a_text_bomb_in_a_png_is_refused():
    text = b"Comment\x00\x00" + zlib.compress(bytes(200_000_000), 9)
    chunk = struct.pack(">I", len(text)) + b"zTXt" + text + struct.pack(">I", zlib.crc32(b"zTXt" + text))
    header_end = 8 + 25
    try:
        assert grey(GOOD["PNG"][:header_end] + chunk + GOOD["PNG"][header_end:]).size == SMALL.size
    except PictureError as error:
        assert str(error).endswith(".")


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(GOOD)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12),
    st.floats(0, 1),
)
def test_a_damaged_picture_is_a_picture_or_a_sentence(kind, changes, cut):
    data = bytearray(GOOD[kind])
    for where, value in changes:
        data[min(int(where * len(data)), len(data) - 1)] = value
    try:
        picture = grey(bytes(data[: int(len(data) * cut) if cut < 0.3 else len(data)]))
    except PictureError as error:
        assert str(error).endswith(".")
    else:
        assert picture.mode == "L"
        assert max(picture.size) <= WORKING_SIDE


@given(st.binary(max_size=200))
def test_garbage_is_a_sentence(data):
    for start in (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x00\x01\x00\x00WEBPVP8 "):
        with pytest.raises(PictureError):
            grey(start + data)
