"""The ways to start a program: the root ``main.py``, several carts by their numbers, and scripts of one's own."""

from __future__ import annotations

import os
import random
import re
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.processes.programs import LIGHT_TASK, ROOT, RestartableProcess, free_port, get, running, wait_for

from cart_common.process.settings import SettingError
from child_cart import command_line

START = str(ROOT / "main.py")
QUICK = ("--task", LIGHT_TASK, "--starter-rows", "20", "--join-wait-s", "0.1")
BRIDGE_SCRIPT = "from parent_cart.main import *\n\nparent_cart()\n"
CART_SCRIPT = "from child_cart.main import *\n\nmainFunc()\n"


class Started(RestartableProcess):
    """A program that is started in a folder of its own, as a person starts it."""

    def __init__(self, folder: Path, *arguments: str, port: int, **environment: str) -> None:
        folder.mkdir(exist_ok=True)
        super().__init__([*arguments], folder / f"{port}.log", **environment)
        self.cwd = folder
        self.port = port

    def health(self) -> dict[str, Any]:
        """Return what a bridge says of itself, or nothing while it does not answer."""
        with suppress(OSError):
            return dict(get(f"http://127.0.0.1:{self.port}/healthz"))
        return {}

    def status(self) -> dict[str, Any]:
        """Return what a cart says of itself, or nothing while it does not answer."""
        with suppress(OSError):
            return dict(get(f"http://127.0.0.1:{self.port}/api/status"))
        return {}

    def ends_well(self) -> bool:
        """Stop it with SIGTERM and tell whether it ended as it should."""
        return self.stop() == 0 and "Traceback" not in self.log


def bridge(folder: Path, *arguments: str) -> Started:
    port = free_port()
    return Started(folder, *arguments, "--port", str(port), port=port)


def url_of(program: Started) -> str:
    return f"ws://127.0.0.1:{program.port}"


