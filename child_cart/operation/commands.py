"""The commands export, import, migrate and reset. The cart must not run: each needs the data folder for itself."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from cart_common.process.atomic_files import replacing
from cart_common.process.os_errors import error_words
from cart_common.process.redaction import shown
from cart_common.process.settings import SettingError
from cart_common.wire.identity import Identity

from ..config import CartSettings
from ..db import migration
from ..db.migration import Contents, RecordCounts
from ..db.ownership import EMBEDDED, FILE_NAME, OWNER, UNFINISHED, check_whose, is_store, mark_folder, open_store, place
from ..db.records import ModelVersion
from ..db.store import Store, StoreError
from ..learning.versions import Versions
from ..model.task import load_task
from ..model.weights_file import WeightsError, check_weights_file

MODELS = "models"
BACKUPS = "backups"


class Commands:
    """Commands on the data of a cart that does not run.

    Args:
        settings: where the data are.
        folder: the data folder, claimed by this process.
    """

    def __init__(self, settings: CartSettings, folder: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._owner = Identity.load_or_create(folder / "key.pem").cart_id.hex()
        self._console = Console(stderr=True)

    def export(self, target: Path) -> None:
        """Write everything into a new folder.

        Raises:
            SettingError: if the folder is not empty, or cannot be written.
            StoreError: if the store cannot be used.
        """
        from ..db.archive import columns_of, write_archive  # noqa: PLC0415

        with self._full(self._settings.store, own=False) as store, _disk(target):
            target.mkdir(parents=True, exist_ok=True, mode=0o700)
            if any(target.iterdir()):
                raise SettingError(f"The folder {target} is not empty. Give one that is, or a new name.")
            contents = migration.contents_of(store, place(self._settings.store, self._folder))
            files = self._copy_models(contents.versions, self._folder / MODELS, target / MODELS)
            with self._bars(migration.counts_of(store)) as progress:
                written = write_archive(target, contents, columns_of(store.every_row()), progress)
            found = migration.counts_of(store)
        if written != found:
            raise StoreError(f"The store holds {found}, and {written} was written to {target}.")
        self._report(f"Exported to {target}, with {files} weights files", written)

    def import_(self, source: Path) -> None:
        """Fill this cart's store, which must be empty, from an export. If that fails, nothing of it is left.

        Raises:
            SettingError, StoreError: if the archive or the store cannot be used.
        """
        from ..db.archive_reading import read_archive, read_counts  # noqa: PLC0415
        from .import_checks import import_checks  # noqa: PLC0415

        promised, task = read_counts(source), load_task(self._settings.task)

        def contents() -> Contents:
            return read_archive(source, import_checks(task))

        checked = contents()
        with self._console.status(f"Checking {source}"):  # all of it, before anything is written
            found = migration.counts_in(checked)
        if found != promised:
            raise StoreError(f"{source} says that it holds {promised}, and {found} was read. Nothing was imported.")
        with self._opened(self._settings.store) as store, _disk(self._folder):
            here = place(self._settings.store, self._folder)
            migration.check_empty(store, here)
            check_whose(store, self._settings.store, self._folder, self._owner, may_be_unfinished=True)
            with migration.filling(store, str(source)), self._copied_models(checked.versions, source) as files:
                with self._bars(promised) as progress:
                    moved = migration.fill(store, contents(), progress)
                migration.finish(store, moved, here, self._owner)
            mark_folder(self._settings.store, self._folder)
        self._report(f"Imported into {here}, with {files} weights files", moved)

    def migrate(self, source_name: str, target_name: str) -> None:
        """Move everything from one store of this cart to another, which must be empty; weights files stay.

        Raises:
            SettingError, StoreError: if one of the stores cannot be used.
        """
        here = place(target_name, self._folder)
        with self._full(source_name) as source, self._opened(target_name) as target, _disk(self._folder):
            unfinished = target.note(UNFINISHED) is not None
            if target.note(OWNER) not in (None, self._owner if unfinished else None):
                raise StoreError(f"The store {here} belongs to a cart already. Nothing was changed.")
            migration.check_empty(target, here)
            contents = migration.contents_of(source, place(source_name, self._folder))
            with migration.filling(target, contents.source):
                with self._bars(migration.counts_of(source)) as progress:
                    moved = migration.fill(target, contents, progress)
                found = migration.counts_of(source)
                if moved != found:
                    raise StoreError(f"The store {contents.source} holds {found}, and {moved} was moved.")
                migration.finish(target, moved, here, self._owner)
            mark_folder(target_name, self._folder)
        self._report(f"Moved to {here}", moved)
        self._console.print(
            f"Start the cart with --store {shown(target_name)} from now on (CART_STORE).", soft_wrap=True
        )

    def reset(self) -> None:
        """Forget the model and its rounds; sales and rows are kept, and all rows wait again."""
        with self._full(self._settings.store) as store, _disk(self._folder):
            backup = Versions(store, self._folder / MODELS).forget(self._folder / BACKUPS)
        self._console.print("The model was reset. Sales and rows are kept, and all rows wait again.")
        self._console.print(f"What was removed lies in {backup}.", soft_wrap=True)

    @contextmanager
    def _opened(self, name: str) -> Iterator[Store]:
        store = open_store(name, self._folder, self._settings.store_timeout_s)
        try:
            yield store
        finally:
            store.close()

    @contextmanager
    def _full(self, name: str, own: bool = True) -> Iterator[Store]:
        """Open a store that exists; with ``own``, it must be the one that this cart has used so far."""
        if name == EMBEDDED and not (self._folder / FILE_NAME).exists():
            raise StoreError(f"There is no store {self._folder / FILE_NAME}.")
        with self._opened(name) as store:
            if own:
                check_whose(store, name, self._folder, self._owner)
            yield store

    @contextmanager
    def _copied_models(self, versions: Sequence[ModelVersion], source: Path) -> Iterator[int]:
        """Copy the weights files of an archive for the block; if it fails, remove them again."""
        target, before = self._folder / MODELS, set((self._folder / MODELS).glob("*"))
        try:
            yield self._copy_models(versions, source / MODELS, target)
        except BaseException:
            for path in set(target.glob("*")) - before:
                path.unlink(missing_ok=True)
            raise

    def _copy_models(self, versions: Sequence[ModelVersion], source: Path, target: Path) -> int:
        """Copy the weights files that exist (old versions keep only their record); return how many."""
        target.mkdir(parents=True, exist_ok=True)
        copied = set()
        for version in versions:
            name = version.file_name
            if name in copied or not (source / name).is_file():
                continue
            try:
                check_weights_file(source / name, version.digest)
            except WeightsError as error:
                self._console.print(f"Left out: {error}")
                continue
            with replacing(target / name) as partial:
                shutil.copyfile(source / name, partial)
            copied.add(name)
        return len(copied)

    @contextmanager
    def _bars(self, expected: RecordCounts) -> Iterator[Callable[[str, int], None]]:
        columns = (TextColumn("{task.description:>10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self._console) as bars:
            tasks = {name: bars.add_task(name, total=count) for name, count in asdict(expected).items()}
            yield lambda name, count: bars.advance(tasks[name], count)

    def _report(self, title: str, counts: RecordCounts) -> None:
        self._console.print(f"{title}. Counted on both sides:", soft_wrap=True)
        table = Table()
        table.add_column("what")
        table.add_column("how many", justify="right")
        for name, count in asdict(counts).items():
            table.add_row(name, f"{count:,}")
        self._console.print(table)


def check_given(given: argparse.Namespace) -> None:
    """Check the arguments of a command against each other.

    Raises:
        SettingError: for the first that is wrong.
    """
    if not hasattr(given, "source"):
        return
    for flag, name in (("--from", given.source), ("--to", given.target)):
        if not is_store(name):
            raise SettingError(f"{flag} is {shown(name)!r}; it must be embedded or like mongodb://HOST/DATABASE.")
    if given.source == given.target:
        raise SettingError(f"--from and --to are both {shown(given.source)!r}; there is nothing to move.")


def carry_out(given: argparse.Namespace, settings: CartSettings, folder: Path) -> None:
    """Carry out one command."""
    commands = Commands(settings, folder)
    if given.command == "export":
        commands.export(given.folder)
    elif given.command == "import":
        commands.import_(given.folder)
    elif given.command == "migrate":
        commands.migrate(given.source, given.target)
    else:
        commands.reset()


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SettingError(f"{error.filename or path} cannot be written: {error_words(error)}.") from None
