"""``python -m lab run`` as a user meets it: help, sentences, exit codes, and processes that are stopped and killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes.programs import LIGHT_TASK

from lab.commands.command_line import main
from lab.commands.start import lab_command, resume_command
from lab.runs.run_folder import STATE
from tests.lab.test_lab_runs import files

ROOT = Path(__file__).parents[2]
FLAGS = ["--task", LIGHT_TASK, "--carts", "5", "--rounds", "12", "--rows", "10", "--partition", "iid", "--loss", "0.1"]


def lab(*arguments):
    command = [sys.executable, "-m", "lab", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    ended = lab("run", *FLAGS, "--out", path)
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr
    assert "round 12 of 12" in ended.stdout
    assert f"Results and plots are in {path}" in " ".join(ended.stdout.split())
    return path


def started(path, *flags):
    """Start a slow run; return the process once it has ended two rounds."""
    command = [sys.executable, "-m", "lab", "run", *map(str, flags)]
    slow = {**os.environ, "LIGHT_TASK_EPOCH_S": "0.01"}
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=slow)
    rounds = 0
    for line in process.stdout:
        rounds += line.startswith("round ")
        if rounds == 2:
            break
    assert rounds == 2, process.stderr.read()
    return process


def test_a_run_that_is_killed_again_and_again_ends_as_one_that_was_not(whole, tmp_path):
    path = tmp_path / "run"
    for flags in ([*FLAGS, "--out", path], ["--resume", path], ["--resume", path]):
        process = started(path, *flags)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ended = lab("run", "--resume", path)
    assert ended.returncode == 0, ended.stderr
    assert files(path) == files(whole)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_a_run_that_goes_on(whole, tmp_path, times):
    path = tmp_path / "run"
    process = started(path, *FLAGS, "--out", path)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    told = f"{out}{error}"
    assert f"-m lab run --resume {path}" in told
    ended = lab("run", "--resume", path)
    assert ended.returncode == 0, ended.stderr
    assert files(path) == files(whole)
    assert not (path / STATE).exists()


def test_the_configuration_of_a_run_runs_again(whole, tmp_path):
    ended = lab("run", "--config", whole / "config.toml", "--out", tmp_path / "again")
    assert ended.returncode == 0, ended.stderr
    assert files(tmp_path / "again") == files(whole)


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("bin/federated-carts", "federated-carts lab"),
        ("/clone/lab/__main__.py", "python -m lab"),
        ("/a clone/main.py lab", "python '/a clone/main.py' lab"),
        ("notebook.py", "python -m lab"),
    ],
)
def test_commands_begin_as_this_one_did(monkeypatch, capsys, name, start):
    monkeypatch.setattr(sys, "argv", [name])
    monkeypatch.setattr(sys, "executable", "/here/bin/python")
    monkeypatch.setattr("shutil.which", lambda program: f"/here/bin/{program}")
    assert resume_command(Path("runs/a b")) == f"{start} run --resume 'runs/a b'"
    assert main(["--help"]) == 0
    assert f"usage: {start} COMMAND" in capsys.readouterr().out
    for command in ("run", "compare", "sweep", "new"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        assert f"usage: {start} {command} " in capsys.readouterr().out


def test_a_python_that_is_on_no_path_is_named_with_its_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setattr(sys, "argv", ["lab/__main__.py"])
    assert lab_command() == ".venv/bin/python -m lab"


def test_help_tells_each_command_and_each_setting(capsys):
    assert main(["--help"]) == 0
    assert "run" in capsys.readouterr().out
    assert main([]) == 2
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["run", "--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for flag in ("--carts", "--partition", "--hostile", "--accept-backward", "--resume", "--config"):
        assert flag in told


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["walk"], "There is no lab command 'walk'"),
        (["run", "--carts", "1"], "--carts is '1'"),
        (["run", "--carts", "many"], "'many'"),
        (["run", "--carst", "3"], "--carst"),
        (["run", "--task", "nonsense"], "There is no task 'nonsense'"),
        (["run", "--task", "no.such:Task"], "'no.such:Task' cannot be loaded"),
        (["run", "--task", LIGHT_TASK, "--topology", "star"], "'star'"),
        (["run", "--task", LIGHT_TASK, "--partition", "dirichlet:x"], "'dirichlet:x'"),
        (["run", "--task", LIGHT_TASK, "--hostile", "2:nan"], "'2:nan'"),
        (["run", "--task", LIGHT_TASK, "--data", "none.csv"], "none.csv"),
        (["run", "--task", LIGHT_TASK, "--partition", "iid", "--engine", "vectorised"], "--engine is 'vectorised'"),
        (["run", "--resume", "none"], "There is no run in none"),
        (["run", "--config", "none.toml"], "none.toml cannot be read"),
        (["run", "--task", LIGHT_TASK, "--partition", "iid", "--out", "/proc/here"], "/proc/here cannot be written"),
        (["run", "--task", "tests.lab.test_lab_commands:Fails", "--partition", "iid"], "ZeroDivisionError: no luck"),
    ],
)
def test_what_is_wrong_is_a_sentence_and_exit_status_2(capsys, arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    told = capsys.readouterr()
    assert sentence in told.err
    assert told.err.startswith("lab: ")
    assert "Traceback" not in told.err


SWEEP = ["sweep", "--task", LIGHT_TASK, "--carts", "3", "--rounds", "1", "--partition", "iid"]


def told_by(capsys, *arguments):
    assert main([*map(str, arguments)]) == 2
    return capsys.readouterr().err


def test_a_sweep_takes_no_run_of_other_settings_for_its_own(capsys, tmp_path):
    assert main([*SWEEP, "--seeds", "1", "--out", str(tmp_path)]) == 0
    assert main([*SWEEP, "--seeds", "1", "--out", str(tmp_path), "--tensorboard", "off"]) == 0
    told = told_by(capsys, *SWEEP, "--seeds", "1", "--out", tmp_path, "--rows", "11")
    assert f"The run in {tmp_path / 'seed-0'} has rows 30, not 11. Name another folder with --out" in told
    told = told_by(capsys, *SWEEP, "--vary", "seed=4,5", "--out", tmp_path)
    assert "--vary seed: seeds vary by --seeds N." in told


def test_a_sweep_loads_all_its_tasks_before_its_first_run(capsys, tmp_path):
    out = tmp_path / "sweep"
    told = told_by(capsys, *SWEEP, "--vary", f"task={LIGHT_TASK},no.such:Task", "--out", out)
    assert "'no.such:Task' cannot be loaded" in told
    assert not out.exists()


def test_a_run_that_goes_on_takes_neither_configuration_nor_folder(capsys, whole, tmp_path):
    assert "--resume goes on in the folder" in told_by(capsys, "run", "--resume", whole, "--out", tmp_path)
    assert "The run has carts 5, not 8" in told_by(capsys, "run", "--resume", whole, "--carts", "8")


def test_runs_that_are_equal_are_not_compared(capsys, whole):
    assert "have the same settings and seed: leave one of them out" in told_by(capsys, "compare", whole, whole)


def test_a_comparison_tells_after_which_round_and_which_runs_have_stopped(capsys, whole, tmp_path):
    cut = tmp_path / "cut"
    cut.mkdir()
    (cut / "config.toml").write_text((whole / "config.toml").read_text().replace("seed = 0", "seed = 1"))
    lines = (whole / "curve.csv").read_text().splitlines(keepends=True)
    (cut / "curve.csv").write_text("".join(lines[:4]))
    assert main(["compare", str(whole), str(cut)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "after round 3 (±" in told
    assert f"{cut} has stopped after round 3 of 12." in told
    (cut / "config.toml").write_text((whole / "config.toml").read_text().replace('"auto"', '"one-by-one"'))
    assert main(["compare", str(whole), str(cut)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "engine one-by-one" in told
    assert "after round 12 (A), 3 (B)" in told


class Fails:
    def __getattr__(self, name):
        from tests.support.carts.light_task import LightTask

        if name == "arrays":
            return _no_luck
        return getattr(LightTask(), name)


def _no_luck(rows):
    raise ZeroDivisionError("no luck")