def free_numbers(count: int) -> list[int]:
    """Return numbers of carts whose ports are free: 2 and 3 where these do."""
    numbers = [2, 3, *random.sample(range(4, 1000), 200)]
    free = []
    for number in numbers:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", 5000 + number))
            free.append(number)
    return free[:count]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, START, *arguments], capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ((), "main.py: No program is named. The first word is the program: parent (a bridge), child (a cart) or lab "),
        (("chidl",), "main.py: There is no program 'chidl'. Did you mean child?"),
        (("--port", "9000"), "main.py: There is no program '--port'. The first word is the program"),
        (("parent", "--port", "99999"), "bridge: --port is '99999'; it must be a whole number from 0 to 65535."),
        (("child", "--number", "1000"), "cart: --number is '1000'; it must be a whole number from 0 to 999."),
        (("child", "exprt"), "cart: There is no command 'exprt'. Did you mean export?"),
    ],
)
def test_what_cannot_be_started_gets_one_sentence(words: tuple[str, ...], sentence: str) -> None:
    ended = run(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(sentence)
    assert ended.stderr.count("\n") == 1


def test_help_teaches_which_programs_there_are_and_each_has_its_own() -> None:
    for words in (("--help",), ("-h",)):
        ended = run(*words)
        assert ended.returncode == 0
        assert "python main.py child --number 2" in ended.stdout
    for program, flag in (("parent", "--max-carts"), ("child", "--number")):
        ended = run(program, "--help")
        assert ended.returncode == 0
        assert ended.stdout.startswith(f"usage: main.py {program} ")
        assert flag in ended.stdout


def test_numbered_carts_stand_side_by_side_at_a_bridge(tmp_path: Path) -> None:
    parent = bridge(tmp_path, START, "parent")
    carts = {
        number: Started(
            *(tmp_path, START, "child", "--number", str(number), "--bridge", url_of(parent), *QUICK),
            port=5000 + number,
        )
        for number in free_numbers(2)
    }
    with running(parent, *carts.values()):
        wait_for(parent.health, what="the bridge answering")
        for number, cart in carts.items():
            wait_for(lambda cart=cart: cart.status().get("stage") == "SERVING", what=f"cart {number} serving")
            assert (tmp_path / f"data/cart-{number}/cart.db").exists()
        wait_for(lambda: parent.health()["carts"] == 2, what="both carts being attached")
        assert len({cart.status()["cart_id"] for cart in carts.values()}) == 2
        assert all(cart.ends_well() for cart in carts.values())
        assert parent.ends_well()


def test_the_scripts_of_the_documentation_work_as_written(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert [f"```python\n{script}```" in page for script in (BRIDGE_SCRIPT, CART_SCRIPT)] == [True, True]
    (tmp_path / "a_bridge.py").write_text(BRIDGE_SCRIPT)
    (tmp_path / "a_cart.py").write_text(CART_SCRIPT)
    parent = bridge(tmp_path, "a_bridge.py")
    port = free_port()
    # A script takes its settings from flags and environment, as the programs do.
    cart = Started(
        *(tmp_path, "a_cart.py", "--bridge", url_of(parent), *QUICK), port=port, CART_PORT=str(port), CART_NUMBER="7"
    )
    with running(parent, cart):
        wait_for(lambda: cart.status().get("stage") == "SERVING", what="the cart serving")
        wait_for(lambda: parent.health().get("carts") == 1, what="the cart being attached")
        assert (tmp_path / "data/cart-7/cart.db").exists()
        assert cart.ends_well()
        assert parent.ends_well()


@pytest.mark.parametrize("script", [BRIDGE_SCRIPT, CART_SCRIPT])
def test_a_script_whose_program_cannot_start_ends_with_status_2(script: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", script, "--port", "many"], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert ended.returncode == 2
    assert "--port is 'many'; it must be a whole number" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "environ", "port", "folder"),
    [
        ([], {}, 5001, "data/cart"),
        (["--number", "3"], {}, 5003, "data/cart-3"),
        (["--number", "3", "--port", "80"], {}, 80, "data/cart-3"),
        (["--number", "3", "--data-dir", "mine"], {}, 5003, "mine"),
        (["export", "backup", "--number", "3"], {}, 5003, "data/cart-3"),
        ([], {"CART_NUMBER": "3", "CART_PORT": "80", "CART_DATA_DIR": ""}, 80, "data/cart-3"),
        (["--number", "4"], {"CART_NUMBER": "3", "CART_DATA_DIR": "mine"}, 5004, "mine"),
    ],
)
def test_a_number_gives_a_port_and_a_folder_where_none_is_named(
    argv: list[str], environ: dict[str, str], port: int, folder: str
) -> None:
    _, settings = command_line.read(argv, environ)
    assert (settings.port, settings.data_dir) == (port, folder)


def test_a_number_that_is_none_is_named_with_its_variable() -> None:
    with pytest.raises(SettingError, match=r"CART_NUMBER is '-1'; it must be a whole number from 0 to 999\."):
        command_line.read([], {"CART_NUMBER": "-1"})


def test_the_task_in_the_readme_runs_from_another_folder(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    (source,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len([line for line in source.splitlines() if line.strip()]) <= 30
    (command,) = re.findall(r"^PYTHONPATH=.*$", readme, re.MULTILINE)
    (tmp_path / "machines.py").write_text(source)
    first = free_port()
    # Two carts and one round are enough here, without an installation first and with the Python of this test.
    fewer = f"CARTS=2 ROUNDS=1 PORT={first} PAGES={first + 1} BIN={Path(sys.executable).parent} -o .venv/run.stamp"
    ended = subprocess.run(
        f"{command.replace('~/federated-carts', str(ROOT))} {fewer}",
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path), "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert re.search(r"│ mean of the carts .*│ 0\.\d{3} │ +0\.\d{3} │", ended.stdout)
