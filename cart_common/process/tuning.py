"""Memory allocation, event loop and open files of a process that moves large buffers over many connections."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import resource

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


def raise_open_file_limit() -> int:
    """Let this process open as many files and sockets as the system allows; return how many these are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
