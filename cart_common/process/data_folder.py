"""The folder in which a program keeps its data: private, and locked for as long as the program runs."""

from __future__ import annotations

import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from .os_errors import error_words
from .settings import SettingError, flag_name, variable_name

log = logging.getLogger(__name__)

PRIVATE_UMASK: Final = 0o077
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@contextmanager
def claimed(folder: Path, program: str, names: Sequence[str]) -> Iterator[Path]:
    """Make the data folder private, and lock it against other programs of this kind for the length of the block.

    All that the process and its children write in the block has mode 0600 or 0700, whatever the umask was. What an
    earlier program has left open to others is narrowed.

    Args:
        folder: what ``data_dir`` names.
        program: ``cart`` or ``bridge``, for the error's words.
        names: patterns of what the program keeps there. Other files may lie there too, and are left alone.

    Raises:
        SettingError: if it cannot be made, or another one uses it.
    """
    before = os.umask(PRIVATE_UMASK)
    try:
        with _locked(folder, program):
            _narrow(folder, names)
            yield folder
    finally:
        os.umask(before)


@contextmanager
def _locked(folder: Path, program: str) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
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
        yield


def _narrow(folder: Path, names: Sequence[str]) -> None:
    """Take the rights of others from the folder and from what the program has written there."""
    open_still = [path for path in _kept(folder, names) if not _made_private(path)]
    if open_still:
        log.warning(
            "other users may use %s: only the owner can make it private (mode 0700 for folders, 0600 for files)",
            ", ".join(map(str, open_still[:5])) + (" and more" if len(open_still) > 5 else ""),
        )


def _kept(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Yield the folder and what the program keeps there, folders before what is in them.

    The folder may be a link, as may what it holds by name: then it is their targets that count. Links further below are
    passed over: the program makes none.
    """
    for top in (folder, *(path for name in names for path in folder.glob(name))):
        target = _target_of(top)
        if target.is_symlink():
            continue
        if not (target.is_dir() and target.stat().st_mode & stat.S_ISVTX):  # shared by all users on purpose, as /tmp
            yield target
        if top != folder and target.is_dir():
            yield from (Path(place, name) for place, folders, files in os.walk(target) for name in (*folders, *files))


def _target_of(path: Path) -> Path:
    """Return what a link leads to; the link itself if another user may have put it there, or if it leads nowhere."""
    if path.is_symlink() and path.lstat().st_uid not in (0, os.geteuid()):
        return path
    return Path(os.path.realpath(path))


def _made_private(path: Path) -> bool:
    """Take the rights of others from a file or folder; return False if only its owner may do that."""
    try:
        mode = path.lstat().st_mode
        if mode & OTHERS and (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
            path.chmod(stat.S_IMODE(mode) & (stat.S_IRWXU if stat.S_ISDIR(mode) else stat.S_IRUSR | stat.S_IWUSR))
    except FileNotFoundError:
        return True  # a worker of an earlier process has removed it meanwhile
    except OSError:
        return False
    return True
