"""Weights in HDF5 files: written whole or not at all, and read only if their digest is the expected one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import h5py
import numpy as np

from cart_common.process.atomic_files import replacing
from cart_common.process.os_errors import error_words

from .arrays import Array, Weights

GROUP: Final = "weights"


class WeightsError(Exception):
    """A weights file cannot be used."""


def write_weights(path: Path, weights: Weights) -> str:
    """Write the arrays in order; return the file's SHA-256 digest in hexadecimal. Durable when it returns.

    Raises:
        OSError: if the disk does not take it; an earlier file of this name then stays as it was.
    """
    with replacing(path) as partial:
        with h5py.File(partial, "w") as file:
            group = file.create_group(GROUP)
            for place, array in enumerate(weights):
                group.create_dataset(f"{place:04d}", data=array)
        with open(partial, "rb") as written:
            return hashlib.file_digest(written, "sha256").hexdigest()


def read_weights(path: Path, digest: str) -> list[Array]:
    """Read the arrays of a file, in the order in which they were written.

    Raises:
        WeightsError: if the file cannot be read, or has another digest.
    """
    with _checked(path, digest) as file, h5py.File(file, "r") as content:
        group = content[GROUP]
        return [np.asarray(group[name]) for name in sorted(group)]


def check_weights_file(path: Path, digest: str) -> None:
    """Check the digest of a file without loading its arrays.

    Raises:
        WeightsError: if the file cannot be read, or has another digest.
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
