"""Read the codes in a grey picture, with zbar, or with OpenCV's detectors where libzbar is missing."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..shop.gtin import widened
from .opencv import opencv

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("cart.scanner")

MAX_CODES: Final = 32
SMALL_SIDE: Final = 700
"""Below this many pixels a side, a picture is also searched enlarged."""


class Decoder(Protocol):
    """Finds codes in a picture as it is."""

    name: str
    formats: tuple[str, ...]
    sentence: str
    """What the operator should know about it; empty if nothing."""

    def find(self, picture: Image) -> list[str]:
        """Return the texts of the codes."""


class Zbar:
    """The zbar library, through pyzbar.

    Raises:
        ImportError: when built, where pyzbar or libzbar is missing.
    """

    name = "zbar"
    formats: tuple[str, ...] = ("QR", "EAN-13", "EAN-8", "UPC-A", "UPC-E", "Code 128")
    sentence = ""

    def __init__(self) -> None:
        from pyzbar import pyzbar  # loads libzbar

        kinds = pyzbar.ZBarSymbol
        # No others: zbar finds codes of the weaker kinds in stripes and noise.
        self._kinds = [kinds.QRCODE, kinds.EAN13, kinds.EAN8, kinds.UPCA, kinds.UPCE, kinds.CODE128]
        self._decode: Callable[..., list[Any]] = pyzbar.decode

    def find(self, picture: Image) -> list[str]:
        """Return the texts of the codes."""
        symbols = self._decode(picture, symbols=self._kinds)
        texts = [(symbol.type, symbol.data.decode("utf-8", errors="replace")) for symbol in symbols]
        return [text for text in (widened(text) if kind == "UPCE" else text for kind, text in texts) if text]


class OpenCv:
    """OpenCV's own detectors.

    Raises:
        ImportError: when built, where OpenCV is missing.
    """

    name = "OpenCV"
    formats: tuple[str, ...] = ("QR", "EAN-13", "EAN-8", "UPC-A")
    sentence = (
        "libzbar is missing, so OpenCV reads the codes: no Code 128, and fewer of the blurred ones. "
        "Install it, for example: sudo apt install libzbar0"
    )

    def __init__(self) -> None:
        if find_spec("cv2") is None:  # loaded with the first picture: it is large
            raise ImportError("OpenCV is not installed")

    def find(self, picture: Image) -> list[str]:
        """Return the texts of the codes."""
        import numpy as np

        cv = opencv()
        pixels = np.asarray(picture)
        texts = []
        # New detectors each time: they are small, and not documented as safe to share between threads.
        for detector in (cv.QRCodeDetector(), cv.barcode.BarcodeDetector()):
            try:
                _, found, *_ = detector.detectAndDecodeMulti(pixels)
            except (cv.error, UnicodeDecodeError):  # the detectors fail on some pictures
                continue
            texts += [text for text in found if text]
        return texts


@cache
def decoder() -> Decoder | None:
    """Return the decoder that this machine has, or None; load it on the first call."""
    makers: list[type[Zbar] | type[OpenCv]] = [Zbar, OpenCv]
    for make in makers:
        try:
            return make()
        except (ImportError, OSError) as error:
            log.warning("%s reads no codes here: %s", make.__name__, error)
    return None


def texts_in(picture: Image, decoder: Decoder, thorough: bool = True) -> list[str]:
    """Return the texts of the codes in a picture, each once.

    Args:
        picture: in shades of grey.
        decoder: what finds them.
        thorough: if nothing is found, search again: brighter, larger, turned. For photos; a camera sends its next
            frame anyway.
    """
    for view in _views(picture, thorough):
        found = list(dict.fromkeys(decoder.find(view)))
        if found:
            return found[:MAX_CODES]
    return []


def _views(picture: Image, thorough: bool) -> Iterator[Image]:
    """Yield variants of the picture in which codes may be found, the likeliest first."""
    from PIL import Image, ImageFilter, ImageOps

    yield picture
    bright = ImageOps.autocontrast(picture, cutoff=1)
    yield bright
    if not thorough:
        return
    side = max(picture.size)
    if side < SMALL_SIDE:
        double = (picture.width * 2, picture.height * 2)
        yield bright.resize(double, Image.Resampling.BICUBIC).filter(ImageFilter.UnsharpMask(3, 200, 2))
    yield bright.filter(ImageFilter.UnsharpMask(4, 250, 2))
    yield ImageOps.equalize(picture.filter(ImageFilter.MedianFilter(3)))
    # Barcodes are found along rows and columns only, so the picture is turned.
    for degrees in (-45, -22, 22):
        yield bright.rotate(degrees, expand=True, fillcolor=255, resample=Image.Resampling.BILINEAR)
    if side > SMALL_SIDE * math.sqrt(2):
        yield bright.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
