"""Whole runs without TensorFlow: the same seed gives the same files, however often a run was stopped."""

import asyncio
import csv
import gc
import json
import stat

import numpy as np
import pytest
from support.processes.programs import LIGHT_TASK

from cart_common.process.settings import SettingError
from child_cart.model.metric import ACCURACY
from child_cart.model.task import TaskError
from lab.api import run
from lab.config import RunConfig
from lab.runs.experiment import Experiment, with_seed
from lab.runs.results import point_of
from lab.runs.run_folder import CONFIG, CURVE, ROUNDS, STATE, SUMMARY, RunFolder, RunFolderError
from lab.runs.running import Stop, carry_out
from lab.runs.state import RunState
from tests.support.carts.light_task import LightTask, SoftmaxRegression

HARD = {"loss": 0.1, "delay": 2.0, "churn": 0.2, "hostile": "0.25:stale", "topology": "clusters:3"}
CASES = [
    {"partition": "iid"},
    HARD,
    {**HARD, "hostile": "0.2:sign-flip", "topology": "ring"},
    {"method": "fedavg", "churn": 0.2},
    {"topology": "exponential", "rows": 7},
    {"rehearsal": "labels", "rehearsal_rows": 9, "churn": 0.2},
]


def config_of(**changes):
    return RunConfig.of({"task": LIGHT_TASK, "carts": 9, "rounds": 5, "rows": 20, "partition": "iid", **changes})


def carried_out(path, config, stop_after=None, resume=False):
    stop = Stop()

    def on_round(result, point):
        stop.asked = result.number == stop_after

    folder = RunFolder(path)
    return carry_out(config, folder, lambda experiment: None, on_round, stop, resume)


def files(path):
    """Return the text of rounds.csv, and of curve.csv without the real seconds."""
    with open(path / CURVE, newline="") as file:
        curve = [[cell for name, cell in line.items() if name != "real_s"] for line in csv.DictReader(file)]
    return (path / ROUNDS).read_text(), curve


@pytest.mark.parametrize("changes", CASES)
def test_the_same_seed_gives_the_same_run_and_so_does_one_that_was_stopped(tmp_path, changes):
    config = config_of(**changes)
    assert carried_out(tmp_path / "one", config)["complete"]
    assert carried_out(tmp_path / "two", config)["complete"]
    assert not carried_out(tmp_path / "three", config, stop_after=1)["complete"]
    assert not carried_out(tmp_path / "three", config, stop_after=3, resume=True)["complete"]
    assert carried_out(tmp_path / "three", config, resume=True)["complete"]
    assert files(tmp_path / "one") == files(tmp_path / "two") == files(tmp_path / "three")
    assert not (tmp_path / "three" / STATE).exists()


class SometimesNotANumber(SoftmaxRegression):
    """Fails from about one in three of all weights, with whatever rows of one round; not with those of two."""

    def train(self, inputs, targets, report):
        fails = len(inputs) <= 20 and int(np.abs(self._weights[0]).sum() * 1000) % 3 == 1
        super().train(inputs, targets, report)
        if fails:
            self._weights[0][:] = np.nan


class FailingTask(LightTask):
    def build_learner(self):
        return SometimesNotANumber()


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("changes", [{}, HARD, {"hostile": "0.25:noise", "delay": 8.0}])
def test_a_cart_whose_training_fails_tries_again_in_the_next_round_and_the_run_can_go_on(tmp_path, changes, seed):
    # Without old rows: the learner tells the rows of one round from those of two by their number.
    config = config_of(**{"rounds": 4, "carts": 12, "seed": seed, "rehearsal_rows": 0, **changes})

    def carry(folder, stop_after=None, resume=False):
        stop = Stop()

        def on_round(result, point):
            stop.asked = result.number == stop_after

        carry_out(config, RunFolder(folder), lambda _: None, on_round, stop, resume, FailingTask())

    carry(tmp_path / "whole")
    for left in (1, 2, 3):
        carry(tmp_path / f"left-{left}", stop_after=left)
        carry(tmp_path / f"left-{left}", resume=True)
        assert (tmp_path / f"left-{left}" / ROUNDS).read_bytes() == (tmp_path / "whole" / ROUNDS).read_bytes()
    lines = list(csv.DictReader((tmp_path / "whole" / ROUNDS).read_text().splitlines()))
    failed = [line for line in lines if line["outcome"] == "TRAINER_FAILED"]
    assert failed
    for line in failed:
        following = [one for one in lines if one["cart"] == line["cart"] and int(one["round"]) > int(line["round"])]
        trained = [int(one["rows"]) for one in following if one["outcome"] not in ("AWAY", "TRAINER_FAILED")]
        assert not trained or trained[0] >= 2 * 18  # its rows have waited


def test_another_seed_gives_another_run(tmp_path):
    carried_out(tmp_path / "one", config_of(seed=1))
    carried_out(tmp_path / "two", config_of(seed=2))
    assert files(tmp_path / "one") != files(tmp_path / "two")


