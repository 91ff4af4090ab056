"""Where models lie: the weights files of a cart, and the payloads that peers have sent."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from . import codec
from .arrays import Array, StoredArray, Weights
from .weights_file import NOTHING, check_weights_file, read_weights, stored_arrays, write_weights


class ModelFiles(Protocol):
    """Reads and writes models by path. What is on a disk may be damaged, and is then never taken for whole."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder for weights files, if it is not there."""

    def paths_in(self, folder: Path) -> list[Path]:
        """Return the files of a folder."""

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""

    def size_bytes(self, path: Path) -> int:
        """Return the size of a weights file; raises ``OSError`` if it is not there."""

    def arrays(self, path: Path) -> list[StoredArray]:
        """Return what a weights file holds, in order; raises ``OSError`` if it is none."""

    def write(self, path: Path, weights: Weights, personal: Mapping[int, str] = NOTHING) -> str:
        """Write a weights file, whole or not at all; return its digest. Arrays of personal places are never sent."""

    def read(self, path: Path, digest: str) -> list[Array]:
        """Return the arrays of a weights file; raises ``WeightsError`` if it is not the one of this digest."""

    def check(self, path: Path, digest: str) -> None:
        """Raise ``WeightsError`` if this is not a whole weights file of this digest."""

    def payload(self, path: Path, most_bytes: int) -> list[Array]:
        """Return the arrays of a received payload; raises ``CodecError`` if its bytes are none, or take more memory."""


class DiskFiles:
    """Files on a disk. A payload is mapped: arrays that are not quantised are views, with the last of which it ends."""

    def make_folder(self, folder: Path) -> None:
        """Make a folder for weights files, if it is not there."""
        folder.mkdir(parents=True, exist_ok=True)

    def paths_in(self, folder: Path) -> list[Path]:
        """Return the files of a folder."""
        return list(folder.iterdir())

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        path.unlink(missing_ok=True)

    def size_bytes(self, path: Path) -> int:
        """Return the size of a weights file; raises ``OSError`` if it is not there."""
        return path.stat().st_size

    def arrays(self, path: Path) -> list[StoredArray]:
        """Return what a weights file holds, in order; raises ``OSError`` if it is none."""
        return stored_arrays(path)

    def write(self, path: Path, weights: Weights, personal: Mapping[int, str] = NOTHING) -> str:
        """Write a weights file, whole or not at all; return its digest. Arrays of personal places are never sent."""
        return write_weights(path, weights, personal)

    def read(self, path: Path, digest: str) -> list[Array]:
        """Return the arrays of a weights file; raises ``WeightsError`` if it is not the one of this digest."""
        return read_weights(path, digest)

    def check(self, path: Path, digest: str) -> None:
        """Raise ``WeightsError`` if this is not a whole weights file of this digest."""
        check_weights_file(path, digest)

    def payload(self, path: Path, most_bytes: int) -> list[Array]:
        """Return the arrays of a received payload; raises ``CodecError`` if its bytes are none, or take more memory."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            mapped = mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(descriptor)
        return codec.decode(memoryview(mapped), most_bytes)


DISK: Final = DiskFiles()
