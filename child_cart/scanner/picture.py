"""Decode the bytes of a picture to grey pixels; reject what would take more memory or time than a photo.

The size comes from the picture's header, before anything is decoded.
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
"""A progressive JPEG is decoded once for each scan; cameras write ten."""
WORKING_SIDE: Final = 1600
"""Larger pictures are reduced to this many pixels a side: more take time and find nothing."""

_BROKEN: Final = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, struct.error, MemoryError)
_START_OF_SCAN: Final = b"\xff\xda"


class PictureError(ValueError):
    """Bytes are not a usable picture; the message is for their sender."""


def grey(data: bytes) -> Image:
    """Return the picture in shades of grey, at most ``WORKING_SIDE`` pixels a side.

    Raises:
        PictureError: if it is not a picture, is too large, or is damaged.
    """
    from PIL import Image  # only for carts that scan pictures

    if len(data) > MAX_PICTURE_BYTES:
        raise PictureError(f"The picture has {len(data)} bytes; at most {MAX_PICTURE_BYTES} are allowed.")
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit; ours are lower and come first
    try:
        picture: Image.Image = Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    except _BROKEN:
        raise PictureError("This is not a picture in JPEG, PNG or WebP.") from None
    with picture:
        _check(picture.size, data if picture.format == "JPEG" else b"")
        try:
            picture.draft("L", _fitted(picture.size))  # a JPEG is decoded at half or quarter size where that suffices
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
            f"and {MAX_PIXELS} in all are allowed."
        )
    if jpeg.count(_START_OF_SCAN) > MAX_SCANS:
        raise PictureError(f"The picture is drawn in more than {MAX_SCANS} scans; photos are not.")


def _fitted(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, WORKING_SIDE / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
