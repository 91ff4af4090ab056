"""What the pages may ask of the scanner. Every method may be called from any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from .db.records import Json
from .db.store import Store
from .scanner import codes
from .scanner.camera import Camera, Frame
from .scanner.codes import Reading
from .scanner.decode import Decoder, decoder, texts_in
from .scanner.opencv import opencv
from .scanner.picture import WORKING_SIDE, grey

if TYPE_CHECKING:
    from PIL.Image import Image

FRAME_WAIT_S: Final = 1.5
BUSY_WAIT_S: Final = 5.0
PREVIEW_WIDTH: Final = 640
NO_DECODER: Final = (
    "This cart can read no codes from pictures: neither pyzbar with libzbar nor OpenCV is installed. "
    "Scan with a hand scanner, or type the code."
)


class ScannerBusy(Exception):
    """The scanner cannot answer now; the message is a sentence for whoever asked."""


class ScanDesk:
    """The scanner as the pages see it.

    Args:
        store: holds the catalogue.
        camera: the cart's own.
    """

    def __init__(self, store: Store, camera: Camera) -> None:
        self._store = store
        self._camera = camera
        self._decoding = threading.Lock()

    def status(self) -> Json:
        """Return what reads codes here, which ones, and how the camera is."""
        found = decoder()
        return {
            "decoder": found.name if found else None,
            "formats": list(found.formats) if found else [],
            "sentence": found.sentence if found else NO_DECODER,
            "camera": asdict(self._camera.status),
        }

    def read_text(self, text: str) -> Reading:
        """Return the item of a code that was typed or scanned by hand, or why there is none."""
        return self._readings([text])[0]

    def read_picture(self, data: bytes, thorough: bool) -> list[Reading]:
        """Return what became of each code in a picture.

        Args:
            data: a JPEG, PNG or WebP.
            thorough: look again where nothing is found at once.

        Raises:
            PictureError: if the bytes are no picture, or one that is too large.
            ScannerBusy: if other pictures take too long, or nothing here reads codes.
        """
        with self._turn() as found:
            return self._readings(texts_in(grey(data), found, thorough))

    def read_camera(self, after: int) -> tuple[int, list[Reading]]:
        """Return the number of the camera's next frame, and what became of each code in it.

        Args:
            after: the number of the last frame that was read.

        Raises:
            ScannerBusy: if the camera gives none now, or nothing here reads codes.
        """
        frame = self._frame(after)
        with self._turn() as found:
            return frame.number, self._readings(texts_in(_grey_frame(frame), found, thorough=False))

    def preview(self) -> bytes:
        """Return the camera's latest frame as a JPEG, no wider than a preview.

        Raises:
            ScannerBusy: if the camera gives none now.
        """
        cv, pixels = opencv(), self._frame(0).pixels
        height, width = pixels.shape[:2]
        if width > PREVIEW_WIDTH:
            pixels = cv.resize(pixels, (PREVIEW_WIDTH, max(1, height * PREVIEW_WIDTH // width)))
        return bytes(cv.imencode(".jpg", pixels, [cv.IMWRITE_JPEG_QUALITY, 75])[1])

    def _readings(self, texts: list[str]) -> list[Reading]:
        catalogue = {item.code: item for item in self._store.items()}
        return [codes.read(text, catalogue) for text in texts]

    def _frame(self, after: int) -> Frame:
        frame = self._camera.look(after, FRAME_WAIT_S)
        if frame is None:
            raise ScannerBusy(self._camera.status.sentence or "The camera gives no new picture now.")
        return frame

    @contextmanager
    def _turn(self) -> Iterator[Decoder]:
        """Decode one picture at a time: that bounds memory, and leaves the other threads and cores to the rest."""
        found = decoder()
        if found is None:
            raise ScannerBusy(NO_DECODER)
        if not self._decoding.acquire(timeout=BUSY_WAIT_S):
            raise ScannerBusy("The cart is still looking at other pictures. Try again in a moment.")
        try:
            yield found
        finally:
            self._decoding.release()


def _grey_frame(frame: Frame) -> Image:
    from PIL import Image

    cv = opencv()
    pixels = frame.pixels if frame.pixels.ndim == 2 else cv.cvtColor(frame.pixels, cv.COLOR_BGR2GRAY)
    picture = Image.fromarray(pixels)
    picture.thumbnail((WORKING_SIDE, WORKING_SIDE), reducing_gap=2.0)
    return picture
