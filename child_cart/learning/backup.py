"""Back up what a reset removes: versions and rounds as JSON, and the weights files, in a new folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Final

from cart_common.process.atomic_files import sync_file, sync_folder, write_whole

from ..db.records import ModelVersion, RoundRecord

BACKUPS_KEPT: Final = 5


def back_up(
    folder: Path, models: Path, versions: Sequence[ModelVersion], rounds: Sequence[RoundRecord], now: float
) -> Path:
    """Back up versions, rounds and the weights files that exist, and remove the oldest backups; return the folder.

    Args:
        folder: holds all backups.
        models: holds the weights files.
        versions: all versions.
        rounds: all rounds.
        now: seconds since the epoch.
    """
    name = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    target, number = folder / name, 1
    while target.exists():
        number += 1
        target = folder / f"{name}-{number}"
    partial = folder / "partial"
    shutil.rmtree(partial, ignore_errors=True)
    (partial / "models").mkdir(parents=True, mode=0o700)
    write_whole(partial / "versions.json", json.dumps([asdict(version) for version in versions], indent=1).encode())
    write_whole(partial / "rounds.json", json.dumps([asdict(record) for record in rounds], indent=1).encode())
    for version in versions:
        with suppress(FileNotFoundError):  # old versions have only a record left
            _keep(models / version.file_name, partial / "models" / version.file_name)
    sync_folder(partial / "models")
    partial.rename(target)
    sync_folder(folder)  # the caller removes the originals next
    for old in sorted(path for path in folder.iterdir() if path.is_dir())[:-BACKUPS_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def _keep(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # a link needs no space, and a reset is often made because the disk is full
    except FileNotFoundError:
        raise
    except OSError:
        shutil.copyfile(source, target)
        sync_file(target)
