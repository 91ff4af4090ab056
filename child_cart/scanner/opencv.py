"""OpenCV, imported when it is first used: it takes a quarter of a second and tens of megabytes."""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def opencv() -> Any:
    """Return the module ``cv2``, told to be quiet and to leave the other cores to the trainer.

    Raises:
        ImportError: where it is not installed or cannot be loaded.
    """
    # Read once, at the import. A camera that is away is told on the page, not on the console at each try.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_VIDEOIO_DEBUG", "0")
    import cv2

    cv2.setNumThreads(1)
    return cv2
