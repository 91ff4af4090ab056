"""Weights files come back as they were written, or not at all."""

import hashlib
import tempfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from child_cart.model.weights_file import (
    WeightsError,
    _system_error,
    check_weights_file,
    read_weights,
    write_weights,
)

WEIGHTS = [np.arange(6, dtype=np.float32).reshape(2, 3), np.array(3.5), np.zeros((0, 2), np.float32), np.arange(12)]


def test_round_trip(tmp_path):
    path = tmp_path / "m.h5"
    digest = write_weights(path, WEIGHTS)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    read = read_weights(path, digest)
    for before, after in zip(WEIGHTS, read, strict=True):
        assert before.dtype == after.dtype
        assert before.shape == after.shape
        assert (before == after).all()
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.h5"]


def test_more_arrays_than_one_digit_keep_their_order(tmp_path):
    many = [np.array([number]) for number in range(120)]
    digest = write_weights(tmp_path / "m.h5", many)
    assert [int(array[0]) for array in read_weights(tmp_path / "m.h5", digest)] == list(range(120))


def test_a_changed_file_is_named(tmp_path):
    path = tmp_path / "m.h5"
    digest = write_weights(path, WEIGHTS)
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match=r"m\.h5 has changed"):
        read_weights(path, digest)
    path.write_bytes(damaged[:100])
    with pytest.raises(WeightsError, match="has changed"):
        read_weights(path, digest)
    path.unlink()
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(path, digest)


def test_a_file_that_is_no_hdf5_is_named_even_with_the_right_digest(tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(b"no hdf5")
    with pytest.raises(WeightsError, match="cannot be used: it is damaged, or not a file of this program"):
        read_weights(path, hashlib.sha256(b"no hdf5").hexdigest())


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "m.h5"
    digest = write_weights(path, WEIGHTS)
    with pytest.raises(TypeError):
        write_weights(path, [np.array([object()])])
    assert len(read_weights(path, digest)) == len(WEIGHTS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.h5"]


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def filled(file):
    file.create_dataset("weights/0000", (150_000_000,), "f4", chunks=(1_000_000,))


def compressed(file):
    file.create_dataset("weights/0000", data=np.zeros(1_000_000, "f4"), compression="gzip")


def unwritten(file):
    file.create_dataset("weights/0000", (150_000_000,), "f4")


def shared(file):
    file.create_dataset("weights/0000", data=np.zeros(10_000, "f4"))
    for place in range(1, 1000):
        file[f"weights/{place:04d}"] = file["weights/0000"]


def elsewhere(file):
    file.create_dataset("weights/0000", (4,), "f4", external=[("other.bin", 0, 16)])


def linked(file):
    file.create_group("weights")
    file["weights/0000"] = h5py.ExternalLink("other.h5", "/x")


def linked_group(file):
    file["weights"] = h5py.ExternalLink("other.h5", "/x")


def virtual(file):
    layout = h5py.VirtualLayout((150_000_000,), "f4")
    layout[:4] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_group("weights").create_virtual_dataset("0000", layout)


def texts(file):
    file.create_dataset("weights/0000", data=["a", "b"], dtype=h5py.string_dtype())


def empty(file):
    file.create_dataset("weights/0000", data=h5py.Empty("f4"))


def named(file):
    file.create_dataset("weights/x", data=np.zeros(3))


def no_group(file):
    file.create_dataset("weights", data=np.zeros(3))


@pytest.mark.parametrize(
    "make",
    [
        *(filled, compressed, unwritten, shared, elsewhere, linked, linked_group, virtual, texts, empty, named),
        no_group,
    ],
)
@pytest.mark.parametrize("used", [read_weights, check_weights_file])
def test_a_file_whose_arrays_are_not_plainly_in_it_is_refused_before_they_take_memory(tmp_path, make, used):
    path = tmp_path / "m.h5"
    with h5py.File(path, "w") as file:
        make(file)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=r"m\.h5 cannot be used: "):
            used(path, digest_of(path))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000  # NumPy tells what it takes
    finally:
        tracemalloc.stop()


@given(place=st.integers(0, 4000), value=st.integers(0, 255))
@settings(max_examples=200)
def test_a_file_with_a_wrong_byte_is_read_or_refused(place, value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.h5"
        write_weights(path, [np.arange(6, dtype="f4").reshape(2, 3), np.float32(1)])
        content = bytearray(path.read_bytes())
        content[place % len(content)] = value
        path.write_bytes(content)
        with suppress(WeightsError):
            assert sum(array.nbytes for array in read_weights(path, digest_of(path))) <= len(content)


def test_a_full_disk_is_said_in_words_of_the_system(tmp_path):
    error = OSError("Can't write data (file write failed: time = Sat, errno = 28, error message = …)")
    found = _system_error(error, tmp_path / "m.h5")
    assert (found.errno, found.strerror, found.filename) == (28, "No space left on device", str(tmp_path / "m.h5"))
