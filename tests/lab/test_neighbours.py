"""What a model learns and scores depends on it and its rows alone, so that any worker may compute it."""

import subprocess
import sys

import pytest
from support.processes.programs import ROOT

SCRIPT = """
import numpy as np
from child_cart.model.digits import Digits
from child_cart.model.trainer_commands import Predict, Train
from lab.engines.vectorised import Vectorised

task, random = Digits(), np.random.default_rng(0)
engine = Vectorised(task)
inputs, targets = task.arrays(task.test_rows())
models = [[a + random.standard_normal(a.shape).astype(np.float32) * 0.05 for a in engine.start()] for _ in range(40)]
few = inputs[:20]
work = {
    "train": [Train(model, inputs[:20], targets[:20]) for model in models],
    "predict": [Predict(model, few) for model in models],
    "predict many": [Predict(model, inputs) for model in models],
}
assert len(inputs) > 256
for name, wanted in work.items():
    compute = getattr(engine, name.split()[0])
    whole, parts = compute(wanted), [one for at in range(0, 40, 5) for one in compute(wanted[at : at + 5])]
    same = all(np.array_equal(a, b) for one, other in zip(whole, parts) for a, b in zip(one, other))
    print(name, "same" if same else "differs", sep=": ")
"""


@pytest.fixture(scope="module")
def told():
    command = [sys.executable, "-c", SCRIPT]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


@pytest.mark.parametrize("work", ["train", "predict", "predict many"])
def test_forty_models_at_once_give_the_bits_of_five_at_a_time(told, work):
    assert f"{work}: same" in told
