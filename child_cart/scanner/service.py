"""Read codes from text, pictures and the cart's camera. Every method may be called from any thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from prometheus_client import Counter

from ..shop.item_codes import CodeProblem, Reading, agreed
from .camera import Camera, CameraFrame, CameraStatus
from .decode import decoder
from .opencv import opencv
from .picture import WORKING_SIDE
from .reader import Reader

FRAME_WAIT_S: Final = 1.5
PREVIEW_WIDTH: Final = 640
READ: Final = "READ"
NO_DECODER: Final = (
    "This cart cannot read codes from pictures: neither pyzbar with libzbar nor OpenCV is installed. "
    "Scan with a hand scanner, or type the code."
)


class ScannerAway(Exception):
    """The scanner cannot answer now; the message is a sentence for the shopper."""


@dataclass(frozen=True)
class ScannerStatus:
    """What reads codes at this cart, which formats, and how its camera is."""

    decoder: str | None
    formats: tuple[str, ...]
    sentence: str
    """What an operator should know of the decoder; empty if there is nothing to say."""
    camera: CameraStatus


class ScannerService:
    """The scanner of a cart.

    Args:
        find: returns the item of each code, or why there is none.
        camera: the cart's own.
        reader: asks the process that decodes pictures.

    Attributes:
        codes: counts codes of photos and hand scanners: read ones, and the others by reason.
    """

    def __init__(self, find: Callable[[list[str]], list[Reading]], camera: Camera, reader: Reader) -> None:
        self._find = find
        self._camera = camera
        self._reader = reader
        self.codes = Counter(
            "cart_codes",
            "Codes of photos and hand scanners since the start: READ, or why there was no item.",
            ["reason"],
            registry=None,
        )
        for reason in (READ, *CodeProblem):
            self.codes.labels(reason)  # a rate can be told from the first event only where a 0 stands before it

    def status(self) -> ScannerStatus:
        """Return the decoder, its formats, and the state of the camera."""
        found = decoder()
        if found is None:
            return ScannerStatus(None, (), NO_DECODER, self._camera.status)
        return ScannerStatus(found.name, tuple(found.formats), found.sentence, self._camera.status)

    def read_text(self, text: str, by_position: str | None = None) -> Reading:
        """Return the item of a code that was typed or scanned by hand, or why there is none.

        Args:
            text: what a page received.
            by_position: what the same keys are on an American keyboard, if that may differ.
        """
        readings = self._find([text] if by_position in (None, text) else [text, by_position])
        return self._counted([agreed(readings[0], readings[-1])])[0]

    def read_picture(self, data: bytes, thorough: bool) -> list[Reading]:
        """Return the result of each code in a picture.

        Args:
            data: a JPEG, PNG or WebP.
            thorough: try harder if the first look finds nothing.

        Raises:
            PictureError: if the bytes are not a picture, or it is too large or takes too long.
            ReaderBusy: if other pictures are being read.
            ScannerAway: if no decoder is installed.
        """
        self._check_decoder()
        readings = self._find(self._reader.texts(data, thorough))
        return self._counted(readings) if thorough else readings  # a camera shows one label many times a second

    def read_camera(self, after: int) -> tuple[int, list[Reading]]:
        """Return the number of the camera's next frame, and the result of each code in it.

        Args:
            after: the number of the last frame that was read.

        Raises:
            ReaderBusy: if other pictures are being read.
            ScannerAway: if the camera gives no frame now, or no decoder is installed.
        """
        self._check_decoder()
        frame = self._frame(after)
        width, height, pixels = _grey_pixels(frame)
        return frame.number, self._find(self._reader.texts(pixels, False, (width, height)))

    def preview(self) -> bytes:
        """Return the camera's latest frame as a JPEG, no wider than a preview.

        Raises:
            ScannerAway: if the camera gives none now.
        """
        cv, pixels = opencv(), self._frame(0).pixels
        height, width = pixels.shape[:2]
        if width > PREVIEW_WIDTH:
            pixels = cv.resize(pixels, (PREVIEW_WIDTH, max(1, height * PREVIEW_WIDTH // width)))
        return bytes(cv.imencode(".jpg", pixels, [cv.IMWRITE_JPEG_QUALITY, 75])[1])

    def _counted(self, readings: list[Reading]) -> list[Reading]:
        for reading in readings:
            self.codes.labels(reading.reason or READ).inc()
        return readings

    def _frame(self, after: int) -> CameraFrame:
        frame = self._camera.look(after, FRAME_WAIT_S)
        if frame is None:
            raise ScannerAway(self._camera.status.sentence or "The camera gives no new picture now.")
        return frame

    def _check_decoder(self) -> None:
        if decoder() is None:
            raise ScannerAway(NO_DECODER)


def _grey_pixels(frame: CameraFrame) -> tuple[int, int, bytes]:
    """Return width, height and grey pixels of a frame, scaled down to the size that the decoder needs."""
    cv = opencv()
    pixels = frame.pixels if frame.pixels.ndim == 2 else cv.cvtColor(frame.pixels, cv.COLOR_BGR2GRAY)
    height, width = pixels.shape
    scale = WORKING_SIDE / max(width, height)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv.resize(pixels, size, interpolation=cv.INTER_AREA)
    return pixels.shape[1], pixels.shape[0], pixels.tobytes()
