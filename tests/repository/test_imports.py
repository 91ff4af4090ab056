"""The network side stays light: neither it nor the bridge pulls in what only learning, pages or stores need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"tensorflow", "keras", "numpy", "cv2", "flask", "pymongo"}

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


def test_a_cart_leaves_learning_to_its_trainer() -> None:
    """The cart's own process holds none of what takes seconds and hundreds of megabytes."""
    script = "import sys, child_cart.main; print(*{name.partition('.')[0] for name in sys.modules})"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    large = {"tensorflow", "keras", "sklearn", "scipy", "cv2", "PIL", "pyzbar", "segno"}
    assert large.isdisjoint(ended.stdout.split())
    # Imported on first use: a store on a server, catalogue files, and migration.
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
