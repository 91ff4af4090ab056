"""A file that is replaced is the old one or the new one, never a part of it, and it is private by default."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from cart_common.process.atomic_files import PUBLIC, replacing, write_whole


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_is_written_replaced_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    for content in (b"first", b"second, and longer", b""):
        write_whole(path, content)
        assert path.read_bytes() == content
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert names(tmp_path) == ["key.pem"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_a_public_file_has_the_mode_that_the_umask_leaves(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "curve.csv", b"round", PUBLIC)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "curve.csv").stat().st_mode) == 0o666 & ~umask


def test_the_earlier_file_holds_until_the_block_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(b"old")
    with replacing(path) as partial:
        partial.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_a_block_that_fails_changes_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(b"old")

    def write_half() -> None:
        with replacing(path) as partial:
            partial.write_bytes(b"half of the n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["weights.h5"]


def test_what_a_killed_process_left_is_not_taken_over(tmp_path: Path) -> None:
    left = tmp_path / "key.pem.partial"
    left.write_bytes(b"half a key, and more of it than the new one has")
    left.chmod(0o666)
    write_whole(tmp_path / "key.pem", b"whole")
    assert (tmp_path / "key.pem").read_bytes() == b"whole"
    assert stat.S_IMODE((tmp_path / "key.pem").stat().st_mode) == 0o600
    assert names(tmp_path) == ["key.pem"]


def test_files_that_differ_in_their_ending_alone_do_not_meet(tmp_path: Path) -> None:
    with replacing(tmp_path / "fleet.key") as one, replacing(tmp_path / "fleet.pem") as other:
        one.write_bytes(b"key")
        other.write_bytes(b"pem")
    assert (tmp_path / "fleet.key").read_bytes() == b"key"
    assert (tmp_path / "fleet.pem").read_bytes() == b"pem"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "key.pem", b"key")
