"""The vectorised engine trains as a real cart does; what it cannot train goes one by one, and the run says why."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.lab.vectorised_cases import CASES

ROOT = Path(__file__).parents[2]
RUN = """
import sys
from lab.config import RunConfig
from lab.runs.experiment import Experiment
if __name__ == "__main__":
    engine, name = sys.argv[1:]
    task = "tests.lab.keras_tasks:" + name
    config = {"task": task, "engine": engine, "carts": 3, "rounds": 1, "rows": 9, "partition": "iid"}
    try:
        with Experiment(RunConfig.of(config)) as experiment:
            results = list(experiment.rounds())
            print(experiment.engine_words, "|", experiment.start_digest, "|", results[0].carts[0].outcome)
    except Exception as error:
        print(type(error).__name__, "|", error)
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cases")
    for kind in ("real", "lab"):
        command = [sys.executable, "-m", "tests.lab.vectorised_cases", kind, str(folder)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
        assert ended.returncode == 0, ended.stderr
    return folder


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("model", "count"), CASES)
def test_a_training_in_the_lab_is_that_of_a_cart(trained, model, count):
    with (
        np.load(trained / f"{model}-{count}-start.npz") as start,
        np.load(trained / f"{model}-{count}-real.npz") as real,
        np.load(trained / f"{model}-{count}-lab.npz") as lab,
    ):
        begun, expected, found = ([file[name] for name in file.files] for file in (start, real, lab))
        assert [array.dtype for array in found] == [array.dtype for array in expected]
        moved = max(float(np.abs(one - other).max()) for one, other in zip(expected[1:], begun, strict=True))
        assert moved > 1e-3
        for one, other in zip(found, expected, strict=True):
            assert np.allclose(one, other, rtol=0, atol=2e-6), float(np.abs(one - other).max())


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("model", "count"), CASES)
def test_a_run_starts_from_the_weights_of_a_cart(trained, model, count):
    with (
        np.load(trained / f"{model}-{count}-start.npz") as real,
        np.load(trained / f"{model}-{count}-lab-start.npz") as lab,
    ):
        assert lab.files == real.files
        for name in real.files:
            assert lab[name].dtype == real[name].dtype
            assert np.allclose(lab[name], real[name], rtol=0, atol=2e-6)


def run(engine, name):
    command = [sys.executable, "-c", RUN, engine, name]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr, ended.stderr
    return ended.stdout.strip()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Plain", "vectorised"),
        ("TensorFlowLoss", "one-by-one (the model fails in JAX: "),
        ("TensorFlowBuild", "one-by-one (the model fails in JAX: "),
        ("OwnLearner", "one-by-one (the task builds a learner of its own)"),
    ],
)
def test_what_cannot_be_vectorised_is_trained_one_by_one(name, words):
    told = run("auto", name)
    assert told.startswith(words)
    assert told.endswith("| AGGREGATED")


@pytest.mark.timeout(600)
def test_all_engines_start_from_the_same_weights_for_a_seed():
    found = {engine: run(engine, "Plain").split(" | ") for engine in ("vectorised", "one-by-one")}
    assert {engine: words[0] for engine, words in found.items()} == {engine: engine for engine in found}
    assert found["vectorised"][1] == found["one-by-one"][1]


@pytest.mark.parametrize("name", ["TensorFlowLoss", "OwnLearner"])
def test_an_engine_that_was_asked_for_and_cannot_is_a_wrong_setting(name):
    told = run("vectorised", name)
    assert told.startswith("SettingError | --engine is 'vectorised', but 'keras' cannot be trained so: ")
    assert told.endswith(".")
    assert told.count("\n") == 0


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "reason"), [("WrongShape", "incompatible"), ("NoBuild", "no luck")])
def test_a_model_that_no_engine_can_train_is_told(name, reason):
    told = run("auto", name)
    assert told.startswith("TaskError | The task failed")
    assert reason in told
    assert told.count("\n") == 0
