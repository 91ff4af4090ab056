"""``lab new`` writes a task that its own test, the lab and a real cart take as it is."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes.programs import ROOT, CartProcess, running, wait_for

from cart_common.process.settings import SettingError
from child_cart.model.partition import Partition
from child_cart.model.task import load_task
from lab.commands.command_line import main
from lab.commands.new_command import CLONE, commands_here
from lab.commands.scaffold import TaskNames, task_files

START = [sys.executable, str(ROOT / "main.py")]
INSTALLED = "import sys\nfrom lab.__main__ import federated_carts\nsys.exit(federated_carts())\n"
TASK = "pump_fault:PumpFault"
QUOTED = '"say ""no""; \\ é"'


def run(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    cleared = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*command], cwd=folder, capture_output=True, text=True, timeout=250, env={**cleared, **environment}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a new task, far from the clone."""
    made = tmp_path_factory.mktemp("own")
    ended = run(made, *START, "lab", "new", "pump-fault")
    assert ended.returncode == 0, ended.stderr
    return made


def test_the_new_package_has_its_own_names_only(folder: Path) -> None:
    files = {path.name: path.read_text() for path in (folder / "pump_fault").iterdir()}
    assert set(files) == {"__init__.py", "README.md", "data.py", "fields.py", "task.py", "test_pump_fault.py"}
    for text in files.values():
        assert not {word for word in ("my_task", "MyTask", "my-task") if word in text}
    assert 'name = "pump-fault"' in files["task.py"]


def test_the_first_commands_of_its_readme_work_at_once(folder: Path) -> None:
    lines = (folder / "pump_fault/README.md").read_text().splitlines()
    test = next(line for line in lines if "unittest" in line)
    lab = next(line for line in lines if " lab run " in line)
    tested = run(folder, "sh", "-c", test)
    assert tested.returncode == 0, tested.stderr
    assert "Ran 4 tests" in tested.stderr
    ended = run(folder, "sh", "-c", f"{lab} --out first --rounds 2")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads((folder / "first/summary.json").read_text())
    assert summary["engine"] == "vectorised"
    assert summary["alone"]["mean"] < summary["federated"]["mean"] < summary["all_data"] + 0.05


def test_the_second_classes_that_the_documents_show_are_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["new", "my-task"]) == 0
    readme, page = Path("my_task/README.md").read_text(), (ROOT / "docs/own-model.md").read_text()
    (second,) = re.findall(r"```python\n(class Second.*?)```", readme, re.DOTALL)
    (wider,) = re.findall(r"```py\n(class Wider.*?)```", page, re.DOTALL)
    with open("my_task/task.py", "a") as file:
        file.write(f"\n\n{second}\n\n{wider}")
    for text, name, layers in ((readme, "my_task.task:Second", 1), (page, "my_task.task:Wider", 2)):
        assert f"--vary task=my_task:MyTask,{name}" in text
        assert len(load_task(name).build_learner().weights()) == 2 * layers


def test_an_installed_command_finds_it_too(folder: Path) -> None:
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    (bin_folder / "federated-carts").write_text(INSTALLED)
    flags = ("--task", TASK, "--carts", "2", "--rounds", "1", "--out", "second")
    ended = run(folder, sys.executable, "bin/federated-carts", "lab", "run", *flags, PYTHONPATH=str(ROOT))
    assert ended.returncode == 0, ended.stderr


