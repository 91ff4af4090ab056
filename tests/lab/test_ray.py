"""A run on a Ray cluster gives the numbers of one process, also when the cluster loses machines."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest
from support.processes.programs import ROOT

from child_cart.model.arrays import Weights
from child_cart.model.trainer_commands import Train
from lab.commands.command_line import main
from lab.engines.one_by_one import OneByOne
from lab.engines.ray_cluster import ClusterLostError

LIGHT = ("--task", "support.carts.light_task:LightTask", "--carts", "12", "--partition", "iid")
SMALL = ("--task", "digits", "--carts", "70", "--rounds", "2", "--churn", "0.1", "--seed", "3")
needs_ray = pytest.mark.needs("ray")


@dataclass(frozen=True)
class Nodes:
    """A cluster of two nodes, which is its own process."""

    address: str
    raylets: list[int]

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--engine", "ray", "--ray-address", self.address)


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    command = [sys.executable, "-m", "support.processes.ray_nodes"]
    with subprocess.Popen(command, env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        try:
            yield Nodes(**json.loads(cluster.stdout.readline()))
        finally:
            cluster.stdin.close()
            cluster.wait(60)


def environ() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "1000"}


def lab(*words: str | Path, status: int = 0) -> str:
    """Carry out a command of the laboratory in a process of its own; return what it says."""
    return ended(begun(*words), status)


def begun(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lab", *map(str, words)]
    return subprocess.Popen(command, env=environ(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process: subprocess.Popen[str], status: int = 0) -> str:
    said, _ = process.communicate(timeout=250)
    assert process.returncode == status, said
    return said


def numbers(folder: Path) -> str:
    return (folder / "rounds.csv").read_text()


def rounds_done(folder: Path) -> int:
    curve = folder / "curve.csv"
    return len(curve.read_text().splitlines()) - 1 if curve.exists() else 0


def after_rounds(count: int, folder: Path, run: subprocess.Popen[str]) -> None:
    while rounds_done(folder) < count:
        assert run.poll() is None, run.communicate()
        time.sleep(0.02)


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return children + [one for child in children for one in descendants(child)]


def kill_node(raylet: int) -> None:
    """Kill a node's raylet and all processes that it has begun, as when its machine loses power."""
    for pid in (raylet, *descendants(raylet)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def workers_of(raylet: int) -> list[int]:
    return [pid for pid in descendants(raylet) if b"RayWorker" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def listening() -> set[str]:
    """Return the addresses on which Ray's processes listen, as /proc/net/tcp writes them."""
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                sockets[words[9]] = words[1].partition(":")[0]
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray" not in (process / "cmdline").read_bytes():
                continue
            for descriptor in (process / "fd").iterdir():
                inode = os.readlink(descriptor).removeprefix("socket:[").removesuffix("]")
                if inode in sockets:
                    found.add(sockets[inode])
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


@needs_ray
def test_two_nodes_give_the_numbers_of_one_process_where_models_are_trained_side_by_side(nodes, tmp_path):
    lab("run", *SMALL, "--engine", "vectorised", "--out", tmp_path / "one")
    said = lab("run", *SMALL, *nodes.flags, "--out", tmp_path / "two")
    assert "ray (2 workers on 2 nodes), vectorised" in said
    assert numbers(tmp_path / "two") == numbers(tmp_path / "one")
    said = lab("compare", tmp_path / "one", tmp_path / "two")
    assert "B" not in said.split("KB")[0].split(), "the engine is no difference"


@needs_ray
def test_two_nodes_give_the_numbers_of_one_process_where_models_are_trained_one_by_one(nodes, tmp_path):
    lab("run", *LIGHT, "--rounds", "3", "--out", tmp_path / "one")
    said = lab("run", *LIGHT, "--rounds", "3", *nodes.flags, "--out", tmp_path / "two")
    assert "ray (2 workers on 2 nodes), one-by-one" in said
    assert numbers(tmp_path / "two") == numbers(tmp_path / "one")


@needs_ray
def test_a_run_goes_on_when_a_node_is_killed(nodes, tmp_path):
    lab("run", *LIGHT, "--rounds", "150", "--out", tmp_path / "one")
    run = begun("run", *LIGHT, "--rounds", "150", *nodes.flags, "--out", tmp_path / "two")
    after_rounds(3, tmp_path / "two", run)
    kill_node(nodes.raylets[1])
    said = ended(run)
    assert "A worker of the Ray cluster has gone (" in said
    assert "Workers that go on: 1." in said
    assert numbers(tmp_path / "two") == numbers(tmp_path / "one")


@needs_ray
def test_a_run_without_workers_ends_with_a_sentence_and_goes_on_later(nodes, tmp_path):
    lab("run", *LIGHT, "--rounds", "150", "--out", tmp_path / "one")
    run = begun("run", *LIGHT, "--rounds", "150", *nodes.flags, "--out", tmp_path / "two")
    after_rounds(3, tmp_path / "two", run)
    for raylet in nodes.raylets:
        for worker in workers_of(raylet):
            os.kill(worker, signal.SIGKILL)
    said = ended(run, status=2)
    assert "The last worker of the Ray cluster has gone" in said
    assert "Traceback" not in said
    assert 0 < rounds_done(tmp_path / "two") < 150
    lab("run", "--resume", tmp_path / "two", "--engine", "one-by-one")
    assert numbers(tmp_path / "two") == numbers(tmp_path / "one")


@needs_ray
def test_the_runs_of_a_sweep_are_spread_and_give_the_numbers_of_one_process(nodes, tmp_path):
    sweep = ("sweep", *LIGHT, "--rounds", "3", "--seeds", "2", "--vary", "aggregator=uniform,accuracy")
    lab(*sweep, "--out", tmp_path / "one")
    lab(*sweep, *nodes.flags, "--out", tmp_path / "two")
    runs = sorted(path.parent.name for path in (tmp_path / "one").glob("*/config.toml"))
    assert len(runs) == 4
    for name in runs:
        assert numbers(tmp_path / "two" / name) == numbers(tmp_path / "one" / name)
    assert lab(*sweep, *nodes.flags, "--out", tmp_path / "two").count("federated 0.") == 0, "each runs only once"


@needs_ray
def test_a_cluster_of_ones_own_listens_on_the_loopback_address_alone(tmp_path):
    run = begun("run", *LIGHT, "--rounds", "100", "--engine", "ray", "--out", tmp_path / "run")
    after_rounds(1, tmp_path / "run", run)
    heard = listening()
    ended(run)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert heard & loopback
    assert heard <= loopback


@needs_ray
@pytest.mark.parametrize(("address", "reason"), [("127.0.0.1:1", "refused"), ("cluster", "must be HOST:PORT")])
def test_a_cluster_that_is_not_there_is_a_sentence(address, reason, tmp_path):
    said = lab("run", *LIGHT, "--engine", "ray", "--ray-address", address, "--out", tmp_path / "run", status=2)
    assert said.startswith("lab: --ray-address is")
    assert reason in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("call", [7, 8, 9])
def test_an_engine_that_is_lost_anywhere_in_a_run_ends_it_with_its_sentence(call, tmp_path, monkeypatch, capsys):
    run = ["run", *LIGHT, "--rounds", "4", "--out"]
    assert main([*run, str(tmp_path / "one")]) == 0
    calls, train = count(), OneByOne.train

    def lost(engine: OneByOne, wanted: Sequence[Train]) -> list[Weights]:
        if next(calls) == call:
            raise ClusterLostError("All have gone.")
        return train(engine, wanted)

    with monkeypatch.context() as patched:
        patched.setattr(OneByOne, "train", lost)
        assert main([*run, str(tmp_path / "two")]) == 2
    assert capsys.readouterr().err == "lab: All have gone.\n"
    assert 0 < rounds_done(tmp_path / "two") < 4
    assert main(["run", "--resume", str(tmp_path / "two")]) == 0
    assert numbers(tmp_path / "two") == numbers(tmp_path / "one")


def test_without_ray_a_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["run", *LIGHT, "--engine", "ray", "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "--engine ray needs a package" in said
    assert "pip install 'federated-carts[ray]'" in said
    assert not (tmp_path / "run").exists()
