"""Memory allocation and event loop of a process that moves many large buffers."""

from __future__ import annotations

import asyncio
import ctypes
import logging

log = logging.getLogger("tuning")


def raise_malloc_thresholds() -> None:
    """Keep freed buffers in the process: glibc returns large ones to the kernel at once, which costs page faults."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 4 * 1024 * 1024)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, 32 * 1024 * 1024)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        log.debug("this system has no glibc mallopt")


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's event loop if it is installed, which takes less CPU per byte, else asyncio's own."""
    try:
        import uvloop  # noqa: PLC0415
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
