"""Real carts in processes and simulated ones get the same rows: the same verdicts, and accuracy within noise."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.processes.programs import LIGHT_TASK

from benchmarks.lab_against_carts import Measurer, real, simulated
from lab.config import RunConfig

CARTS, ROUNDS = 4, 3


def test_real_carts_do_as_simulated_ones(tmp_path: Path) -> None:
    config = RunConfig.of(
        {"task": LIGHT_TASK, "carts": CARTS, "rounds": ROUNDS, "topology": f"clusters:{CARTS - 1}", "seed": 0}
    )
    expected = list(simulated(config))
    measurer = Measurer(config)
    found = list(real(config, measurer, CARTS - 1, tmp_path))
    measurer.experiment.close()
    assert len(found) == len(expected) == ROUNDS
    for one, other in zip(found, expected, strict=True):
        assert (one.asked, one.accepted, one.received_bytes) == (other.asked, other.accepted, other.received_bytes)
    # Equal where all carts move in step; one that is late gets models that are averaged already.
    assert sum(found[-1].accuracies) == pytest.approx(sum(expected[-1].accuracies), abs=0.05 * CARTS)
