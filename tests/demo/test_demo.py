"""The demo as a user starts it: real processes, from the first line of output to the end of the last process."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from pathlib import Path
from statistics import mean

import pytest

from demo.fleet import free_stretch
from tests.support.processes.programs import LIGHT_TASK, ROOT, get, is_running, wait_for

TURN_TASK = "tests.support.carts.light_task:TurnTask"


class RunningDemo:
    """A demo of two carts with a light task; its processes are found by the test's folder in their environment."""

    def __init__(self, folder, *arguments, terminal=None, **environment):
        self.folder = folder
        self.results = folder.with_name(f"{folder.name}-results")
        self.port = free_stretch(20000 + os.getpid() % 5000, 4, ())
        places = ["--bridge-port", str(self.port), "--first-page-port", str(self.port + 1)]
        places += ["--results", str(self.results)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "demo", "--task", LIGHT_TASK, "--carts", "2", *places, *arguments],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "120", "TEST_FOLDER": str(folder), **environment},
            stdout=subprocess.PIPE if terminal is None else terminal,
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

    def running(self, words):
        """Return the ids of the processes of this demo whose command line has these words."""
        found = set()
        for number in self.below():
            with suppress(OSError):  # it has ended meanwhile
                if words in Path(f"/proc/{number}/cmdline").read_text():
                    found.add(number)
        return found

    def has_ended(self, rounds):
        with suppress(OSError):
            return all(self.cart(number)["rounds_ended"] >= rounds for number in (1, 2))
        return False

    def summary(self):
        """Return the summary that was saved."""
        (page,) = self.results.glob("*.md")
        assert page.read_text().startswith("# What the carts have learned")
        return json.loads(page.with_suffix(".json").read_text())

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
        if self.process.stdout is not None:
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
    # Whichever cart begins first and gives the other one its model, both average.
    demo = start("--rounds", "1", CART_ACCEPT_BACKWARD="100", CART_ACCEPT_FORWARD="100")
    told, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, told
    assert demo.below() == set()
    assert len(re.findall(r"Round 1: AGGREGATED", told)) == 2, told
    cart = re.search(
        r"cart 1 .*?(\d+) .*?(\d+) .*?(0\.\d{3}|1\.000) .*?(0\.\d{3}|1\.000)", told.partition("learned:")[2]
    )
    rows, averaged, alone, federated = map(float, cart.groups())
    assert (rows, averaged) == (145, 1)  # 100 to start from and 50 bought, of which every tenth is held out
    assert 0.5 < alone <= 1
    assert 0.5 < federated <= 1
    assert "one model on all data" in told
    assert list(tmp_path.iterdir()) == [], "the temporary folder is gone"
    assert "all 2 carts are attached" in told
    assert re.search(r"Accuracy after round 1, mean of 2 carts, on 100 rows never seen: alone 0.\d+, federated", told)
    summary = demo.summary()
    assert f"Saved as {demo.results}" in told
    saved = {"number": 1, "rows": 145, "rounds": 1, "averaged": 1, "alone": alone, "federated": federated, "ending": ""}
    assert summary["carts"][0] == saved
    assert summary["rounds"][-1]["round"] == 1
    assert summary["rounds"][-1]["federated"] == mean(cart["federated"] for cart in summary["carts"])


def test_ctrl_c_ends_with_a_summary_also_without_a_number_of_rounds(start, tmp_path):
    demo = start()
    wait_for(lambda: demo.has_ended(1), 60, "a round of both carts")
    demo.process.send_signal(signal.SIGINT)
    told, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, told
    assert "one model on all data" in told
    assert all(cart["averaged"] >= 1 and cart["federated"] > 0.5 for cart in demo.summary()["carts"])
    assert demo.below() == set()
    assert list(tmp_path.iterdir()) == []