def test_a_real_cart_takes_it(folder: Path) -> None:
    cart = CartProcess(folder / "cart", "ws://127.0.0.1:9", "--task", TASK, "--starter-rows", "60")
    cart.cwd = folder
    cart._arguments[:2] = [*START, "child"]
    with running(cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING", what="a cart with the new task")
        assert cart.status()["model"]["value"] > 0.5


def test_a_csv_file_becomes_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = [f"{n},pump-{n},{['good', QUOTED][n % 2]},{n / 8}" for n in range(40)]
    (tmp_path / "mine.csv").write_text("\n".join(['\ufeffHeat, Name ,STATE,"a ""b"""', *lines, ""]))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["new", "csv-fault", "--data", "mine.csv", "--target", "State"]) == 0
    assert "Left out, since not every line has a number there: Name." in capsys.readouterr().out
    task = load_task("csv_fault:CsvFault")
    uses = [task.starter_rows(Partition()), task.evaluation_rows(), task.test_rows()]
    assert [len(rows) for rows in uses] == [28, 4, 8]
    rows = [row for rows in uses for row in rows]
    assert sorted(row["Heat"] for row in rows) == list(range(40))
    assert {row["STATE"] for row in rows} == {"good", 'say "no"; \\ é'}
    assert rows[0]['a "b"'] == rows[0]["Heat"] / 8
    inputs, targets = task.arrays(rows)
    assert abs(inputs.mean()) < 0.1
    assert abs(inputs.std() - 1) < 0.1
    assert sorted(targets.tolist()) == [0] * 20 + [1] * 20


@pytest.mark.parametrize(
    ("lines", "target", "sentence"),
    [
        (["a,b", "1,x", "2,y"], "c", "--target is 'c'; it must be one of a, b."),
        (["a,b", "1,x", "2,x"], "", "The column 'b' has 1 different value; what is learned must have from 2 to 100."),
        (["a,b", *(f"1,{n}" for n in range(101))], "b", "The column 'b' has 101 different values"),
        (["a,b", "nan,x", "2,y"], "", "No column but 'b' has a number in every line"),
        (["a,b", "1"], "", "line 2: it has 1 columns, the first line 2."),
    ],
)
def test_a_csv_file_that_teaches_nothing_is_refused(
    lines: list[str],
    target: str,
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    assert main(["new", "few-lines", "--data", "mine.csv", "--target", target]) == 2
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "few_lines").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("Pump", "is 'Pump'; it must be a letter, then small letters"),
        ("a b", "is 'a b'; it must be"),
        ("../up", "is '../up'; it must be"),
        ("pump--fault", "it must be"),
        ("p" * 41, "no longer than 40 characters"),
        ("class", "class is a word of Python"),
        ("none", "None is a word of Python"),
        ("json", "Python has already a package json"),
        ("keras-task", "KerasTask means something else in a task"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new", name]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["pump_fault", "pump_fault.py"])
def test_nothing_that_is_there_is_written_over(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / there).mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["new", "pump-fault"]) == 2
    assert "There is already a pump_fault in this folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == [there]


def test_names_and_commands_are_put_in_where_the_template_has_its_own() -> None:
    names = TaskNames.of("pump_fault")
    assert names == TaskNames("pump-fault", "pump_fault", "PumpFault")
    template = {"test_my_task.py": "MyTask, my-task\nchild-cart --task my_task:MyTask, a child-cart\n"}
    expected = "PumpFault, pump-fault\nmain.py child --task pump_fault:PumpFault, a child-cart\n"
    assert task_files(template, names, {"child-cart": "main.py child"}) == {"test_pump_fault.py": expected}
    with pytest.raises(SettingError, match="Row means something else"):
        task_files({"task.py": "import Row"}, TaskNames.of("row"), {"child-cart": ""})


def test_an_installation_has_commands_of_its_own() -> None:
    assert commands_here(is_installed=True)["federated-carts lab"] == "federated-carts lab"
    assert commands_here(is_installed=False)["child-cart"].endswith("main.py child")
    assert (CLONE / "main.py").is_file()


def test_an_error_in_the_task_is_told_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken_task.py").write_text(
        "from tests.support.carts.light_task import LightTask\n\n\nclass Broken(LightTask):\n"
        "    def build_learner(self):\n        import no_such_library\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert main(["run", "--task", "broken_task:Broken", "--carts", "2", "--rounds", "1"]) == 2
    told = capsys.readouterr().err
    assert f"lab: The task failed in {tmp_path / 'broken_task.py'}, line 6 (ModuleNotFoundError: No module" in told
    assert "Traceback" not in told
