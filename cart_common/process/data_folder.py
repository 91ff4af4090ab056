"""The folder in which a program keeps its data, locked for as long as it runs."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .os_errors import error_words
from .settings import SettingError, flag_name, variable_name


@contextmanager
def claimed(folder: Path, program: str) -> Iterator[Path]:
    """Make the data folder, and lock it against other programs of this kind for the length of the block.

    Args:
        folder: what ``data_dir`` names.
        program: ``cart`` or ``bridge``, for the error's words.

    Raises:
        SettingError: if it cannot be made, or another one uses it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = open(folder / "lock", "w")  # noqa: SIM115 - held for the length of the block
    except OSError as error:
        raise SettingError(f"The data folder {folder} cannot be used: {error_words(error)}.") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(
                f"A {program} is running on the data folder {folder}. Stop it first, or name another folder with "
                f"{flag_name('data_dir')} ({variable_name(program.upper(), 'data_dir')})."
            ) from None
        yield folder
