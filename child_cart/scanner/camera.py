"""The cart's own camera: a device, a file or a stream, read in a thread of its own. Only the latest frame is kept.

The camera is opened when a page shows it, and closed when no page has shown it for a while: an idle cart films no one.
An unplugged camera is tried again until it is back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Protocol

from cart_common.process.redaction import shown

from .opencv import opencv

log = logging.getLogger("cart.camera")

REST_AFTER_S: Final = 20.0
RETRY_S: Final = 1.0
CLOSE_S: Final = 6.0
PATIENCE_MS: Final = 5000
"""Limit for opening a stream, and for each of its frames."""
FILE_FRAMES_PER_S: Final = 25.0


class CameraState(StrEnum):
    """State of the camera."""

    NONE = "NONE"
    RESTING = "RESTING"
    OPENING = "OPENING"
    LIVE = "LIVE"
    AWAY = "AWAY"


@dataclass(frozen=True)
class CameraStatus:
    """What a page shows about the camera. ``sentence`` says why there is no picture; it is empty if there is one."""

    source: str
    state: CameraState
    sentence: str = ""
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class CameraFrame:
    """A picture of the camera; its pixels are (height, width, 3) bytes: blue, green, red."""

    number: int
    pixels: Any


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that is used."""

    def isOpened(self) -> bool:
        """Return whether frames can be read."""

    def read(self) -> tuple[bool, Any]:
        """Wait for a frame; return False if there is no more."""

    def get(self, fact: int) -> float:
        """Return a property of the source, such as its frames per second."""

    def release(self) -> None:
        """Close the source."""


class Camera:
    """One camera; every method may be called from any thread.

    Args:
        source: a device number, a file or the URL of a stream; empty for no camera.
        open_capture: opens a source.
        rest_after_s: seconds without a call of ``look`` after which the camera is closed.
        retry_s: seconds between attempts to open a camera that is away.
    """

    def __init__(
        self,
        source: str,
        open_capture: Callable[[str], Capture] | None = None,
        rest_after_s: float = REST_AFTER_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._source = source
        self._open_capture = open_capture or open_source
        self._rest_after_s = rest_after_s
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked_at = 0.0
        self._frame: CameraFrame | None = None
        self._number = 0
        self._status = CameraStatus(shown(source), CameraState.RESTING if source else CameraState.NONE)
        if not source:
            self._status = CameraStatus("", CameraState.NONE, "This cart has no camera of its own.")

    @property
    def status(self) -> CameraStatus:
        """The present state of the camera."""
        return self._status

    def look(self, after: int = 0, timeout_s: float = 0.0) -> CameraFrame | None:
        """Return the latest frame with a number above ``after``; wait for one, and wake the camera if it rests."""
        if not self._source or self._stopping.is_set():
            return None
        with self._changed:
            self._looked_at = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="camera", daemon=True)
                self._thread.start()
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._newer(after) or self._stopping.is_set(), timeout_s)
            return self._newer(after)

    def close(self) -> None:
        """Close the camera. Safe to call again."""
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(CLOSE_S)

    def _newer(self, after: int) -> CameraFrame | None:
        return self._frame if self._frame is not None and self._frame.number > after else None

    def _wanted(self) -> bool:
        return time.monotonic() - self._looked_at < self._rest_after_s

    def _run(self) -> None:
        while not self._stopping.is_set():
            with self._changed:
                self._changed.wait_for(lambda: self._wanted() or self._stopping.is_set())
            if self._stopping.is_set():
                break
            if self._status.state is CameraState.RESTING:  # not when a file begins anew, nor between two attempts
                self._become(CameraState.OPENING, "The camera is being opened.")
            try:
                ended_well = self._film(self._open_capture(self._source))
            except Exception as error:  # OpenCV may raise anything; the thread must outlive it
                log.debug("the camera failed", exc_info=True)
                self._lose(f"The camera {shown(self._source)} cannot be used: {error}")
                ended_well = False
            if not ended_well:
                self._stopping.wait(self._retry_s)
        self._become(CameraState.RESTING if self._source else CameraState.NONE, "The cart is stopping.")

    def _film(self, capture: Capture) -> bool:
        """Take frames until no page looks, the source ends, or the cart stops; return False if the camera is away."""
        taken = 0
        try:
            if not capture.isOpened():
                self._lose(_why_away(self._source))
                return False
            between_s = _between_s(self._source, capture)
            while self._wanted() and not self._stopping.wait(between_s):
                there, pixels = capture.read()
                if not there:
                    break
                taken += 1
                self._show(pixels)
            else:
                self._become(CameraState.RESTING, "No page shows the camera now.")
                return True
        finally:
            capture.release()
        if taken and between_s:
            return True  # a file has ended, and begins anew
        self._lose(_why_away(self._source))
        return False

    def _show(self, pixels: Any) -> None:
        with self._changed:
            self._number += 1
            self._frame = CameraFrame(self._number, pixels)
            height, width = pixels.shape[:2]
            self._become(CameraState.LIVE, "", width, height)
            self._changed.notify_all()

    def _lose(self, sentence: str) -> None:
        self._become(CameraState.AWAY, f"{sentence} It is tried again as long as a page shows it.")

    def _become(self, state: CameraState, sentence: str, width: int = 0, height: int = 0) -> None:
        """Change the state and log the change; only a live camera keeps a frame."""
        if state is not self._status.state:
            log.info("camera %s is %s%s", shown(self._source), state.lower(), sentence and f": {sentence}")
        if state is not CameraState.LIVE:
            self._frame = None
        self._status = CameraStatus(shown(self._source), state, sentence, width, height)


def open_source(source: str) -> Capture:
    """Open a source with OpenCV; ``isOpened`` of the capture tells whether that succeeded."""
    cv = opencv()
    if source.isdecimal():
        capture = cv.VideoCapture(int(source))
        capture.set(cv.CAP_PROP_BUFFERSIZE, 1)
    elif is_stream(source):
        limits = [cv.CAP_PROP_OPEN_TIMEOUT_MSEC, PATIENCE_MS, cv.CAP_PROP_READ_TIMEOUT_MSEC, PATIENCE_MS]
        capture = cv.VideoCapture(source, cv.CAP_FFMPEG, limits)
    else:
        capture = cv.VideoCapture(source)
    opened: Capture = capture
    return opened


def is_stream(source: str) -> bool:
    """Return whether a source is the URL of a stream."""
    return "://" in source


def _between_s(source: str, capture: Capture) -> float:
    """Return the seconds between two frames of a file; 0 for devices and streams, which keep their own time."""
    if source.isdecimal() or is_stream(source):
        return 0.0
    per_s = capture.get(opencv().CAP_PROP_FPS)
    return 1 / per_s if 1 <= per_s <= 240 else 1 / FILE_FRAMES_PER_S


def _why_away(source: str) -> str:
    if source.isdecimal():
        return f"Camera {source} gives no picture; is it plugged in, and not in use by another program?"
    if is_stream(source):
        return f"The stream {shown(source)} gives no picture."
    if not Path(source).exists():
        return f"There is no file {shown(source)}."
    return f"The file {shown(source)} is not a readable video."
