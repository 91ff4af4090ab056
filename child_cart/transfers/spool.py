"""The files in which incoming models are put together.

Each model has one file, written as the bytes come, so that megabytes under way take none of the cart's memory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cart_common.process.os_errors import error_words
from cart_common.wire.messages import Code

from .assembly import TransferError


class SpoolFile:
    """The file of one incoming payload."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.kept = False
        self._descriptor = descriptor

    def put(self, start: int, part: bytes | memoryview) -> None:
        """Write a part at its place, ``start`` bytes from the beginning."""
        # Cheaper than a mapped file, which costs a page fault for every 4 KiB. The space is reserved already.
        if os.pwrite(self._descriptor, part, start) != len(part):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def keep(self) -> Path:
        """Leave the file to the caller, who must remove it after use."""
        self.kept = True
        return self.path


class Spool:
    """A folder of incoming payloads. It starts empty: files of an earlier process are removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            if left.is_file():
                left.unlink()

    @contextmanager
    def room_for(self, transfer_id: str, size_bytes: int) -> Iterator[SpoolFile]:
        """Give a file with this much space reserved; it is removed at the end of the block unless ``keep`` was called.

        Raises:
            TransferError: if the disk has no room.
        """
        path = self._folder / transfer_id
        try:
            descriptor = _reserved_file(path, size_bytes)
        except OSError as error:
            path.unlink(missing_ok=True)
            # The peer gets this sentence too, so it does not say where this cart keeps its files.
            raise TransferError(
                Code.DISK_FULL, f"There is no room for {size_bytes} bytes on this cart's disk ({error_words(error)})."
            ) from None
        file = SpoolFile(path, descriptor)
        try:
            yield file
        finally:
            os.close(descriptor)
            if not file.kept:
                path.unlink(missing_ok=True)


def _reserved_file(path: Path, size_bytes: int) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # Reserved now, so that a full disk is found out before the first chunk comes.
        os.posix_fallocate(descriptor, 0, size_bytes)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