def test_a_second_ctrl_c_ends_without_the_summary(start, tmp_path):
    demo = start()
    wait_for(lambda: demo.has_ended(1), 60, "a round of both carts")
    wait_for(lambda: demo.running("demo.references"), what="the process that measures")
    for number in demo.running("demo.references"):
        os.kill(number, signal.SIGSTOP)  # so it never answers
    demo.process.send_signal(signal.SIGINT)
    wait_for(lambda: not demo.running("child_cart/main.py"), what="the end of the carts")
    demo.process.send_signal(signal.SIGINT)
    told, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, told
    assert "Ended without the summary." in told
    assert "Traceback" not in told
    assert not demo.results.exists()
    assert demo.below() == set()
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_before_the_first_round_has_ended_gives_no_summary(start):
    demo = start(LIGHT_TASK_EPOCH_S="1")
    wait_for(demo.is_learning, what="a cart that trains")
    demo.process.send_signal(signal.SIGINT)
    told, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, told
    assert "No round has ended, so there is no summary." in told
    assert not demo.results.exists()


def test_carts_go_on_when_nothing_more_is_measured(start):
    demo = start("--rounds", "2")
    wait_for(lambda: demo.running("demo.references"), 60, "the process that measures")
    for number in demo.running("demo.references"):
        os.kill(number, signal.SIGKILL)
    told, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 1, told
    assert len(re.findall(r"Round 2: AGGREGATED", told)) == 2, told
    assert "demo: The models could not be compared: " in told
    assert "Traceback" not in told


def write_turns(path, count):
    rows = "".join(f"{place / count:.4f},{place * 3 // count}\n" for place in range(count))
    path.write_text("Turn,third\n" + rows)
    return path


def test_a_task_of_ones_own_learns_from_a_csv_file(start, tmp_path):
    data = write_turns(tmp_path.with_name(f"{tmp_path.name}.csv"), 500)
    demo = start("--task", TURN_TASK, "--data", str(data), "--rounds", "1")
    told, _ = demo.process.communicate(timeout=60)
    assert demo.process.returncode == 0, told
    summary = demo.summary()
    assert (summary["data"], summary["test_rows"]) == (str(data), 100)
    for cart in summary["carts"]:
        assert cart["rows"] == 145
        # The file is sorted: a cart alone sees half of the ring.
        assert cart["alone"] < cart["federated"]


def test_in_a_terminal_of_80_columns(start):
    own, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    demo = start("--rounds", "1", terminal=terminal, TERM="xterm", COLUMNS="", LINES="")
    os.close(terminal)
    told = b""
    with suppress(OSError):  # the demo has closed its side
        while piece := os.read(own, 65536):
            told += piece
    os.close(own)
    assert demo.process.wait(60) == 0
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b\][^\x1b]*\x1b\\\\", "", told.decode()).splitlines()
    assert any("Starting 2 carts: " in line for line in lines)
    assert any("on 100 rows never seen:" in line for line in lines)
    assert any(re.search(r"alone \S+ 0\.\d{3} +federated \S+ 0\.\d{3} +all data \S+ 0\.\d{3}", line) for line in lines)
    assert any("one model on all data" in line for line in lines)


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
    (number,) = demo.running("child_cart/main.py") & demo.running("cart-2")
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


def test_a_csv_file_that_is_too_short_is_named(start, tmp_path):
    data = write_turns(tmp_path.with_name(f"{tmp_path.name}.csv"), 19)
    demo = start("--task", TURN_TASK, "--data", str(data))
    told, _ = demo.process.communicate(timeout=20)
    assert demo.process.returncode == 2
    assert told.startswith(f"demo: {data} has 19 rows; 2 carts need at least 20.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--carts", "1"], "--carts is '1'; it must be a whole number from 2 to 64."),
        (["--task", "chess"], "There is no task 'chess'"),
        (["--first-page-port", "65535"], "the last one is 65535"),
        (["--bridge-port", "7001", "--first-page-port", "7000"], "is one of the carts' ports 7000 to 7001"),
        (["--task", TURN_TASK], "has no starter rows for any cart, so there is nothing to learn from. Give a CSV file"),
        (["--data", "/none.csv"], "/none.csv cannot be read: No such file"),
        (["--data", "/dev/null"], "/dev/null is empty"),
        (["--folder", "."], "it must be a new or an empty folder"),
    ],
)
def test_wrong_settings_are_named(start, arguments, words):
    demo = start(*arguments)
    told, _ = demo.process.communicate(timeout=20)
    assert demo.process.returncode == 2
    assert words in told
    assert told.count("\n") == 1, told
