"""Methods of the literature: the models of three carts, one of them away for a round, against NumPy by hand."""

import numpy as np
import pytest

from cart_common.process.settings import SettingError
from child_cart.model.trainer_commands import Train
from lab.conditions.topology import topology_of
from lab.config import RunConfig
from lab.runs.baselines import BASELINES
from lab.runs.run_folder import RunFolder
from lab.runs.running import Stop, carry_out
from tests.lab.recording_engine import RecordingEngine, trained
from tests.lab.test_lab_runs import config_of
from tests.support.carts.light_task import LightTask, points

TASK = LightTask()
ROWS = {0: points(20, seed=1), 1: points(4, seed=2), 2: points(9, seed=3)}
NOT_HELD_OUT = {0: [n for n in range(20) if n not in (9, 19)], 1: range(4), 2: range(9)}
"""The places of the rows that carts train on in round 1: each tenth row that comes is held out."""
SECOND = {0: points(5, seed=4), 2: points(3, seed=5)}
SECOND_NOT_HELD_OUT = {0: range(5), 2: [1, 2]}
"""Cart 2 has had nine rows: its next one is held out. Cart 1 is away."""
THIRD = {1: points(8, seed=6), 2: points(4, seed=7)}


def method_of(name, topology="full", carts=3, **changes):
    config = RunConfig.of({"carts": carts, "rows": 20, "method": name, "topology": topology, **changes})
    engine = RecordingEngine()
    return BASELINES[name](config, TASK, engine, topology_of(topology, carts, config.lab.seed)), engine


def learned(model, rows, places):
    return trained(Train(model, *TASK.arrays([rows[place] for place in places])))


def received(model):
    return [array.astype(np.float16).astype(np.float32) for array in model]


def mean(models, shares):
    weights = np.array(shares, np.float64) / sum(shares)
    return [
        sum(share * array.astype(np.float64) for share, array in zip(weights, arrays, strict=True)).astype(np.float32)
        for arrays in zip(*models, strict=True)
    ]


def assert_same(found, wanted):
    for one, other in zip(found, wanted, strict=True):
        for array, expected in zip(one, other, strict=True):
            np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-7)


def first_round(method):
    """Run round 1; return its end and each cart's model before it was mixed."""
    ended = method.run_round(1, ROWS)
    start = RecordingEngine().start()
    own = {cart: learned(start, ROWS[cart], NOT_HELD_OUT[cart]) for cart in ROWS}
    assert {cart: list(given) for cart, given in ended.trained_on.items()} == {
        cart: [ROWS[cart][place] for place in NOT_HELD_OUT[cart]] for cart in ROWS
    }
    return ended, own


@pytest.mark.parametrize("name", BASELINES)
def test_a_method_trains_on_the_rows_that_are_not_held_out(name):
    method, engine = method_of(name)
    method.run_round(1, ROWS)
    method.run_round(2, SECOND)
    for commands, rows, places in zip(engine.trained, (ROWS, SECOND), (NOT_HELD_OUT, SECOND_NOT_HELD_OUT), strict=True):
        for command, cart in zip(commands, rows, strict=True):
            inputs, targets = TASK.arrays([rows[cart][place] for place in places[cart]])
            assert np.array_equal(command.inputs, inputs)
            assert np.array_equal(command.targets, targets)


def test_fedavg_weighs_by_rows_and_starts_all_carts_from_the_servers_model():
    method, engine = method_of("fedavg")
    ended, own = first_round(method)
    server = received(mean([received(own[cart]) for cart in range(3)], [18, 4, 9]))
    assert_same(method.weights(), [server] * 3)
    assert [(end.rows, end.asked, end.accepted) for end in ended.ends.values()] == [(18, 1, 1), (4, 1, 1), (9, 1, 1)]
    ended = method.run_round(2, SECOND)
    assert list(ended.ends) == [0, 2]
    two = {cart: learned(server, SECOND[cart], SECOND_NOT_HELD_OUT[cart]) for cart in SECOND}
    server = received(mean([received(two[0]), received(two[2])], [5, 2]))
    assert_same(method.weights(), [server] * 3)
    method.run_round(3, THIRD)  # cart 1 is back
    assert_same([command.weights for command in engine.trained[2]], [server] * 2)


def test_fedavg_sends_at_the_precision_of_the_wire():
    exact, _ = method_of("fedavg", wire_precision="full")
    _, own = first_round(exact)
    assert_same(exact.weights(), [mean([own[cart] for cart in range(3)], [18, 4, 9])] * 3)
    half, _ = method_of("fedavg")
    half.run_round(1, ROWS)
    for array in half.weights()[0]:
        assert array.dtype == np.float32
        assert np.array_equal(array, array.astype(np.float16))


