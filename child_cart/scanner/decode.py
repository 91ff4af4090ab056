"""A grey picture to the texts of the codes in it: by zbar, or by OpenCV's detectors where libzbar is missing."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..shop.item_codes import CodeError, widened
from .opencv import opencv

if TYPE_CHECKING:
    from PIL.Image import Image

log = logging.getLogger("cart.scanner")

MAX_CODES: Final = 32
SMALL_SIDE: Final = 700
"""Below this many pixels a side, a picture is also looked at enlarged."""


class Decoder(Protocol):
    """Finds codes in a picture as it stands."""

    name: str
    formats: tuple[str, ...]
    sentence: str
    """What an operator is told about it."""

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
        # No others: zbar sees codes of the weaker kinds in stripes and noise.
        self._kinds = [kinds.QRCODE, kinds.EAN13, kinds.EAN8, kinds.UPCA, kinds.UPCE, kinds.CODE128]
        self._decode: Callable[..., list[Any]] = pyzbar.decode

    def find(self, picture: Image) -> list[str]:
        """Return the texts of the codes."""
        texts = []
        for symbol in self._decode(picture, symbols=self._kinds):
            text = symbol.data.decode("utf-8", errors="replace")
            try:
                texts.append(widened(text) if symbol.type == "UPCE" else text)
            except CodeError:
                continue
        return texts


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
        # Detectors are made anew: they are small, and none says that two threads may share it.
        for detector in (cv.QRCodeDetector(), cv.barcode.BarcodeDetector()):
            try:
                _, found, *_ = detector.detectAndDecodeMulti(pixels)
            except (cv.error, UnicodeDecodeError):  # of some pictures the detectors ask too much of themselves
                continue
            texts += [text for text in found if text]
        return texts


@cache
def decoder() -> Decoder | None:
    """Return the decoder that this machine has, or None; loaded when it is first asked for."""
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
        thorough: look again at a picture in which nothing was found: brighter, larger, turned. For photos; of a camera
            the next frame comes anyway.
    """
    for view in _views(picture, thorough):
        found = list(dict.fromkeys(decoder.find(view)))
        if found:
            return found[:MAX_CODES]
    return []


def _views(picture: Image, thorough: bool) -> Iterator[Image]:
    """Yield the picture in the ways that codes are found in, the likeliest first."""
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
    # A barcode is found along rows and columns only; stripes at other angles are turned there.
    for degrees in (-45, -22, 22):
        yield bright.rotate(degrees, expand=True, fillcolor=255, resample=Image.Resampling.BILINEAR)
    if side > SMALL_SIDE * math.sqrt(2):
        yield bright.resize((picture.width // 2, picture.height // 2), Image.Resampling.BOX)
