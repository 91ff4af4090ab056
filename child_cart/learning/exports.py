"""The current model as a file to download. The trainer process converts it; pages only request and fetch files."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from cart_common.process.json_values import Json
from cart_common.process.tasks import in_thread

from ..model.trainer import Trainer, TrainerError
from .versions import Versions

log = logging.getLogger("cart.exports")


class ExportKind(StrEnum):
    """A file format; its value is also the end of the file's name."""

    HDF5 = "h5"
    KERAS = "keras"
    TFLITE = "tflite"


class ExportState(StrEnum):
    """How far an export is."""

    NONE = "NONE"
    WORKING = "WORKING"
    READY = "READY"
    FAILED = "FAILED"


@dataclass(frozen=True)
class Export:
    """The newest file of one format, or why it is missing."""

    state: ExportState = ExportState.NONE
    version: int | None = None
    source: str = ""
    """The weights file that it was made from: after a reset, version numbers start again."""
    size_bytes: int | None = None
    sentence: str = ""
    path: Path | None = None


class Exports:
    """The files of all formats, one each.

    Args:
        folder: where the files are; those of an earlier process are removed.
        versions: the newest one is exported.
        trainer: converts it.
    """

    def __init__(self, folder: Path, versions: Versions, trainer: Trainer) -> None:
        self._folder = folder
        self._versions = versions
        self._trainer = trainer
        self._exports: dict[ExportKind, Export] = dict.fromkeys(ExportKind, Export())
        self._tasks: dict[ExportKind, asyncio.Task[None]] = {}
        shutil.rmtree(folder, ignore_errors=True)

    def shown(self) -> Json:
        """Return all exports for the page, by format. Safe from any thread."""
        return {
            kind: {name: value for name, value in asdict(export).items() if name not in ("path", "source")}
            for kind, export in self._exports.copy().items()
        }

    def file(self, kind: ExportKind) -> tuple[Path, int] | None:
        """Return a file that is ready, and its version. Safe from any thread."""
        export = self._exports[kind]
        return (export.path, export.version or 0) if export.path is not None else None

    def ask(self, kind: ExportKind) -> None:
        """Make the file of the newest version, unless it exists or is being made. Call this in the loop."""
        export, newest = self._exports[kind], self._versions.current
        if newest is None or newest.number == 0:
            self._exports[kind] = Export(ExportState.FAILED, sentence="There is no trained model yet.")
            return
        is_there = export.state is ExportState.READY and export.source == newest.file_name
        if export.state is ExportState.WORKING or is_there:
            return
        self._exports[kind] = Export(ExportState.WORKING, newest.number, newest.file_name)
        self._tasks[kind] = asyncio.create_task(self._make(kind, export.path), name=f"export {kind}")

    async def close(self) -> None:
        """Cancel the conversions under way."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _make(self, kind: ExportKind, old: Path | None) -> None:
        stored, version = self._versions.stored(), self._versions.newest.number
        target = self._folder / f"{version:06d}-{os.urandom(4).hex()}.{kind}"
        try:
            await in_thread(lambda: self._folder.mkdir(parents=True, exist_ok=True))
            if kind is ExportKind.HDF5:
                await in_thread(shutil.copyfile, stored.path, target)
            else:
                await self._trainer.export(stored, kind, target)
            size = (await in_thread(target.stat)).st_size
            self._exports[kind] = Export(ExportState.READY, version, stored.path.name, size, path=target)
        except (TrainerError, OSError) as error:
            log.warning("version %d cannot be exported as %s: %s", version, kind, error)
            self._exports[kind] = Export(ExportState.FAILED, version, sentence=f"It was not converted. {error}")
            await in_thread(_remove, target)
        finally:
            if old is not None:
                await in_thread(_remove, old)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink(missing_ok=True)
