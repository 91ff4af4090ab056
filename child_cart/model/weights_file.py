"""Weights in HDF5 files: written whole or not at all, read back with their digest checked."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import h5py
import numpy as np

from cart_common.process.atomic_files import sync_folder
from cart_common.process.os_errors import error_words

from .arrays import Array, Weights

GROUP: Final = "weights"


class WeightsError(Exception):
    """A weights file cannot be used."""


def write_weights(path: Path, weights: Weights) -> str:
    """Write the arrays in order, under a temporary name first; return the file's SHA-256 digest in hexadecimal.

    Raises:
        OSError: if the disk does not take it; an earlier file of this name is then untouched.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with h5py.File(partial, "w") as file:
            group = file.create_group(GROUP)
            for place, array in enumerate(weights):
                group.create_dataset(f"{place:04d}", data=array)
        with open(partial, "rb+") as written:
            digest = hashlib.file_digest(written, "sha256").hexdigest()
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync_folder(path.parent)
    return digest


def read_weights(path: Path, digest: str) -> list[Array]:
    """Read the arrays of a file that has this digest.

    Raises:
        WeightsError: if the file is missing, or is not the one that was written.
    """
    with _checked(path, digest) as file, h5py.File(file, "r") as content:
        group = content[GROUP]
        return [np.asarray(group[name]) for name in sorted(group)]


def check_weights_file(path: Path, digest: str) -> None:
    """Make sure that a file is the one that was written, without loading it.

    Raises:
        WeightsError: if the file is missing, or is not that one.
    """
    with _checked(path, digest):
        pass


@contextmanager
def _checked(path: Path, digest: str) -> Iterator[BinaryIO]:
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != digest:
                raise WeightsError(f"The weights file {path} has changed: its digest is {found}, not {digest}.")
            file.seek(0)
            yield file
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read ({error_words(error)}).") from None
