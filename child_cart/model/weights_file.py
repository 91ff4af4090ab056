"""Weights in HDF5 files: written whole or not at all, and read only if their digest is the expected one."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import h5py
import numpy as np

from cart_common.process.atomic_files import replacing
from cart_common.process.os_errors import error_words

from .arrays import Array, StoredArray, TensorSpec, Weights

GROUP: Final = "weights"
PERSONAL_LAYER: Final = "personal_layer"
"""The attribute of an array that is never sent: the name of its layer."""
MAX_ARRAYS: Final = 10_000
NOTHING: Final[Mapping[int, str]] = {}
_NAME: Final = re.compile(r"[0-9]{4,6}")
_SYSTEM_ERROR: Final = re.compile(r"errno = ([0-9]+)")


class WeightsError(Exception):
    """A weights file cannot be used."""


def write_weights(path: Path, weights: Weights, personal: Mapping[int, str] = NOTHING) -> str:
    """Write the arrays in order; return the file's SHA-256 digest in hexadecimal. Durable when it returns.

    Args:
        path: of the file.
        weights: the arrays.
        personal: the places of those that are never sent, with the name of the layer of each.

    Raises:
        OSError: if the disk does not take it; an earlier file of this name then stays as it was.
    """
    with replacing(path) as partial:
        try:
            with h5py.File(partial, "w") as file:
                group = file.create_group(GROUP)
                for place, array in enumerate(weights):
                    dataset = group.create_dataset(f"{place:04d}", data=array)
                    if place in personal:
                        dataset.attrs[PERSONAL_LAYER] = personal[place]
        except (OSError, RuntimeError) as error:  # the latter when a full disk is noticed only at the file's end
            raise _system_error(error, path) from None
        with open(partial, "rb") as written:
            return hashlib.file_digest(written, "sha256").hexdigest()


def read_weights(path: Path, digest: str) -> list[Array]:
    """Read the arrays of a file, in the order in which they were written.

    Raises:
        WeightsError: if the file cannot be read, has another digest, or holds anything but plain arrays.
    """
    with _opened(path, digest) as datasets:
        return [np.asarray(dataset) for dataset in datasets]


def stored_arrays(path: Path) -> list[StoredArray]:
    """Return what a weights file holds, in order, without reading it or its digest.

    Raises:
        OSError: if it is no weights file.
    """
    try:
        with h5py.File(path, "r") as content:
            datasets = [content[GROUP][name] for name in sorted(content[GROUP])]
            return [
                StoredArray(TensorSpec(one.dtype.str, one.shape), str(one.attrs.get(PERSONAL_LAYER, "")))
                for one in datasets
            ]
    except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise OSError(f"{path} is no weights file: {error}") from None


def check_weights_file(path: Path, digest: str) -> None:
    """Check the digest of a file, and that it holds plain arrays, without loading them.

    Raises:
        WeightsError: if the file cannot be read, has another digest, or holds anything but plain arrays.
    """
    with _opened(path, digest):
        pass


@contextmanager
def _opened(path: Path, digest: str) -> Iterator[list[h5py.Dataset]]:
    """Open a file, and give its arrays in their order; each takes as many bytes in memory as in the file."""
    with _checked(path, digest) as file:
        try:
            with h5py.File(file, "r") as content:
                yield _plain_datasets(content, os.fstat(file.fileno()).st_size)
        except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
            why = str(error) if isinstance(error, _NotPlain) else "it is damaged, or not a file of this program"
            raise WeightsError(f"The weights file {path} cannot be used: {why}.") from None


class _NotPlain(ValueError):
    pass


def _plain_datasets(content: h5py.File, file_bytes: int) -> list[h5py.Dataset]:
    """Return the datasets of the weights, if reading them takes no more memory than the file has bytes.

    HDF5 also knows arrays that are compressed, made of one fill value, shared, or kept in other files. None of those is
    written here.
    """
    group = content[GROUP] if isinstance(content.get(GROUP, getlink=True), h5py.HardLink) else None
    if not isinstance(group, h5py.Group) or len(group) > MAX_ARRAYS:
        raise _NotPlain(f"it has no group {GROUP!r} with at most {MAX_ARRAYS} arrays")
    total, datasets = 0, []
    for name in sorted(group):
        dataset = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
        if not _NAME.fullmatch(name) or not isinstance(dataset, h5py.Dataset) or not _is_plain(dataset):
            raise _NotPlain(f"{name[:40]!r} in it is not an array of numbers as this program writes them")
        total += dataset.nbytes
        if total > file_bytes:
            raise _NotPlain(f"its arrays would take more than the {file_bytes} bytes that it has")
        datasets.append(dataset)
    return datasets


def _is_plain(dataset: h5py.Dataset) -> bool:
    if dataset.shape is None or dataset.dtype.kind not in "biufV" or dataset.dtype.hasobject:
        return False
    if dataset.chunks is not None or dataset.external is not None or dataset.is_virtual:
        return False
    return bool(dataset.id.get_storage_size() == dataset.nbytes)


def _system_error(error: OSError | RuntimeError, path: Path) -> OSError:
    """Return what the system said, without the words of HDF5 around it."""
    found = _SYSTEM_ERROR.search(str(error))
    number = int(found[1]) if found else getattr(error, "errno", None)
    return OSError(number, os.strerror(number), str(path)) if number else OSError(f"{path} cannot be written")


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
