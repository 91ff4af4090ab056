"""The example with PyTorch: its learner keeps the promises of ``Learner``, in the lab and in a real cart."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.processes.programs import ROOT, CartProcess, running, wait_for

from child_cart.model.learner import ExportError
from child_cart.model.partition import Partition
from child_cart.model.task_metrics import ClassAccuracy
from examples.torch_digits import TorchDigits

NAME = "examples.torch_digits:TorchDigits"
TASK = TorchDigits()
pytestmark = pytest.mark.needs("torch")


def test_it_starts_alike_on_every_cart_and_trains_by_weights_rows_and_seed_alone() -> None:
    rows = TASK.arrays(TASK.starter_rows(Partition())[:300])
    one, other = TASK.build_learner(), TASK.build_learner()
    start = one.weights()
    for first, second in zip(start, other.weights(), strict=True):
        np.testing.assert_array_equal(first, second)
    losses: list[float] = []
    one.train(*rows, lambda epoch, epochs, loss: losses.append(loss))
    assert len(losses) == TASK.epochs
    assert losses[-1] < losses[0]
    other.train(*rows, lambda *_: None)
    other.set_weights(start)
    other.train(*rows, lambda *_: None)
    for first, second, before in zip(one.weights(), other.weights(), start, strict=True):
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, before)
    inputs, targets = TASK.arrays(TASK.test_rows())
    assert ClassAccuracy().value(one.predict(inputs), targets) > 0.8


def test_weights_are_copies_and_there_is_no_keras_file() -> None:
    learner = TASK.build_learner()
    learner.weights()[0][:] = 7
    assert learner.weights()[0].max() < 7
    with pytest.raises(ExportError, match="no keras form"):
        learner.export("keras", Path("unused"))


def test_the_lab_trains_it_one_by_one(tmp_path: Path) -> None:
    few = ["--carts", "3", "--rounds", "1", "--out", str(tmp_path / "run")]
    command = [sys.executable, str(ROOT / "main.py"), "lab", "run", "--task", NAME, *few]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert json.loads((tmp_path / "run/summary.json").read_text())["engine"].startswith("one-by-one")


def test_a_real_cart_trains_it(tmp_path: Path) -> None:
    flags = ("--task", NAME, "--starter-rows", "100", "--dataset-size", "20", "--cluster-wait-s", "0")
    cart = CartProcess(tmp_path / "cart", "ws://127.0.0.1:9", *flags)
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING", what="the cart serving")
        cart.post("/api/rows", {"batch_id": "one", "rows": TASK.test_rows()[:30]})
        wait_for(lambda: cart.status()["rounds_ended"] == 1, what="a round")
