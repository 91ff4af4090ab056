"""What a reset removes lies in a backup."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from child_cart.db.records import Origin, RoundRecord
from child_cart.db.sqlite import SqliteStore
from child_cart.learning import backup
from child_cart.learning.backup import BACKUPS_KEPT, back_up
from child_cart.learning.versions import Versions
from child_cart.model.trainer import Initial, Trained


@pytest.fixture
def versions(tmp_path: Path) -> Versions:
    store = SqliteStore(tmp_path / "cart.db")
    versions = Versions(store, tmp_path / "models")
    for number in range(2):
        target = versions.new_target()
        target.write_text(f"weights {number}")
        if number == 0:
            versions.add_initial("task", target, Initial("digest", "00" * 16, 0))
        else:
            versions.add(Origin.LOCAL, target, Trained("digest", 0.5, {}, rows=5))
    store.save_round(RoundRecord("r1", 1, 5.0))
    return versions


def test_a_reset_keeps_what_it_removes(versions: Versions, tmp_path: Path) -> None:
    kept = versions.forget(tmp_path / "backups")
    assert versions.current is None
    assert list((tmp_path / "models").iterdir()) == []
    assert [entry["number"] for entry in json.loads((kept / "versions.json").read_text())] == [1, 0]
    assert [entry["round_id"] for entry in json.loads((kept / "rounds.json").read_text())] == ["r1"]
    assert sorted(path.read_text() for path in (kept / "models").iterdir()) == ["weights 0", "weights 1"]


def test_where_files_cannot_be_linked_they_are_copied(versions: Versions, tmp_path: Path, monkeypatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(backup.os, "link", refuse)
    kept = versions.forget(tmp_path / "backups")
    assert sorted(path.read_text() for path in (kept / "models").iterdir()) == ["weights 0", "weights 1"]


def test_weights_files_that_are_gone_already_are_passed_over(versions: Versions, tmp_path: Path) -> None:
    versions.stored().path.unlink()
    assert len(list((versions.forget(tmp_path / "backups") / "models").iterdir())) == 1


def test_the_last_backups_stay_and_no_two_have_one_name(tmp_path: Path) -> None:
    made = [back_up(tmp_path / "b", tmp_path, [], [], 1_700_000_000 + second) for second in (0, 0, *range(1, 6))]
    assert made[0].name == "20231114-221320"
    assert made[1].name == "20231114-221320-2"
    assert sorted((tmp_path / "b").iterdir()) == sorted(made)[-BACKUPS_KEPT:]
