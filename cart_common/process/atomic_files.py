"""Files that are there whole or not at all, whenever the process or the machine stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

PRIVATE: Final = 0o600
PUBLIC: Final = 0o666


@contextmanager
def replacing(path: Path, mode: int = PRIVATE) -> Iterator[Path]:
    """Yield an empty file to write to; at the end of the block, put it durably in the place of ``path``.

    If the block fails, an earlier file is untouched and nothing else is left.

    Args:
        path: the file to make or to replace. What is written beside it meanwhile has its name and ``.partial``.
        mode: of the file, less what the umask takes away.

    Raises:
        OSError: if the disk does not take it.
    """
    partial = path.with_name(f"{path.name}.partial")
    for left in (partial, path.with_suffix(".partial")):  # of a killed process; the second by version 0.1.0
        left.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        yield partial
        os.fsync(descriptor)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)
    sync_folder(path.parent)


def write_whole(path: Path, content: bytes, mode: int = PRIVATE) -> None:
    """Write a file of this mode, in place of an earlier one; durable when it returns.

    Raises:
        OSError: if the disk does not take it; an earlier file is then untouched.
    """
    with replacing(path, mode) as partial:
        partial.write_bytes(content)


def sync_file(path: Path) -> None:
    """Make a file's content durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Make a rename durable: the new name is part of the folder's content."""
    sync_file(folder)