@pytest.mark.parametrize("seed", [1, 4295, 2**63 - 1])
def test_a_seed_is_the_runs_and_the_users_task_keeps_its_own(tmp_path, seed):
    task = LightTask()
    task.seed = 7
    ended = [run(tmp_path / name, task=task, seed=seed, carts=3, rounds=1) for name in ("one", "two")]
    assert files(ended[0].folder) == files(ended[1].folder)
    assert task.seed == 7
    assert 0 <= with_seed(task, seed).seed < 2**32
    assert with_seed(task, seed).seed != with_seed(task, seed - 1).seed
    assert with_seed(task, 0) is task


def test_a_notebook_runs_an_experiment_while_its_loop_runs(tmp_path):
    async def cell():
        return run(tmp_path / "run", task=LIGHT_TASK, carts=3, rounds=1)

    assert asyncio.run(cell()).summary["complete"]


def test_a_run_leaves_the_collection_of_garbage_as_it_was():
    before = gc.get_threshold()
    with Experiment(config_of()):
        assert gc.get_threshold() != before
    assert gc.get_threshold() == before


def test_a_round_waits_for_as_many_peers_as_a_topology_has():
    with Experiment(config_of(min_peers=2, topology="ring", rounds=1)) as experiment:
        (result,) = experiment.rounds()
        assert all(cart.asked == 2 for cart in result.carts)
    with pytest.raises(SettingError, match="--min-peers is 3, but with --topology ring each of 9 carts asks 2"):
        Experiment(config_of(min_peers=3, topology="ring"))
    with pytest.raises(SettingError, match="--topology clusters:6 each of 3 carts asks 2"):
        Experiment(config_of(min_peers=3, carts=3, topology="clusters:6"))


class OtherParts(LightTask):
    """Has other rows in its parts than in its whole."""

    def starter_rows(self, partition):
        rows = super().starter_rows(partition)
        return rows if partition.count == 1 else [{**row, "degrees": row["degrees"] + 360} for row in rows]


def test_rows_are_drawn_from_the_whole_where_the_parts_are_others():
    with Experiment(config_of(partition="auto"), task=OtherParts()) as experiment:
        assert "; iid, since the parts of the task hold other rows than its whole;" in experiment.data.words
    with pytest.raises(SettingError, match="the rows are not the starter rows of the task"):
        Experiment(config_of(partition="own"), task=OtherParts())


@pytest.mark.parametrize("count", [1, 2])
def test_a_file_with_too_few_rows_is_told(tmp_path, count):
    (tmp_path / "rows.csv").write_text("degrees,third\n" + "1,0\n" * count)
    with pytest.raises(SettingError, match=rf"rows\.csv has {count} rows?: too few to keep a fifth for the test"):
        Experiment(config_of(data=str(tmp_path / "rows.csv")))


def test_a_run_learns_and_its_summary_agrees_with_its_lines(tmp_path):
    summary = carried_out(tmp_path / "run", config_of(partition="labels:1", carts=12, rounds=6))
    lines = list(csv.DictReader((tmp_path / "run" / ROUNDS).read_text().splitlines()))
    assert len(lines) == 12 * 6
    last = [float(line["test_value"]) for line in lines if line["round"] == "6"]
    assert summary["federated"]["mean"] == pytest.approx(np.mean(last), abs=1e-5)
    assert summary["federated"]["worst"] == pytest.approx(min(last), abs=1e-5)
    assert summary["federated"]["mean"] > summary["alone"]["mean"] + 0.2
    assert summary["all_data"] > 0.9
    assert summary == json.loads((tmp_path / "run" / SUMMARY).read_text())
    assert (tmp_path / "run" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_results_are_no_secret(tmp_path):
    carried_out(tmp_path / "run", config_of(rounds=2), stop_after=1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "run").iterdir()}
    assert {CONFIG, ROUNDS, CURVE, SUMMARY, STATE, "curve.svg"} <= set(modes)
    (tmp_path / "other").touch()
    assert set(modes.values()) == {stat.S_IMODE((tmp_path / "other").stat().st_mode)}


@pytest.mark.parametrize("kind", ["sign-flip", "label-flip", "noise", "nan", "untrained", "alie"])
def test_hostile_carts_send_what_their_attack_makes_and_are_not_measured(kind):
    with Experiment(config_of(hostile=f"0.34:{kind}", topology="full", rounds=2)) as experiment:
        for result in experiment.rounds():
            hostile = [cart for cart in result.carts if cart.hostile]
            honest = [cart for cart in result.carts if not cart.hostile]
            assert len(hostile) == 3
            assert all(cart.alone_value is None for cart in hostile)
            assert point_of(result, 1.0, ACCURACY).federated == pytest.approx(
                np.mean([one.test_value for one in honest])
            )
            if kind == "nan":
                assert all(cart.dropped.get("NOT_FINITE") == 3 for cart in honest)


class Unmeasured(LightTask):
    def evaluation_rows(self):
        return []


