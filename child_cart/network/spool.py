"""Where incoming models are put together.

One file each, mapped into memory, so that megabytes under way cost a cart no memory of its own and reach the trainer
without another copy.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .messages import Code
from .transfer import TransferError


class Room:
    """The place of one incoming payload."""

    def __init__(self, path: Path, mapped: mmap.mmap) -> None:
        self.path = path
        self.view = memoryview(mapped)
        self.kept = False

    def keep(self) -> Path:
        """Leave the file to the caller, who removes it when it is used."""
        self.kept = True
        return self.path


class Spool:
    """A folder of incoming payloads; what an earlier process left in it is removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.iterdir():
            if left.is_file():
                left.unlink()

    @contextmanager
    def room_for(self, transfer_id: str, size_bytes: int) -> Iterator[Room]:
        """Give a writable place of this size; its file goes with the block unless ``keep`` was called.

        Raises:
            TransferError: if the disk has no room.
        """
        path = self._folder / transfer_id
        try:
            mapped = _mapped_file(path, size_bytes)
        except OSError as error:
            path.unlink(missing_ok=True)
            # Told to the peer, too: it is no business of a peer's where this cart keeps its files.
            raise TransferError(
                Code.DISK_FULL, f"There is no room for {size_bytes} bytes on this cart's disk ({error.strerror})."
            ) from None
        room = Room(path, mapped)
        try:
            yield room
        finally:
            room.view.release()
            mapped.close()
            if not room.kept:
                path.unlink(missing_ok=True)


def _mapped_file(path: Path, size_bytes: int) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        # Reserved now: a mapped file that grows into a full disk would kill the process with SIGBUS.
        os.posix_fallocate(descriptor, 0, size_bytes)
        return mmap.mmap(descriptor, size_bytes)
    finally:
        os.close(descriptor)
