"""A few kills in every run of the tests; ``python -m tests.soak.kills`` does many."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.processes.mongod import need_mongod

from tests.soak.kills import Kills


@pytest.mark.parametrize("backend", ["embedded", "mongodb"])
def test_nothing_is_lost_whatever_is_killed(tmp_path: Path, backend: str) -> None:
    if backend == "mongodb":
        need_mongod()
    report = Kills(backend, tmp_path, seed=1).run(6)
    assert report.kills.total() == 6
    kinds = {"cart", "trainer"} | ({"mongod"} if backend == "mongodb" else set())
    assert report.kills.keys() == kinds
    assert report.sales > 0
