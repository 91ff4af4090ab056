"""The example of machines that fail: its rows, its partition by machine, the mechanics behind it, and a run of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.processes.programs import ROOT

from child_cart.model.partition import Partition
from child_cart.model.task import RowError, checked_row, load_task
from examples.machines.task import MACHINES, STARTER_ROWS, FailingMachines
from examples.machines.vibration import BANDS, ENVELOPE_STEP_HZ, INNER_RING, OUTER_RING, Machine, spectra, vibration

TASK = FailingMachines()


def test_its_rows_pass_its_own_check_and_become_arrays() -> None:
    assert load_task("examples.machines:FailingMachines").name == TASK.name
    rows = TASK.evaluation_rows()
    assert [checked_row(TASK, row) for row in rows] == rows
    inputs, targets = TASK.arrays(rows)
    assert inputs.shape == (len(rows), 2 * BANDS)
    assert set(targets.tolist()) == {0, 1, 2, 3}
    assert np.abs(inputs).max() < 5


@pytest.mark.parametrize("bands", [None, [1.0] * 3, ["1"] * 64, [float("nan")] * 64])
def test_what_is_no_spectrum_is_refused(bands: object) -> None:
    with pytest.raises(RowError, match="bands must be"):
        TASK.parse_row({"bands": bands, "state": 1})


@pytest.mark.parametrize("carts", [1, 5, MACHINES, MACHINES + 6])
def test_each_row_of_a_machine_is_at_one_cart(carts: int) -> None:
    parts = [TASK.starter_rows(Partition(index, carts)) for index in range(carts)]
    assert len({id(row) for part in parts for row in part}) == sum(map(len, parts)) == MACHINES * STARTER_ROWS
    assert all(parts)
    assert parts[-1] == TASK.starter_rows(Partition(carts - 1, carts))


def test_a_machine_has_failed_in_one_way_only() -> None:
    for index in range(MACHINES):
        assert len({row["state"] for row in TASK.starter_rows(Partition(index, MACHINES))}) == 2


@pytest.mark.parametrize(("ring", "strokes_hz"), [(OUTER_RING, 36.0), (INNER_RING, 60.0)])
def test_the_envelope_repeats_with_the_strokes_on_a_ring(ring: int, strokes_hz: float) -> None:
    machine = Machine(shaft_hz=12, balls=8, ball_ratio=0.25, resonance_hz=600, noise=0.01)
    assert machine.strokes_hz(ring) == strokes_hz
    envelope = np.mean([spectra(vibration(machine, ring, np.random.default_rng(n)))[BANDS:] for n in range(20)], axis=0)
    above_shaft = int(24 / ENVELOPE_STEP_HZ)
    strongest = above_shaft + int(envelope[above_shaft : int(90 / ENVELOPE_STEP_HZ)].argmax())
    assert strongest == int((strokes_hz - 2) / ENVELOPE_STEP_HZ)


def test_the_lab_takes_it_as_it_is(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "main.py"), "lab", "run", "--task", "examples.machines:FailingMachines"]
    few = ["--carts", "4", "--rounds", "1", "--out", str(tmp_path / "run")]
    ended = subprocess.run([*command, *few], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert summary["engine"] == "vectorised"
    assert summary["all_data"] > 0.5
