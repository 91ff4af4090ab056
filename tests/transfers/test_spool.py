"""Nothing stays in the spool that was not kept, and a full disk is a named refusal."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from cart_common.wire.messages import Code
from child_cart.transfers.assembly import TransferError
from child_cart.transfers.spool import Spool


def test_what_is_kept_is_there_and_the_rest_goes(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    with spool.room_for("kept", 5) as room:
        room.put(2, b"llo")
        room.put(0, b"he")
        path = room.keep()
    with spool.room_for("dropped", 5) as room:
        room.put(0, b"hello")
    assert path.read_bytes() == b"hello"
    assert [entry.name for entry in (tmp_path / "spool").iterdir()] == ["kept"]


def test_a_failure_in_the_block_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(RuntimeError), spool.room_for("t", 5):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_what_an_earlier_process_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"left")
    Spool(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_file_has_its_whole_size_at_once_and_is_private(tmp_path: Path) -> None:
    with Spool(tmp_path).room_for("t", 100_000) as room:
        status = room.path.stat()
        assert status.st_size == 100_000
        assert status.st_blocks * 512 >= 100_000
        assert status.st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("module", "call"), [(os, "posix_fallocate"), (os, "open")])
def test_a_full_disk_is_named_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: object, call: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    spool = Spool(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, call, refuse)
        with pytest.raises(TransferError, match="no room for 77 bytes") as caught, spool.room_for("t", 77):
            pass
    assert caught.value.code is Code.DISK_FULL
    assert str(tmp_path) not in caught.value.sentence  # it is told to the peer
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_no_disk_has_is_named(tmp_path: Path) -> None:
    with pytest.raises(TransferError) as caught, Spool(tmp_path).room_for("t", 2**53 - 1):
        pass
    assert caught.value.code is Code.DISK_FULL
