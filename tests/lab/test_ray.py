"""A run on a Ray cluster gives the numbers of one process, also when the cluster loses machines."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from support.processes.programs import LIGHT_TASK, ROOT

from child_cart.model.arrays import Weights
from child_cart.model.trainer_commands import Train
from lab.commands.command_line import main
from lab.engines import ray_cluster
from lab.engines.one_by_one import OneByOne
from lab.engines.ray_cluster import ClusterLostError

LIGHT = ("--task", LIGHT_TASK, "--carts", "12", "--partition", "iid")
ROUNDS = 80
"""Enough that a run which has ended three rounds has many before it."""
SMALL = ("--task", "digits", "--carts", "70", "--rounds", "2", "--churn", "0.1", "--seed", "3")
needs_ray = pytest.mark.needs("ray")


class Nodes:
    """A cluster of two nodes, which is its own process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        found = json.loads(process.stdout.readline())
        self.raylets: list[int] = found["raylets"]
        self.flags = ("--engine", "ray", "--ray-address", found["address"])

    def add(self) -> int:
        """Add a node; return its raylet."""
        print(file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    command = [sys.executable, "-m", "support.processes.ray_nodes"]
    with subprocess.Popen(command, env=environ(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cluster:
        begun: set[int] = set()
        try:
            yield Nodes(cluster)
            begun = set(descendants(cluster.pid))
        finally:
            cluster.stdin.close()
            cluster.wait(60)
    assert not running_of(begun), "the cluster has left processes behind"


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run in one process, with models that are trained one by one."""
    folder = tmp_path_factory.mktemp("one") / "run"
    lab("run", *LIGHT, "--rounds", str(ROUNDS), "--out", folder)
    return folder


def environ() -> dict[str, str]:
    paths = [str(ROOT), str(ROOT / "tests"), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "COLUMNS": "1000", "PYTHONFAULTHANDLER": "1"}


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


def read(path: str) -> bytes:
    """Return the content of a file of a process; nothing if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(path).read_bytes()
    return b""


def descendants(pid: int) -> list[int]:
    children = [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]
    return children + [one for child in children for one in descendants(child)]


def kill_node(raylet: int) -> None:
    """Kill a node's raylet and all processes that it has begun, as when its machine loses power."""
    for pid in (raylet, *descendants(raylet)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def processes_of(raylet: int, what: bytes) -> list[int]:
    """Return the processes of a node that compute this."""
    return [pid for pid in descendants(raylet) if what in read(f"/proc/{pid}/cmdline")]


def running_of(processes: Collection[int]) -> set[int]:
    """Return those that still run: one that has ended, and that nobody has waited for, does not."""
    states = {pid: read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[:1] for pid in processes}
    return {pid for pid, state in states.items() if state not in ([], [b"Z"])}


def listening(processes: Collection[int]) -> set[str]:
    """Return the addresses on which these processes listen, as /proc/net/tcp writes them."""
    sockets = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A":
                sockets[f"socket:[{words[9]}]"] = words[1].partition(":")[0]
    found = set()
    for pid in processes:
        with suppress(FileNotFoundError, ProcessLookupError):
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(FileNotFoundError, ProcessLookupError):
                    found.add(sockets.get(os.readlink(descriptor), ""))
    return found - {""}


@needs_ray
def test_two_nodes_give_the_numbers_of_one_process_where_models_are_trained_side_by_side(nodes, tmp_path, capsys):
    lab("run", *SMALL, "--out", tmp_path / "one")
    said = lab("run", *SMALL, *nodes.flags, "--out", tmp_path / "two")
    assert "ray (2 workers on 2 nodes), vectorised" in said
    assert numbers(tmp_path / "two") == numbers(tmp_path / "one")
    assert main(["compare", str(tmp_path / "one")]) == 0
    assert main(["compare", str(tmp_path / "one"), str(tmp_path / "two")]) == 2
    assert "have the same settings and seed" in capsys.readouterr().err, "the engine is no difference"


@needs_ray
def test_a_run_without_workers_ends_with_a_sentence_and_goes_on_later(nodes, one, tmp_path):
    run = begun("run", *LIGHT, "--rounds", str(ROUNDS), *nodes.flags, "--out", tmp_path / "two")
    after_rounds(3, tmp_path / "two", run)
    for raylet in nodes.raylets:
        for worker in processes_of(raylet, b"RayWorker"):
            os.kill(worker, signal.SIGKILL)
    said = ended(run, status=2)
    assert "ray (2 workers on 2 nodes), one-by-one" in said
    assert "The last worker of the Ray cluster has gone" in said
    assert "Traceback" not in said
    assert 0 < rounds_done(tmp_path / "two") < ROUNDS
    lab("run", "--resume", tmp_path / "two", "--engine", "one-by-one")
    assert numbers(tmp_path / "two") == numbers(one)


@needs_ray
def test_the_runs_of_a_sweep_are_spread_and_give_the_numbers_of_one_process(nodes, tmp_path, capsys):
    sweep = ("sweep", *LIGHT, "--rounds", "3", "--seeds", "2", "--vary", "aggregator=uniform,accuracy")
    assert main([*sweep, "--out", str(tmp_path / "one")]) == 0
    sweeping, busy = begun(*sweep, *nodes.flags, "--out", tmp_path / "two"), set()
    while sweeping.poll() is None:
        busy |= {raylet for raylet in nodes.raylets if processes_of(raylet, b"carry_out_there")}
        time.sleep(0.02)
    ended(sweeping)
    assert busy == set(nodes.raylets), "each node has had runs"
    runs = sorted(path.parent.name for path in (tmp_path / "one").glob("*/config.toml"))
    assert len(runs) == 4
    for name in runs:
        assert numbers(tmp_path / "two" / name) == numbers(tmp_path / "one" / name)
    assert lab(*sweep, *nodes.flags, "--out", tmp_path / "two").count("federated 0.") == 0, "each runs only once"


@needs_ray
def test_a_run_goes_on_when_a_node_is_killed(nodes, one, tmp_path):
    third = nodes.add()
    run = begun("run", *LIGHT, "--rounds", str(ROUNDS), *nodes.flags, "--out", tmp_path / "two")
    after_rounds(3, tmp_path / "two", run)
    kill_node(third)
    said = ended(run)
    assert "ray (3 workers on 3 nodes), one-by-one" in said
    assert "A worker of the Ray cluster has gone (" in said
    assert "Workers that go on: 2." in said
    assert numbers(tmp_path / "two") == numbers(one)


@needs_ray
def test_a_cluster_of_ones_own_listens_on_the_loopback_address_alone_and_ends_with_its_run(tmp_path):
    run = begun("run", *LIGHT, "--rounds", "1000", "--engine", "ray", "--out", tmp_path / "run")
    after_rounds(1, tmp_path / "run", run)
    processes = descendants(run.pid)
    heard = listening(processes)
    run.send_signal(signal.SIGINT)
    ended(run, status=130)
    loopback = {"0100007F", "0000000000000000FFFF00000100007F"}
    assert heard & loopback
    assert heard <= loopback
    assert processes
    assert not running_of(processes)


def refusal(address: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the sentence with which a run refuses an address of a cluster."""
    assert main(["run", *LIGHT, "--engine", "ray", "--ray-address", address, "--out", str(folder)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("lab: --ray-address is")
    assert said.count("\n") == 1
    assert not folder.exists()
    return said


@needs_ray
@pytest.mark.parametrize(("address", "reason"), [("127.0.0.1:1", "refused"), ("cluster", "must be HOST:PORT")])
def test_a_cluster_that_is_not_there_is_a_sentence(address, reason, tmp_path, capsys):
    assert reason in refusal(address, tmp_path / "run", capsys)


@needs_ray
@pytest.mark.parametrize(
    ("answer", "reason"), [(None, "timed out"), (b"", "another program"), (b"HTTP/1.1 400 Bad", "another program")]
)
def test_a_port_of_another_program_is_a_sentence(answer, reason, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(ray_cluster, "CONNECT_S", 0.2)

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            if answer is None:
                is_told.wait(60)
            else:
                connection.sendall(answer)

    is_told = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            assert reason in refusal(f"127.0.0.1:{server.getsockname()[1]}", tmp_path / "run", capsys)
        finally:
            is_told.set()
            thread.join()


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
