"""Where models lie, on a disk and in memory: the same promises, but for damage, which memory does not know."""

from pathlib import Path

import numpy as np
import pytest
from blake3 import blake3

from child_cart.model.arrays import specs_of
from child_cart.model.codec import CodecError, encode
from child_cart.model.model_files import DiskFiles
from child_cart.model.precision import Precision, payload_of
from child_cart.model.weights_file import WeightsError
from lab.carts.memory import MemoryFiles

ROOM_BYTES = 1 << 20
MODEL = [np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32), np.array(7, np.int32)]


def same(found, expected):
    return specs_of(found) == specs_of(expected) and all(map(np.array_equal, found, expected))


@pytest.fixture(params=["disk", "memory"])
def files(request):
    return DiskFiles() if request.param == "disk" else MemoryFiles(specs_of(MODEL))


def put(files, path, payload):
    if isinstance(files, MemoryFiles):
        files.put_payload(path, payload, blake3(payload).hexdigest())
    else:
        path.write_bytes(payload)


def test_a_model_is_written_read_listed_and_removed(files, tmp_path):
    folder, path = tmp_path / "models", tmp_path / "models" / "1.h5"
    files.make_folder(folder)
    files.make_folder(folder)
    assert files.paths_in(folder) == []
    digest = files.write(path, MODEL)
    assert same(files.read(path, digest), MODEL)
    assert files.paths_in(folder) == [path]
    assert files.size_bytes(path) >= sum(array.nbytes for array in MODEL)
    files.check(path, digest)
    files.remove(path)
    files.remove(path)
    assert files.paths_in(folder) == []
    with pytest.raises(WeightsError, match=r"1\.h5"):
        files.read(path, digest)
    with pytest.raises(WeightsError, match=r"1\.h5"):
        files.check(path, digest)


def test_a_payload_is_read_as_it_was_sent(files, tmp_path):
    put(files, tmp_path / "one", encode(MODEL))
    assert same(files.payload(tmp_path / "one", ROOM_BYTES), MODEL)


@pytest.mark.parametrize("payload", [b"x", b"\x80\x05.", encode(MODEL)[:-3], encode(MODEL)[:40] + b"\0" * 99])
def test_a_payload_of_other_bytes_is_refused(files, tmp_path, payload):
    put(files, tmp_path / "bad", payload)
    with pytest.raises(CodecError):
        files.payload(tmp_path / "bad", ROOM_BYTES)


def test_a_changed_file_is_never_taken_for_whole(tmp_path):
    files, path = DiskFiles(), tmp_path / "1.h5"
    digest = files.write(path, MODEL)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        files.read(path, digest)


def test_memory_decodes_equal_payloads_once_in_the_dtypes_of_the_model():
    files = MemoryFiles(specs_of(MODEL))
    for name in ("one", "two"):
        put(files, Path(name), payload_of(MODEL, Precision.HALF))
    found = files.payload(Path("one"), ROOM_BYTES)
    assert found is files.payload(Path("two"), ROOM_BYTES)
    assert specs_of(found) == specs_of(MODEL)
    files.remove_payloads()
    with pytest.raises(KeyError):
        files.payload(Path("one"), ROOM_BYTES)
