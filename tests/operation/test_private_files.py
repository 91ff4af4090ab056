"""Nobody but its own user reads what a cart or a bridge has written, whatever the umask and whatever was there."""

from __future__ import annotations

import fnmatch
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.processes.programs import (
    LIGHT_TASK,
    ROOT,
    BridgeProcess,
    CartProcess,
    RestartableProcess,
    running,
    wait_for,
)

from child_cart.main import DATA_NAMES
from parent_cart.main import DATA_NAMES as BRIDGE_DATA_NAMES


def with_umask(program: RestartableProcess, umask: int) -> None:
    """Let a program start with this umask."""
    script = f"import os, sys; os.umask({umask:#o}); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    program._arguments[1:1] = ["-c", script]


def modes(folder: Path) -> dict[str, str]:
    """Return the mode of each file and folder, by its path; the folder itself is ``.``."""
    return {str(path.relative_to(folder)): oct(stat.S_IMODE(path.lstat().st_mode)) for path in (folder, *below(folder))}


def below(folder: Path) -> Iterator[Path]:
    yield from (Path(place, name) for place, folders, files in os.walk(folder) for name in (*folders, *files))


def private_modes(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): "0o700" if path.is_dir() else "0o600" for path in (folder, *below(folder))}


def unknown(folder: Path, names: tuple[str, ...]) -> list[str]:
    return [path.name for path in folder.iterdir() if not any(fnmatch.fnmatch(path.name, name) for name in names)]


@pytest.fixture
def learned(tmp_path: Path) -> CartProcess:
    """A cart that was started with umask 0, and has sold, learned, exported and been reset."""
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", "--join-wait-s", "0.1", "--cluster-wait-s", "0")
    cart.data.rmdir()
    with_umask(cart, 0)
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING", what="the cart serving")
        cart.post("/api/rows", {"batch_id": "b", "rows": [{"degrees": n, "third": n // 120} for n in range(0, 360, 2)]})
        wait_for(lambda: cart.status()["rounds_ended"] >= 1 and cart.status()["stage"] == "SERVING", what="a round")
        cart.post("/api/exports", {"kind": "keras"})
        wait_for(lambda: cart.status()["exports"]["keras"]["state"] == "READY", what="the export")
        cart.post("/api/reset", {"confirm": "reset"})
        wait_for(lambda: any((cart.data / "backups").glob("2*/models/*.h5")), what="the backup of the reset")
        wait_for(lambda: cart.status()["stage"] == "SERVING", what="the cart serving again")
        assert modes(cart.data) == private_modes(cart.data)
        assert cart.stop() == 0
    return cart


def test_a_cart_writes_for_its_own_user_alone_and_narrows_what_others_could_read(learned, tmp_path: Path) -> None:
    data = learned.data
    assert modes(data) == private_modes(data)
    assert unknown(data, DATA_NAMES) == []
    other = data / "rows-of-mine.csv"
    other.write_text("left alone")
    for path in (data, *below(data)):
        path.chmod(0o777 if path.is_dir() else 0o664)
    outside = tmp_path / "outside"
    outside.write_text("not the cart's")
    outside.chmod(0o644)
    # Not in models/: a cart that starts removes what it does not know there, at any moment.
    (data / "backups/link").symlink_to(outside)
    with running(learned):
        wait_for(lambda: learned.status().get("stage") == "SERVING", what="the cart serving")
        learned.stop()
    assert modes(data) == private_modes(data) | {"rows-of-mine.csv": "0o664", "backups/link": "0o777"}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o644


def test_an_export_is_for_its_own_user_alone(learned, tmp_path: Path) -> None:
    target = tmp_path / "deep/backup"
    script = f"import os, sys; os.umask(0); sys.path.insert(0, {str(ROOT)!r}); from child_cart.main import main; "
    given = ["export", str(target), "--data-dir", str(learned.data), "--task", LIGHT_TASK]
    command = [sys.executable, "-c", f"{script}sys.exit(main({given!r}))"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    assert any((target / "models").iterdir())
    assert modes(target) == private_modes(target)


def test_a_bridge_writes_for_its_own_user_alone(tmp_path: Path) -> None:
    data = tmp_path / "bridge"
    bridge = BridgeProcess(tmp_path, "--data-dir", str(data), "--dht-port", "0", "--host", "127.0.0.1")
    with_umask(bridge, 0)
    for _ in range(2):
        with running(bridge):
            wait_for(bridge.answers, what="the bridge answering")
            assert bridge.stop() == 0
        assert modes(data) == private_modes(data)
        assert unknown(data, BRIDGE_DATA_NAMES) == []
        for path in (data, *below(data)):
            path.chmod(0o777)


def test_what_stands_behind_links_is_narrowed(tmp_path: Path) -> None:
    from cart_common.process.data_folder import claimed

    real, disk, outside = (tmp_path / name for name in ("real", "disk", "outside"))
    for folder in (real, disk / "deep", outside):
        folder.mkdir(parents=True)
    for file in (disk / "deep/1.h5", tmp_path / "key", outside / "file"):
        file.write_text("")
    (tmp_path / "data").symlink_to(real)
    (real / "models").symlink_to(disk)
    (real / "key.pem").symlink_to(tmp_path / "key")
    (real / "exports").symlink_to(real / "exports")  # leads nowhere
    (real / "backups").symlink_to(tmp_path / "gone")
    (disk / "link").symlink_to(outside)
    for path in (real, disk, disk / "deep", disk / "deep/1.h5", tmp_path / "key", outside, outside / "file"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with claimed(tmp_path / "data", "cart", DATA_NAMES):
        pass
    assert modes(disk) == private_modes(disk) | {"link": "0o777"}
    assert {oct(stat.S_IMODE(path.stat().st_mode)) for path in (real, disk)} == {"0o700"}
    assert oct(stat.S_IMODE((tmp_path / "key").stat().st_mode)) == "0o600"
    assert modes(outside) == {".": "0o755", "file": "0o644"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes links of other users")
def test_a_link_that_another_user_has_put_there_leads_to_nothing_of_ours(tmp_path: Path) -> None:
    from cart_common.process.data_folder import claimed

    (data := tmp_path / "data").mkdir()
    (ours := tmp_path / "ours").mkdir()
    ours.chmod(0o755)
    (data / "models").symlink_to(ours)
    os.lchown(data / "models", 12345, -1)
    with claimed(data, "cart", DATA_NAMES):
        pass
    assert oct(stat.S_IMODE(ours.stat().st_mode)) == "0o755"


def test_the_umask_comes_back(tmp_path: Path) -> None:
    from cart_common.process.data_folder import claimed

    before = os.umask(0o022)
    try:
        with claimed(tmp_path / "data", "cart", ()):
            assert os.umask(0o077) == 0o077
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
