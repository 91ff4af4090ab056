"""The runs of a sweep in several processes: the numbers of one process, and an end after the present round."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes.programs import LIGHT_TASK

from lab.commands.command_line import main
from lab.config import RunConfig
from lab.runs.run_folder import CURVE, RunFolder
from lab.runs.running import Stop
from lab.runs.sweep import planned
from lab.runs.sweep_processes import RunProcessError, carry_out_in_processes
from tests.lab.test_lab_runs import files
from tests.support.carts.light_task import LightTask

ROOT = Path(__file__).parents[2]
FLAGS = ("--task", LIGHT_TASK, "--carts", "4", "--rows", "10", "--partition", "iid", "--vary", "topology=ring,full")


class Killed(LightTask):
    """Ends the process that builds its learner."""

    def build_learner(self):
        os.kill(os.getpid(), signal.SIGKILL)


def rounds_in(folder):
    path = folder.path / CURVE
    return max(0, path.read_text().count("\n") - 1) if path.exists() else 0


def test_runs_in_processes_give_the_numbers_of_one_process(tmp_path, capsys):
    told = {}
    for jobs in ("1", "2"):
        words = ["sweep", *FLAGS, "--rounds", "2", "--seeds", "2", "--jobs", jobs, "--out", str(tmp_path / jobs)]
        assert main(words) == 0
        told[jobs] = capsys.readouterr().out
    names = [path.name for path in (tmp_path / "1").iterdir() if path.is_dir()]
    assert len(names) == 4
    for name in names:
        assert files(tmp_path / "1" / name) == files(tmp_path / "2" / name)
        assert f"{name}: federated " in told["2"]
    words = ["sweep", *FLAGS, "--rounds", "2", "--seeds", "2", "--jobs", "2", "--out", str(tmp_path / "2")]
    assert main(words) == 0
    assert ": federated " not in capsys.readouterr().out, "each runs only once"


def test_ctrl_c_ends_all_runs_after_their_round_and_they_go_on(tmp_path, capsys):
    out = tmp_path / "stopped"
    words = ["sweep", *FLAGS, "--rounds", "40", "--seeds", "1", "--jobs", "2", "--out"]
    slow = {**os.environ, "LIGHT_TASK_EPOCH_S": "0.05"}
    command = [sys.executable, "-m", "lab", *words, str(out)]
    process = subprocess.Popen(
        command, cwd=ROOT, env=slow, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    folders = [RunFolder(out / f"topology-{name}_seed-0") for name in ("ring", "full")]
    try:
        while not all(map(rounds_in, folders)):
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.05)
        os.killpg(process.pid, signal.SIGINT)
        told, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, error
    assert not error
    assert "Stopped. The same command goes on." in told
    assert all(0 < rounds_in(folder) < 40 for folder in folders)
    assert main([*words, str(out)]) == 0
    assert main([*words[:-3], "--out", str(tmp_path / "whole")]) == 0
    for folder in folders:
        assert files(folder.path) == files(tmp_path / "whole" / folder.path.name)


def test_a_process_that_is_killed_is_told(tmp_path):
    config = {"task": f"{__name__}:Killed", "carts": 3, "rows": 10, "partition": "iid"}
    with pytest.raises(RunProcessError, match=r"in the middle of a run .* The same command goes on"):
        list(carry_out_in_processes(planned(RunConfig.of(config), {}, 2, tmp_path), 2, Stop()))


@pytest.mark.parametrize(
    ("flags", "sentence"), [(["--jobs", "0"], "--jobs is 0"), (["--jobs", "2", "--engine", "ray"], "--jobs is of one")]
)
def test_jobs_that_cannot_be_are_told(flags, sentence, tmp_path, capsys):
    assert main(["sweep", *FLAGS, *flags, "--out", str(tmp_path)]) == 2
    assert sentence in capsys.readouterr().err
