"""A task is tried before a cart is ready, and by a command: each part that fails is named, with the user's line."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.processes.programs import LIGHT_TASK, ROOT

from child_cart.config import CartSettings
from child_cart.config.resources import trainer_setup
from child_cart.model.plain_json import plain_json
from child_cart.model.process_trainer import ProcessTrainer
from child_cart.model.trainer import TrainerDied

TASKS = """import numpy as np
from tests.support.carts.light_task import LightTask, SoftmaxRegression

class NoArrays(LightTask):
    def arrays(self, rows):
        return rows[0]["colour"], None

class NoSummary(LightTask):
    def summary(self, predict):
        return {"when": object()}

class NumpySummary(LightTask):
    def summary(self, predict):
        return {"risk": predict(np.zeros((1, 2), np.float32))[0, 1], "all": np.arange(2), "none": np.nan}

class NoWeights(LightTask):
    def build_learner(self):
        made = SoftmaxRegression()
        made._weights = []
        return made

class NoRows(LightTask):
    def starter_rows(self, partition):
        return self.nothing

class NoBuilding(LightTask):
    def build_learner(self):
        raise ValueError("first\\nlast")
"""
FAILURES = {
    "NoArrays": "cannot train, measure and summarise its model: The task failed in {file}, line 6 (KeyError: 'colour')",
    "NoSummary": "cannot train, measure and summarise its model: The task failed (TypeError: a object is no JSON)",
    "NoWeights": "has no weights before its first training: begin it with keras.Input",
    "NoRows": "cannot give its rows: The task failed in {file}, line 24 (AttributeError: 'NoRows' object has no",
    "NoBuilding": "The task failed in {file}, line 28 (ValueError: last)",
}


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tills.py").write_text(TASKS)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path / "tills.py"


def check(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "child_cart", "check-task", *arguments]
    path = f"{folder}:{ROOT}"
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=200, env={**os.environ, "PYTHONPATH": path}
    )


@pytest.mark.parametrize("name", FAILURES)
async def test_a_cart_s_trainer_names_the_part_of_a_task_that_fails(tasks: Path, tmp_path: Path, name: str) -> None:
    trainer = ProcessTrainer(trainer_setup(CartSettings(task=f"tills:{name}"), tmp_path))
    with pytest.raises(TrainerDied) as failed:
        await trainer.initialise(tmp_path / "0.h5")
    assert FAILURES[name].format(file=tasks) in str(failed.value)
    await trainer.close()


async def test_a_task_is_tried_once_and_a_built_in_one_never(tasks: Path, tmp_path: Path) -> None:
    setup = trainer_setup(CartSettings(task="tills:NumpySummary"), tmp_path)
    assert setup.is_tried
    assert not trainer_setup(CartSettings(task="shopping"), tmp_path).is_tried
    trainer = ProcessTrainer(setup)
    await trainer.initialise(tmp_path / "0.h5")
    await trainer.close()
    trainer._setup = replace(setup, task="tills:NoSummary")
    await trainer.initialise(tmp_path / "0.h5")
    await trainer.close()


def test_the_command_names_the_part_that_fails(tasks: Path, tmp_path: Path) -> None:
    ended = check(tmp_path, "tills:NoArrays")
    assert ended.returncode == 2
    assert ended.stderr == f"cart: The task was tried and {FAILURES['NoArrays'].format(file=tasks)}.\n"


def test_the_command_prints_what_a_task_is(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("Degrees;third\n10;0\n200;1\n300;2\n400;1\n")
    ended = check(tmp_path, LIGHT_TASK, "--data", "rows.csv")
    assert ended.returncode == 0, ended.stderr
    lines = {" ".join(line.split()) for line in ended.stdout.splitlines()}
    assert {
        "The task light works:",
        "inputs of a row float32 [2]",
        "target of a row int64 []",
        "parameters 9 in 2 arrays",
        "arrays <f4[2, 3] <f4[3]",
        "1 row is not learned from:",
    } <= lines
    assert any(line.startswith("keras file 5 bytes (") for line in lines)
    assert any("line 5: degrees is '400'" in line for line in lines)
    assert any("A softmax regression has no tflite form" in line for line in lines)
    assert "Degrees" not in ended.stderr


def test_the_command_without_a_task_or_with_a_missing_column_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("degree;third\n10;0\n")
    ended = check(tmp_path, LIGHT_TASK, "--data", "rows.csv")
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "has no column 'degrees', which the task asks for. Is it 'degree'?" in ended.stderr
    shown = check(tmp_path, "--help")
    assert "MODULE:CLASS" in shown.stdout
    assert "--data" in shown.stdout


def test_numbers_of_numpy_are_plain_json() -> None:
    made = {1: np.float32(0.5), "b": [np.int64(3), np.arange(2)], "c": (float("inf"), None, True, "t")}
    assert plain_json(made) == {"1": 0.5, "b": [3, [0, 1]], "c": [None, None, True, "t"]}
    with pytest.raises(TypeError, match="a set is no JSON"):
        plain_json({"a": {1}})