def test_dpsgd_averages_with_the_neighbours_that_are_there():
    method, _ = method_of("dpsgd", "ring")
    ended, own = first_round(method)
    sent = {cart: received(model) for cart, model in own.items()}
    mixed = [mean([own[c], *(sent[other] for other in range(3) if other != c)], [1, 1, 1]) for c in range(3)]
    assert_same(method.weights(), mixed)
    assert all(end.asked == end.accepted == 2 for end in ended.ends.values())
    payload_bytes = {end.received_bytes / 2 for end in ended.ends.values()}
    assert len(payload_bytes) == 1
    assert payload_bytes.pop() > 0
    ended = method.run_round(2, SECOND)
    two = {cart: learned(mixed[cart], SECOND[cart], SECOND_NOT_HELD_OUT[cart]) for cart in SECOND}
    after = [mean([two[0], received(two[2])], [1, 1]), mixed[1], mean([two[2], received(two[0])], [1, 1])]
    assert_same(method.weights(), after)
    assert {cart: end.asked for cart, end in ended.ends.items()} == {0: 1, 2: 1}


def test_dpsgd_asks_its_neighbours_alone():
    method, _ = method_of("dpsgd", "ring", carts=7)
    topology = topology_of("ring", 7, 0)
    found = method.sources(range(7), 1)
    assert {cart: set(peers) for cart, peers in found.items()} == {c: set(topology.peers(c, 1)) for c in range(7)}
    assert all(len(peers) == 2 for peers in found.values())


def test_epidemic_averages_with_those_that_have_sent():
    method, _ = method_of("epidemic", "clusters:1")
    ended, own = first_round(method)
    sources = method.sources([0, 1, 2], 1)
    assert sum(map(len, sources.values())) == 3
    mixed = [
        mean([own[cart], *(received(own[other]) for other in sources[cart])], [1] * (1 + len(sources[cart])))
        for cart in range(3)
    ]
    assert_same(method.weights(), mixed)
    assert {cart: end.asked for cart, end in ended.ends.items()} == {c: len(given) for c, given in sources.items()}
    method.run_round(2, SECOND)  # of two carts, each can only send to the other
    two = {cart: learned(mixed[cart], SECOND[cart], SECOND_NOT_HELD_OUT[cart]) for cart in SECOND}
    after = [mean([two[0], received(two[2])], [1, 1]), mixed[1], mean([two[2], received(two[0])], [1, 1])]
    assert_same(method.weights(), after)


def test_epidemic_sends_to_as_many_others_as_the_topology_says_each_as_often():
    method, _ = method_of("epidemic", "clusters:2", carts=6)
    there = [0, 2, 3, 5]
    sent = np.zeros((6, 6), int)
    for number in range(600):
        for receiver, senders in method.sources(there, number).items():
            assert len(set(senders)) == len(senders)
            sent[senders, receiver] += 1
    assert (sent.diagonal() == 0).all()
    assert (sent.sum(axis=1)[there] == 1200).all()
    others = sent[np.ix_(there, there)][~np.eye(4, dtype=bool)]
    assert (abs(others - 400) < 5 * np.sqrt(600 * 2 / 9)).all()
    assert method.sources(there, 1) == method.sources(there, 1) != method.sources(there, 2)


def test_dpsgd_without_neighbours_is_told_before_a_folder_is_made(tmp_path):
    config = config_of(method="dpsgd", topology="clusters:3")
    with pytest.raises(SettingError, match="--method is 'dpsgd', which needs a --topology with fixed neighbours"):
        carry_out(config, RunFolder(tmp_path / "run"), lambda _: None, lambda *_: None, Stop())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"hostile": "0.34:nan"}, {"loss": 0.1}, {"delay": 1.0}])
def test_what_a_baseline_does_not_know_is_told(changes):
    with pytest.raises(SettingError, match="knows no --hostile, --loss or --delay"):
        method_of("fedavg", **changes)


@pytest.mark.parametrize("name", BASELINES)
def test_settings_that_a_baseline_would_ignore_are_told(name):
    topology = "ring" if name == "dpsgd" else "full"
    with pytest.raises(SettingError, match="would ignore --accept-backward, --aggregator: leave it out"):
        method_of(name, topology, aggregator="uniform", accept_backward=0.2)
    defaults = {key: value for key, value in RunConfig().values().items() if key not in ("method", "topology", "carts")}
    method_of(name, topology, **{**defaults, "wire_precision": "full"})
