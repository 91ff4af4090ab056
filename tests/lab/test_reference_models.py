"""The bounds of a run: which rows carts that train alone and the model on all data get, and what they keep."""

import numpy as np
import pytest
from support.processes.programs import LIGHT_TASK

from child_cart.db.store import is_held_out
from child_cart.model.task import Row
from lab.conditions.data import RunData, data_of
from lab.conditions.pool import pool_of
from lab.config import LabSettings
from lab.runs.experiment import Experiment
from lab.runs.references import References
from tests.lab.recording_engine import RecordingEngine
from tests.lab.test_lab_runs import config_of
from tests.support.carts.light_task import LightTask, points

TASK = LightTask()


def numbered(count: int) -> list[Row]:
    """Return rows that differ in their degrees, so that a row is known by its input."""
    return [{"degrees": degrees, "third": degrees // 120} for degrees in range(count)]


def data(rows=360):
    pool = pool_of(TASK, numbered(rows))
    return RunData(pool, points(20, seed=1), TASK, LabSettings(carts=3, rows=10, partition="iid"))


def degrees_of(command):
    return degrees_at(command.inputs)


def references(carts=(0, 1, 2), engine=None):
    engine = engine or RecordingEngine()
    found = data()
    return engine, found, References(engine, found, engine.start(), carts)


def test_all_data_trains_on_each_row_of_the_honest_carts_once():
    engine, found, bounds = references(carts=(0, 2))
    rows = found.pool.rows
    bounds.learn({0: [rows[5], rows[7]], 1: [rows[300], rows[301]], 2: [rows[9]]})
    alone, (together,) = engine.trained
    assert sorted(map(degrees_of, alone)) == [[5, 7], [9]]
    assert degrees_of(together) == [5, 7, 9]


def test_a_round_with_more_rows_than_the_pool_shows_no_row_that_no_cart_has():
    engine, found, bounds = references()
    drawn = [found.pool.rows[place] for place in (3, 3, 4, 8)] * 100
    assert len(drawn) > len(found.pool.rows)
    bounds.learn({0: drawn})
    assert degrees_of(engine.trained[-1][0]) == [3, 4, 8]


def test_rows_drawn_with_replacement_have_few_different_counts_and_no_row_is_taken_three_times():
    engine, found, bounds = references()
    random = np.random.default_rng(4)
    for _ in range(40):
        places = random.integers(0, 360, 500).tolist()
        bounds.learn({0: [found.pool.rows[place] for place in places]})
        taken = degrees_of(engine.trained[-1][0])
        counts = np.bincount(taken)
        assert set(taken) == set(places)
        assert counts.max() <= 2
        assert (counts == 2).sum() <= len(set(places)) / 8
    assert len({len(together[0].inputs) for together in engine.trained[1::2]}) <= 2


def test_rows_that_no_two_carts_share_are_taken_once_each():
    engine, found, bounds = references()
    bounds.learn({0: found.pool.rows[:101]})
    assert degrees_of(engine.trained[-1][0]) == list(range(101))


def test_no_honest_cart_in_a_round_leaves_the_models_as_they_are():
    engine, found, bounds = references(carts=(0,))
    bounds.learn({1: found.pool.rows[:5]})
    assert not [one for wanted in engine.trained for one in wanted]
    for (weights,) in bounds.models().values():
        assert all(map(np.array_equal, weights, engine.start()))


class Spoiling(RecordingEngine):
    """Returns NaN for the trainings of the second round, and huge weights for those of the third."""

    round = 1

    def train(self, wanted):
        trained = super().train(wanted)
        value = {2: np.nan, 3: 1e30}.get(self.round)
        return trained if value is None else [[np.full_like(array, value) for array in one] for one in trained]


def test_weights_that_cannot_be_used_are_not_kept():
    engine, found, bounds = references(carts=(0,), engine=Spoiling())
    kept = []
    for engine.round in (1, 2, 3, 4):
        bounds.learn({0: found.pool.rows[:8]})
        kept.append([np.array(one[0][1]) for one in bounds.models().values()])
    start = engine.start()[1]
    for model in range(2):
        first, second, third, fourth = (one[model] for one in kept)
        assert not np.array_equal(first, start)
        assert np.array_equal(first, second)
        assert np.array_equal(first, third)
        assert not np.array_equal(third, fourth)
        assert np.isfinite(fourth).all()


@pytest.mark.parametrize("method", ["carts", "fedavg"])
def test_a_run_gives_its_references_what_its_carts_have_trained_on(method):
    hostile = "0.34:label-flip" if method == "carts" else ""
    with Experiment(config_of(carts=3, rows=20, rounds=1, method=method, hostile=hostile, churn=0.0)) as experiment:
        came = {cart: experiment.data.rows_of(cart, 1) for cart in range(3)}
        recorder = experiment._references._engine = RecordingEngine()
        (result,) = list(experiment.rounds())
    honest = [cart.cart for cart in result.carts if not cart.hostile]
    assert len(honest) == (2 if hostile else 3)
    wanted = {c: [row for number, row in enumerate(came[c], 1) if not is_held_out(number)] for c in honest}
    assert all(len(rows) == 18 for rows in wanted.values())
    alone, (together,) = recorder.trained
    for command, cart in zip(alone, honest, strict=True):
        assert np.array_equal(command.inputs, TASK.arrays(wanted[cart])[0])
    everything = TASK.arrays([row for rows in wanted.values() for row in rows])
    assert np.array_equal(together.inputs, everything[0])
    assert np.array_equal(together.targets, everything[1])


def test_each_honest_cart_is_trained_alone_however_many_there_are():
    carts = range(1, 140)
    engine, found, bounds = references(carts=carts)
    rows = found.pool.rows
    bounds.learn({cart: [rows[cart]] for cart in range(140)})
    alone, _ = engine.trained
    assert [degrees_of(one) for one in alone] == [[cart] for cart in carts]
    assert list(bounds.alone()) == list(carts)


@pytest.mark.parametrize("source", ["starter rows", "a file"])
def test_the_test_rows_are_in_no_pool(source, tmp_path):
    path = ""
    if source == "a file":
        lines = [f"{row['degrees']},{row['third']}" for row in numbered(100)]
        (tmp_path / "rows.csv").write_text("\n".join(["degrees,third", *lines]) + "\n")
        path = str(tmp_path / "rows.csv")
    found = [data_of(LabSettings(task=LIGHT_TASK, partition="iid", data=path, seed=seed), Ring()) for seed in (0, 1)]
    pools = [sorted(row["degrees"] for row in one.pool.rows) for one in found]
    tests = [sorted(degrees_at(one.test[0])) for one in found]
    for pool, test in zip(pools, tests, strict=True):
        assert len(test) == 20
        assert sorted(pool + test) == list(range(100))
    assert tests[0] != tests[1]


class Ring(LightTask):
    def starter_rows(self, partition):
        return numbered(100)


def degrees_at(inputs):
    return [round(float(np.degrees(np.arctan2(y, x)))) % 360 for x, y in inputs]
