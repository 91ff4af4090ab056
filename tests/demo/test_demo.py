"""The demo as a user starts it: real processes, from the first line of output to the end of the last process."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from demo.fleet import free_stretch
from tests.support.processes.programs import LIGHT_TASK, ROOT, get, is_running, wait_for


class RunningDemo:
    """A demo of two carts with a light task; its processes are found by the test's folder in their environment."""

    def __init__(self, folder, *arguments, **environment):
        self.folder = folder
        self.port = free_stretch(20000 + os.getpid() % 5000, 4, ())
        ports = ["--bridge-port", str(self.port), "--first-page-port", str(self.port + 1)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo", "--task", LIGHT_TASK, "--carts", "2", *ports, *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "120", "TEST_FOLDER": str(folder), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def below(self):
        """Return the ids of all processes that belong to this demo, except its own."""
        found = set()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                environment = (entry / "environ").read_bytes()
            except OSError:
                continue
            if f"TEST_FOLDER={self.folder}\0".encode() in environment and int(entry.name) != self.process.pid:
                found.add(int(entry.name))
        return {number for number in found if is_running(number)}

    def cart(self, number):
        return get(f"http://127.0.0.1:{self.port + number}/api/status")

    def answers(self, number):
        with suppress(OSError):
            return bool(self.cart(number))
        return False

    def is_learning(self):
        with suppress(OSError):
            return any(self.cart(number)["stage"] in ("STARTING", "TRAINING") for number in (1, 2))
        return False

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path):
    demos = []

    def started(*arguments, **environment):
        demos.append(RunningDemo(tmp_path, *arguments, **environment))
        return demos[-1]

    yield started
    for demo in demos:
        demo.end()
    for number in demos[-1].below() if demos else ():
        os.kill(number, signal.SIGKILL)


def test_two_carts_learn_one_round_and_are_compared(start, tmp_path):
    demo = start("--rounds", "1")
    told, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, told
    assert demo.below() == set()
    assert len(re.findall(r"Round 1: AGGREGATED", told)) == 2, told
    cart = re.search(r"cart 1 .*?(\d+) .*?(\d+) .*?(0\.\d{3}|1\.000) .*?(0\.\d{3}|1\.000)", told.partition("alone")[2])
    rows, averaged, alone, federated = map(float, cart.groups())
    assert (rows, averaged) == (145, 1)  # 100 to start from and 50 bought, of which every tenth is held out
    assert 0.5 < alone <= 1
    assert 0.5 < federated <= 1
    assert "one model on all data" in told
    assert list(tmp_path.iterdir()) == [], "the temporary folder is gone"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_middle_ends_everything(start, tmp_path, number):
    demo = start(LIGHT_TASK_EPOCH_S="1")
    wait_for(demo.is_learning, what="a cart that trains")
    assert len(demo.below()) >= 4  # bridge, carts and at least a trainer
    demo.process.send_signal(number)
    told, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, told
    assert demo.below() == set()
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_before_the_last_round_shows_in_the_exit_status(start):
    demo = start("--rounds", "3", LIGHT_TASK_EPOCH_S="1")
    wait_for(demo.is_learning, what="a cart that trains")
    demo.process.send_signal(signal.SIGINT)
    demo.process.communicate(timeout=60)
    assert demo.process.returncode == 128 + signal.SIGINT


def test_killed_it_leaves_no_process(start):
    demo = start(LIGHT_TASK_EPOCH_S="1")
    wait_for(demo.is_learning, what="a cart that trains")
    demo.process.kill()
    wait_for(lambda: not demo.below(), 60, "the end of all processes")


def test_a_cart_that_dies_is_reported_and_the_others_go_on(start, tmp_path):
    demo = start("--rounds", "2", "--carts", "3", LIGHT_TASK_EPOCH_S="0.1")
    wait_for(demo.is_learning, 60, "a cart that trains")
    wait_for(lambda: demo.answers(2), what="the page of cart 2")
    victim = demo.cart(2)
    (number,) = [
        number
        for number in demo.below()
        if "cart-2" in (words := Path(f"/proc/{number}/cmdline").read_text()) and "child_cart/main.py" in words
    ]
    os.kill(number, signal.SIGKILL)
    told, _ = demo.process.communicate(timeout=90)
    assert demo.process.returncode == 0, told
    assert "Cart 2 ended by SIGKILL" in told, told
    assert demo.below() == set()
    assert victim["cart_id"]
    (kept,) = tmp_path.iterdir()
    assert f"kept in {kept}" in told


def test_a_taken_port_is_named(start):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        taken = other.getsockname()[1]
        for flag, words in (("--bridge-port", "make run PORT="), ("--first-page-port", "make run PAGES=")):
            demo = start(flag, str(taken))
            told, _ = demo.process.communicate(timeout=20)
            assert demo.process.returncode == 2
            assert f"Port {taken}, for" in told
            assert words in told
            assert told.count("\n") == 1, told


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--carts", "1"], "--carts is '1'; it must be a whole number from 2 to 64."),
        (["--task", "chess"], "There is no task 'chess'"),
        (["--first-page-port", "65535"], "the last one is 65535"),
        (["--bridge-port", "7001", "--first-page-port", "7000"], "is one of the carts' ports 7000 to 7001"),
        (["--folder", "."], "it must be a new or an empty folder"),
    ],
)
def test_wrong_settings_are_named(start, arguments, words):
    demo = start(*arguments)
    told, _ = demo.process.communicate(timeout=20)
    assert demo.process.returncode == 2
    assert words in told
    assert told.count("\n") == 1, told
