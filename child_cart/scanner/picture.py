"""The bytes of a picture to its grey pixels; what would take more memory or time than a photo is refused unread.

The size is taken from the picture's header, before anything of it is decoded.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

TYPES: Final = ("image/jpeg", "image/png", "image/webp")
MAX_PICTURE_BYTES: Final = 4 * 1024 * 1024
MAX_PIXELS: Final = 25_000_000
MAX_SIDE: Final = 12_000
MAX_SCANS: Final = 100
"""A JPEG draws itself over and over, once for each scan; cameras write ten."""
WORKING_SIDE: Final = 1600
"""Codes are looked for in pictures of this many pixels a side at most: more cost time and find nothing."""

_BROKEN: Final = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, struct.error, MemoryError)
_START_OF_SCAN: Final = b"\xff\xda"


class PictureError(ValueError):
    """Bytes that are no picture to look for codes in; the message is a sentence for whoever sent them."""


def grey(data: bytes) -> Image:
    """Return the picture in shades of grey, no larger than codes are looked for in.

    Raises:
        PictureError: if it is none, is too large, or is damaged.
    """
    from PIL import Image  # not for a cart at which nobody scans pictures

    if len(data) > MAX_PICTURE_BYTES:
        raise PictureError(f"The picture has {len(data)} bytes; at most {MAX_PICTURE_BYTES} are taken.")
    Image.MAX_IMAGE_PIXELS = None  # Pillow warns and raises from limits of its own; ours come first and are lower
    try:
        picture: Image.Image = Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    except _BROKEN:
        raise PictureError("This is no picture in JPEG, PNG or WebP.") from None
    with picture:
        _check(picture.size, data if picture.format == "JPEG" else b"")
        try:
            picture.draft("L", _fitted(picture.size))  # a JPEG is decoded at a half or a quarter where that will do
            drawn = picture.convert("L")
            drawn.thumbnail((WORKING_SIDE, WORKING_SIDE), reducing_gap=2.0)
        except _BROKEN:
            raise PictureError("The picture is damaged.") from None
    return drawn


def _check(size: tuple[int, int], jpeg: bytes) -> None:
    width, height = size
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE and width * height <= MAX_PIXELS):
        raise PictureError(
            f"The picture is {width} by {height} pixels large; at most {MAX_SIDE} a side "
            f"and {MAX_PIXELS} in all are taken."
        )
    if jpeg.count(_START_OF_SCAN) > MAX_SCANS:
        raise PictureError(f"The picture is drawn in more than {MAX_SCANS} scans; photos are not.")


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, WORKING_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
