"""Personal layers in the laboratory: what carts and methods of the literature send, and what they keep."""

import numpy as np
import pytest

from child_cart.model.codec import decode
from child_cart.model.layout import Layout
from lab.carts.memory import MemoryFiles
from lab.runs.baselines import BASELINES
from lab.runs.experiment import Experiment
from tests.lab.test_baselines import SECOND, first_round, method_of
from tests.lab.test_lab_runs import config_of
from tests.lab.test_vectorised import run
from tests.support.carts.light_task import LightTask, SoftmaxRegression

LAYOUT = Layout(personal={1: "bias"})


class PersonalBias(SoftmaxRegression):
    layout = LAYOUT


class PersonalTask(LightTask):
    def build_learner(self):
        return PersonalBias()


@pytest.mark.parametrize("hostile", ["", "0.25:sign-flip"])
def test_carts_mix_all_but_the_personal_arrays(monkeypatch, hostile):
    sent, results, put = [], [], MemoryFiles.put_payload

    def spy(files, path, payload, digest):
        sent.append(payload)
        put(files, path, payload, digest)

    monkeypatch.setattr(MemoryFiles, "put_payload", spy)
    config = config_of(carts=4, rows=20, rounds=1, topology="full", hostile=hostile)
    with Experiment(config, None, PersonalTask()) as experiment:
        train = experiment.engine.train
        experiment.engine.train = lambda wanted: results.append(train(wanted)) or results[-1]
        (ended,) = experiment.rounds()
        models = experiment.state().models["cart"]
    assert {cart.outcome for cart in ended.carts} == {"AGGREGATED"}
    assert sent
    assert all([array.shape for array in decode(payload, 10_000)] == [(2, 3)] for payload in sent)
    own = {trained[1].tobytes(): trained[0] for trained in results[0]}  # in the order in which carts began
    assert {mixed[1].tobytes() for mixed in models} == set(own)
    assert len(own) == 4
    assert not any(np.array_equal(own[mixed[1].tobytes()], mixed[0]) for mixed in models)


@pytest.mark.parametrize("name", BASELINES)
def test_methods_of_the_literature_leave_personal_arrays_with_their_carts(name):
    topology = "ring" if name == "dpsgd" else "full"
    whole, _ = method_of(name, topology)
    method, engine = method_of(name, topology)
    engine.layout = LAYOUT
    bytes_sent = [first_round(one)[0].ends[0].received_bytes for one in (whole, method)]
    assert bytes_sent[1] < bytes_sent[0]
    _, own = first_round(method_of(name, topology)[0])
    for cart, (mixed, all_mixed) in enumerate(zip(method.weights(), whole.weights(), strict=True)):
        assert np.array_equal(mixed[0], all_mixed[0])
        assert np.array_equal(mixed[1], own[cart][1])


def test_an_absent_cart_of_fedavg_keeps_its_personal_arrays():
    method, engine = method_of("fedavg")
    engine.layout = LAYOUT
    first_round(method)
    away = method.weights()[1]
    present = {cart: method.weights()[cart] for cart in SECOND}
    method.run_round(2, SECOND)
    assert np.array_equal(method.weights()[1][1], away[1])
    assert np.array_equal(method.weights()[1][0], method.weights()[0][0])
    assert all(not np.array_equal(method.weights()[cart][1], present[cart][1]) for cart in SECOND)


@pytest.mark.timeout(600)
def test_models_with_personal_layers_are_trained_side_by_side_and_wrong_names_are_told():
    told = run("auto", "PersonalHead")
    assert told.startswith("vectorised | ")
    assert told.endswith("| AGGREGATED")
    assert run("auto", "WrongPersonal") == (
        "TaskError | personal_layers names 'hed', but the layers that are trained are 'body', 'head'."
    )
