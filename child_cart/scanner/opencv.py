"""OpenCV, imported when it is first used: it takes a quarter of a second and tens of megabytes."""

from __future__ import annotations

import os
from functools import cache
from typing import Any


@cache
def opencv() -> Any:
    """Return the module ``cv2``, quiet, and limited to one core: the others are for the trainer.

    Raises:
        ImportError: where it is not installed or cannot be loaded.
    """
    # Read once, at the import. The page tells when a camera is away; the console must not at each attempt.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    os.environ.setdefault("OPENCV_VIDEOIO_DEBUG", "0")
    import cv2

    cv2.setNumThreads(1)
    return cv2
