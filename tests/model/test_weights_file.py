"""Weights files come back as they were written, or not at all."""

import hashlib

import numpy as np
import pytest

from child_cart.model.weights_file import WeightsError, read_weights, write_weights

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
    with pytest.raises(WeightsError, match="cannot be read"):
        read_weights(path, hashlib.sha256(b"no hdf5").hexdigest())


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    path = tmp_path / "m.h5"
    digest = write_weights(path, WEIGHTS)
    with pytest.raises(TypeError):
        write_weights(path, [np.array([object()])])
    assert len(read_weights(path, digest)) == len(WEIGHTS)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.h5"]
