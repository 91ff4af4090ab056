"""A container engine, the project's images, and a fleet of ``docker-compose.yml`` in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.support.processes.programs import ROOT, free_port, get
from tests.support.skip_loudly import skip_loudly

LISTS: Final = ("parent_cart/Dockerfile", "child_cart/Dockerfile", "docker-compose.yml")
_BASE: Final = re.compile(r"^(?:FROM| +image:) ([a-z][^\s$]*)", re.MULTILINE)
BASES: Final = tuple(dict.fromkeys(base for name in LISTS for base in _BASE.findall((ROOT / name).read_text())))
"""The images that others publish: that of Python first, then that of MongoDB."""
IMAGES: Final = {
    "BRIDGE_IMAGE": ("federated-carts-bridge:test", "parent_cart/Dockerfile"),
    "CART_IMAGE": ("federated-carts-cart:test", "child_cart/Dockerfile"),
}
START_S: Final = 30.0
PULL_S: Final = 600
BUILD_S: Final = 3600
COMPOSE_S: Final = 300


def run(*command: str, timeout_s: float = 120, **options: Any) -> str:
    """Run a program to its end and return what it printed; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, **options)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}{done.stderr[-4000:]}"
    return done.stdout


def _succeeds(*command: str, timeout_s: float = 60) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=timeout_s).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


class NotHere(Exception):
    """Why there is no engine to test with."""


@contextmanager
def engine(folder: Path) -> Iterator[list[str]]:
    """Have an engine that answers, with the base images, and give the command for compose files.

    Without one that runs, the installed one is started for the length of the block, where that may be done: only root
    can. Without an installed engine the test is left out.
    """
    try:
        with _ready(folder) as compose:
            yield compose
    except NotHere as why:
        skip_loudly("containers", str(why), fails_on_ci=False)


@contextmanager
def _ready(folder: Path) -> Iterator[list[str]]:
    if not shutil.which("docker"):
        raise NotHere("there is no docker here")
    with _answering(folder):
        compose = next((c for c in (["docker", "compose"], ["docker-compose"]) if _succeeds(*c, "version")), None)
        if compose is None:
            raise NotHere("neither docker compose nor docker-compose is there")
        for base in BASES:
            if not _succeeds("docker", "image", "inspect", base) and not _succeeds(
                "docker", "pull", base, timeout_s=PULL_S
            ):
                raise NotHere(f"{base} is not there and cannot be pulled")
        assert compose is not None
        yield compose


@contextmanager
def _answering(folder: Path) -> Iterator[None]:
    if _succeeds("docker", "info"):
        yield
        return
    if not shutil.which("dockerd"):
        raise NotHere("no engine answers, and none is installed")
    if os.geteuid() != 0:
        raise NotHere("no engine answers, and only root can start the one that is installed")
    with open(folder / "dockerd.log", "wb") as log:
        started = subprocess.Popen(["dockerd"], stdout=log, stderr=log, start_new_session=True)
    try:
        give_up_at = time.monotonic() + START_S
        while not _succeeds("docker", "info"):
            if started.poll() is not None or time.monotonic() > give_up_at:
                lines = (folder / "dockerd.log").read_text(errors="replace").splitlines()
                raise NotHere(f"the engine does not start here: {lines[-1] if lines else 'it says nothing'}")
            time.sleep(0.5)
        yield
    finally:
        started.terminate()
        started.wait(60)


def build_images() -> None:
    """Build both images, on the host's network: on some hosts, containers cannot reach the registries."""
    for name, file in IMAGES.values():
        run("docker", "build", "--network", "host", "-t", name, "-f", file, ".", cwd=ROOT, timeout_s=BUILD_S)


def inspect(thing: str) -> dict[str, Any]:
    """Return what the engine says of an image or a container."""
    found: list[dict[str, Any]] = json.loads(run("docker", "inspect", thing))
    return found[0]


class Container:
    """One container of a fleet, running or not."""

    def __init__(self, container_id: str) -> None:
        self.id = container_id

    def exec(self, *command: str) -> str:
        return run("docker", "exec", self.id, *command)

    def state(self) -> dict[str, Any]:
        return dict(inspect(self.id)["State"])

    def end_main_process(self) -> None:
        """Tell process 1 to end, as if it had done so of itself: the engine is to start it again."""
        self.exec("python", "-c", "import os; os.kill(1, 15)")

    def kill(self) -> None:
        run("docker", "kill", self.id)

    def status(self) -> dict[str, Any]:
        """Return what a cart says of itself at its published port, or nothing while it does not answer."""
        try:
            return dict(get(f"{self.url(5001)}/api/status"))
        except (OSError, AssertionError):
            return {}

    def url(self, port: int) -> str:
        """Return the address on this host at which a port of the container is published."""
        return f"http://{run('docker', 'port', self.id, str(port)).split()[0]}"


class ComposedFleet:
    """The fleet of the compose file, under a project name and at ports of its own."""

    def __init__(self, compose: list[str], folder: Path, **settings: str) -> None:
        self.project = f"federated-carts-test-{os.getpid()}"
        nothing = folder / "no-env"
        nothing.write_text("")
        self._compose = [*compose, "--project-name", self.project, "--env-file", str(nothing)]
        first, bridge = free_port(), free_port()
        own = {name: value for name, value in os.environ.items() if not name.startswith(("CART", "BRIDGE", "SLOT"))}
        images = {variable: name for variable, (name, _) in IMAGES.items()}
        ports = {
            "BRIDGE_PORTS": f"{bridge}-{min(bridge + 9, 65535)}",
            "CART_PORTS": f"{first}-{min(first + 40, 65535)}",
        }
        self._environment = {**own, **images, **ports, **settings}

    def compose(self, *arguments: str) -> str:
        return run(*self._compose, *arguments, cwd=ROOT, env=self._environment, timeout_s=COMPOSE_S)

    def up(self, carts: int | None = None, bridges: int = 1) -> None:
        """Start the fleet, with as many carts as the file says where no number is given."""
        scale = [f"parent_cart={bridges}"] + ([] if carts is None else [f"child_cart={carts}"])
        self.compose("up", "-d", "--no-build", *(word for each in scale for word in ("--scale", each)))

    def containers(self, service: str) -> list[Container]:
        """Return all containers of a service, those that do not run as well."""
        labels = {"project": self.project, "service": service}
        words = [word for name, value in labels.items() for word in ("-f", f"label=com.docker.compose.{name}={value}")]
        return [Container(line) for line in run("docker", "ps", "-aq", *words).split()]

    def statuses(self) -> dict[str, dict[str, Any]]:
        """Return what each cart that answers says, by cart id."""
        answers = [cart.status() for cart in self.containers("child_cart")]
        return {answer["cart_id"]: answer for answer in answers if answer}

    def remains(self) -> str:
        """Return what the engine still has of this fleet."""
        mine = ("-q", "-f", f"label=com.docker.compose.project={self.project}")
        volumes, networks = run("docker", "volume", "ls", *mine), run("docker", "network", "ls", *mine)
        return run("docker", "ps", "-a", *mine) + volumes + networks