def test_an_accuracy_that_nobody_measured_is_no_zero(tmp_path):
    carry_out(
        config_of(rows=6, rounds=2), RunFolder(tmp_path), lambda _: None, lambda *_: None, Stop(), task=Unmeasured()
    )
    lines = list(csv.DictReader((tmp_path / ROUNDS).read_text().splitlines()))
    for line in lines:  # the tenth row is the first one that is held out
        is_measured = line["round"] == "2"
        assert bool(line["local_value"]) is is_measured
        assert bool(line["new_value"]) is is_measured
        assert line["test_value"]


def test_carts_that_are_away_have_no_round():
    with Experiment(config_of(churn=0.34, rounds=3)) as experiment:
        for result in experiment.rounds():
            away = [cart for cart in result.carts if cart.outcome == "AWAY"]
            assert len(away) == 3
            assert all(cart.rows == cart.asked == 0 for cart in away)


def test_a_complete_run_is_not_run_again(tmp_path):
    config = config_of(rounds=1)
    carried_out(tmp_path / "run", config)
    with pytest.raises(RunFolderError, match="is complete"):
        carried_out(tmp_path / "run", config, resume=True)
    with pytest.raises(RunFolderError, match="There is a run in"):
        carried_out(tmp_path / "run", config)
    with pytest.raises(RunFolderError, match="There is no run in"):
        RunFolder(tmp_path).config()


def test_a_run_that_was_killed_goes_on_wherever_that_was(tmp_path):
    config = config_of(rounds=4)
    carried_out(tmp_path / "whole", config)
    carried_out(tmp_path / "cut", config, stop_after=2)
    path = tmp_path / "cut"
    (path / SUMMARY).unlink()
    for name in (ROUNDS, CURVE):  # a later round, whose last line is cut: 1 is the first digit of 12
        (path / name).write_text((path / name).read_text() + "3,0,False\n" + "1")
    carried_out(path, config, resume=True)
    assert files(path) == files(tmp_path / "whole")
    (path / SUMMARY).unlink()  # killed before its first state was kept
    carried_out(path, config, resume=True)
    assert files(path) == files(tmp_path / "whole")


def test_a_damaged_state_is_told(tmp_path):
    config = config_of(rounds=3)
    carried_out(tmp_path / "run", config, stop_after=1)
    path = tmp_path / "run" / STATE
    content = path.read_bytes()
    random = np.random.default_rng(1)
    damaged = [b"", b"x", content[:-1], content[: len(content) // 2], content[5:]]
    for place in random.integers(0, len(content), 300).tolist():
        damaged.append(content[:place] + bytes([content[place] ^ 1 << int(random.integers(8))]) + content[place + 1 :])
    told = 0
    for one in damaged:
        path.write_bytes(one)
        try:
            RunFolder(tmp_path / "run").go_on()  # some bytes of a zip file mean nothing
        except RunFolderError as error:
            told += 1
            assert "state is damaged" in str(error)
    assert told > 200


def test_a_state_of_another_configuration_is_told(tmp_path):
    carried_out(tmp_path / "run", config_of(rounds=3), stop_after=1)
    with pytest.raises(Exception, match="state is of another configuration"):
        carried_out(tmp_path / "run", config_of(rounds=3, carts=8), resume=True)
    state = RunState.load(tmp_path / "run" / STATE)
    assert state.rounds_done == 1
    with pytest.raises(Exception, match="state is of another configuration"):
        Experiment(config_of(rounds=3), state, LightTask16())


class WideRegression(SoftmaxRegression):
    def __init__(self):
        super().__init__()
        self._weights.append(np.zeros(16, np.float32))


class LightTask16(LightTask):
    def build_learner(self):
        return WideRegression()


class FailsIn(LightTask):
    """Fails at its first, second ... call of a method."""

    def __init__(self, method, call):
        self.calls = call
        self.method = method

    def arrays(self, rows):
        self._count("arrays")
        return super().arrays(rows)

    def starter_rows(self, partition):
        self._count("starter_rows")
        return super().starter_rows(partition)

    def evaluation_rows(self):
        self._count("evaluation_rows")
        return super().evaluation_rows()

    def build_learner(self):
        self._count("build_learner")
        learner = super().build_learner()
        learner.train = self._train
        return learner

    def _train(self, inputs, targets, report):
        self._count("train")

    def _count(self, method):
        self.calls -= method == self.method
        if self.calls <= 0:
            raise ZeroDivisionError("no luck")


@pytest.mark.parametrize(
    ("method", "call"),
    [
        *(("arrays", call) for call in (1, 2, 3, 4, 9, 40)),
        ("starter_rows", 1),
        ("evaluation_rows", 1),
        ("build_learner", 1),
        ("train", 1),
        ("train", 2),
        ("train", 12),
    ],
)
def test_a_task_that_fails_is_told_with_its_place(tmp_path, method, call):
    with pytest.raises(
        TaskError, match=r"The task failed in .*test_lab_runs\.py, line \d+ \(ZeroDivisionError: no luck\)"
    ):
        carry_out(
            config_of(),
            RunFolder(tmp_path / "run"),
            lambda _: None,
            lambda *_: None,
            Stop(),
            task=FailsIn(method, call),
        )
