"""Disk use of the data folder, and free space on its disk."""

from __future__ import annotations

import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LOOK_EVERY_S: Final = 5.0


@dataclass(frozen=True)
class DiskUse:
    """Sizes in bytes."""

    database_bytes: int
    models_bytes: int
    model_files: int
    backup_bytes: int
    other_bytes: int
    free_bytes: int
    total_bytes: int


class Disk:
    """Measures the data folder, at most every few seconds. Safe from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._looking = threading.Lock()
        self._seen: tuple[float, DiskUse] | None = None

    def use(self) -> DiskUse:
        """Return used and free space."""
        with self._looking:
            if self._seen is None or time.monotonic() - self._seen[0] > LOOK_EVERY_S:
                self._seen = (time.monotonic(), self._look())
            return self._seen[1]

    def _look(self) -> DiskUse:
        sizes = {"database": 0, "models": 0, "backups": 0, "other": 0}
        model_files = 0
        for path, size in _files(self._folder):
            top = path.relative_to(self._folder).parts[0]
            kind = "database" if top.startswith("cart.db") else top if top in sizes else "other"
            sizes[kind] += size
            model_files += kind == "models"
        disk = shutil.disk_usage(self._folder)
        return DiskUse(
            sizes["database"], sizes["models"], model_files, sizes["backups"], sizes["other"], disk.free, disk.total
        )


def _files(folder: Path) -> list[tuple[Path, int]]:
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            try:
                found.append((path, path.lstat().st_size))
            except OSError:
                continue  # removed meanwhile
    return found
