"""Which data folder a replica gets: a free one, whatever ended the cart that had it before."""

import os
import signal
import subprocess
import sys

import pytest

from cart_common.process.settings import SettingError
from containers.slot import HOLDER, claim, environment_of
from tests.support.processes.programs import ROOT

CLAIM = """
import sys, time
from pathlib import Path
from containers.slot import claim
number, holder = claim(Path(sys.argv[1]), 0, f"host-{sys.argv[2]}")
print(number, flush=True)
time.sleep(100)
"""


class Holder:
    """A process that holds a slot."""

    def __init__(self, folder, name):
        command = [sys.executable, "-c", CLAIM, str(folder), str(name)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)

    @property
    def slot(self):
        return int(self.process.stdout.readline())

    def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture
def start(tmp_path):
    holders = []

    def started(name=0):
        holders.append(Holder(tmp_path, name))
        return holders[-1]

    yield started
    for holder in holders:
        if holder.process.poll() is None:
            holder.end()


def test_carts_that_start_at_once_get_a_slot_each(start):
    holders = [start(name) for name in range(5)]
    assert sorted(holder.slot for holder in holders) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_slot_of_a_cart_that_ended_is_the_next_one_to_be_taken(start, tmp_path, number):
    holders = []
    for name in range(3):
        holders.append(start(name))
        assert holders[-1].slot == name + 1
    (tmp_path / "2" / "key.pem").write_text("kept")
    holders[1].end(number)
    assert start("new").slot == 2
    assert (tmp_path / "2" / "key.pem").read_text() == "kept"
    assert (tmp_path / "2" / HOLDER).read_text() == "host-new\n"
    assert start("more").slot == 4


def test_a_slot_can_be_asked_for_by_number(tmp_path):
    number, holder = claim(tmp_path, 7, "here")
    with holder:
        assert number == 7
        assert (tmp_path / "7" / HOLDER).read_text() == "here\n"
        with pytest.raises(SettingError, match=r"SLOT_NUMBER is 7, but .*/7 is held by a replica that runs"):
            claim(tmp_path, 7, "there")
        assert (tmp_path / "7" / HOLDER).read_text() == "here\n"


def test_a_folder_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="file/1 cannot be used: Not a directory"):
        claim(tmp_path / "file", 0, "here")


def test_slots_are_for_the_carts_user_alone(tmp_path):
    claim(tmp_path, 0, "here")[1].close()
    assert (tmp_path / "1").stat().st_mode & 0o777 == 0o700


def test_the_number_stands_in_the_settings_of_the_cart_and_nowhere_else():
    given = {"CART_STORE": "mongodb://db/cart_<slot>", "BRIDGE_PUBLIC_URL": "ws://<host>:9000", "OTHER": "<slot>"}
    changed = {"CART_STORE": "mongodb://db/cart_12", "BRIDGE_PUBLIC_URL": "ws://here:9000"}
    assert environment_of(12, "here", 0, given) == changed


@pytest.mark.parametrize(("slot", "share"), [(1, "1/3"), (3, "3/3"), (4, "1/3"), (8, "2/3")])
def test_shares_go_round(slot, share):
    assert environment_of(slot, "here", 3, {}) == {"CART_SHARE": share}
    assert environment_of(slot, "here", 3, {"CART_SHARE": "2/9"}) == {"CART_SHARE": "2/9"}


def run(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "containers.slot", *arguments],
        cwd=ROOT,
        env={**os.environ, "SLOT_FOLDER": str(folder), "CART_DATA_DIR": f"{folder}/<slot>", **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_commands_work_on_the_data_of_a_slot(tmp_path):
    done = run(tmp_path, "cart", "export", str(tmp_path / "backup"), SLOT_NUMBER="2")
    assert done.returncode == 2
    assert f"There is no store {tmp_path}/2/cart.db." in done.stderr
    assert "This cart has slot 2." in done.stdout


def test_wrong_settings_are_named(tmp_path):
    done = run(tmp_path, "cart", SLOT_NUMBER="-1")
    assert done.returncode == 2
    assert done.stderr.startswith("slot: SLOT_NUMBER is '-1'; it must be a whole number from 0 to 10000.")


def test_what_is_no_program_is_refused(tmp_path):
    assert run(tmp_path).stderr == "usage: python -m containers.slot bridge|cart ARGUMENTS...\n"
    assert run(tmp_path, "shop").returncode == 2
