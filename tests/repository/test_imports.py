"""The network side stays light: neither it nor the bridge pulls in what only learning, pages or stores need."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"tensorflow", "keras", "numpy", "cv2", "flask", "pymongo"}
OF_AIOHTTP = {"aiohappyeyeballs"}
"""What carts import themselves and bridges have because aiohttp needs it."""

SCRIPT = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
found = [entry.name for entry in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
for name in found:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(found), *sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.mark.parametrize(
    ("package", "fewest"),
    [("cart_common", 19), ("child_cart.network", 8), ("child_cart.transfers", 11), ("parent_cart", 25)],
)
def test_importing_every_module_loads_nothing_heavy(package: str, fewest: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, package], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    count, *loaded = ended.stdout.split()
    assert int(count) >= fewest
    assert HEAVY.isdisjoint(loaded)


def test_the_laboratory_imports_at_first_use_what_computes_and_draws() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, "lab"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    count, *loaded = ended.stdout.split()
    assert int(count) >= 7
    assert {"tensorflow", "keras", "jax", "matplotlib", "sklearn", "flask"}.isdisjoint(loaded)


REFUSING = """
import importlib, pkgutil, sys

class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in refused:
            raise ImportError(f"{name} must not be needed")

folder, *refused = sys.argv[1:]
sys.meta_path.insert(0, Refusal())
sys.path[0] = folder
for entry in [entry for entry in pkgutil.walk_packages([folder]) if not entry.name.endswith("__main__")]:
    module = importlib.import_module(entry.name)
    assert module.__file__.startswith(folder), module.__file__
    print(entry.name)
"""


def image_of(program: str, folder: Path) -> set[str]:
    """Copy the source that a program's image holds; return the packages in it."""
    lines = re.findall(r"^COPY (?!--)(.+) ([\w/]+)$", (ROOT / program / "Dockerfile").read_text(), re.MULTILINE)
    for sources, place in lines:
        if place.startswith("/"):  # a list of requirements
            continue
        for source in map(Path, sources.split()):
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                (folder / place).mkdir(exist_ok=True)
                shutil.copy(ROOT / source, folder / place)
    return {path.name for path in folder.iterdir()}


def required_by(program: str) -> set[str]:
    """Return the names of the distributions that a program's list of requirements installs on this machine."""
    lines = (ROOT / program / "requirements.txt").read_text().splitlines()
    listed = [Requirement(text) for line in lines if (text := line.partition("#")[0].strip())]
    return {entry.name for entry in listed if entry.marker is None or entry.marker.evaluate()}


@cache
def distributions() -> dict[str, set[str]]:
    """Return, for each top-level module that is installed, the names of the distributions that bring it."""
    return {
        module: {name.lower().replace("_", "-") for name in names} for module, names in packages_distributions().items()
    }


def only_of_carts() -> set[str]:
    """Return the top-level modules that a cart's requirements bring and a bridge's do not."""
    only = required_by("child_cart") - required_by("parent_cart") - OF_AIOHTTP
    return {module for module, names in distributions().items() if names & only}


def test_the_image_of_a_bridge_imports_without_what_carts_need(tmp_path: Path) -> None:
    assert image_of("parent_cart", tmp_path) == {"cart_common", "parent_cart", "containers"}
    refused = {"child_cart", "demo", "lab", "tests", *only_of_carts()}
    assert HEAVY | {"blake3", "flask_login", "pandas", "PIL"} <= refused
    ended = subprocess.run(
        [sys.executable, "-c", REFUSING, tmp_path, *refused], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    assert {"cart_common.wire.messages", "parent_cart.main", "containers.slot"} <= set(ended.stdout.split())


def test_the_image_of_a_cart_imports_without_bridge_and_tests(tmp_path: Path) -> None:
    assert image_of("child_cart", tmp_path) == {"cart_common", "child_cart", "containers", "demo"}
    ended = subprocess.run(
        [sys.executable, "-c", REFUSING, tmp_path, "parent_cart", "lab", "tests"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr
    assert {"cart_common.wire.messages", "child_cart.main", "demo.visit"} <= set(ended.stdout.split())


@pytest.mark.parametrize("program", ["parent_cart", "child_cart"])
def test_each_requirement_is_imported(program: str) -> None:
    imported = set()
    for path in [*(ROOT / "cart_common").rglob("*.py"), *(ROOT / program).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).partition(".")[0])
    assert required_by(program) <= set().union(*(distributions().get(module, set()) for module in imported))


def test_a_cart_leaves_learning_to_its_trainer() -> None:
    """The cart's own process holds none of what takes seconds and hundreds of megabytes."""
    script = "import sys, child_cart.main; print(*{name.partition('.')[0] for name in sys.modules})"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    large = {"tensorflow", "keras", "sklearn", "scipy", "cv2", "PIL", "pyzbar", "segno"}
    assert large.isdisjoint(ended.stdout.split())
    # Loaded only where they are used: by a store on a server, for files of the catalogue, and by a migration.
    assert {"pymongo", "bson", "pandas", "rich"}.isdisjoint(ended.stdout.split())


@pytest.mark.parametrize(
    ("module", "other"), [("child_cart.network.link", "parent_cart"), ("parent_cart.main", "child_cart.model")]
)
def test_what_must_not_be_known_is_not_loaded(module: str, other: str) -> None:
    """An import at a package's own top escapes the import contracts; this does not."""
    script = f"import sys, {module}; print({other!r} in sys.modules)"
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.strip() == "False"
