"""One name means one thing: no two classes share a name, and no module stands loose at the top of a package."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("cart_common", "parent_cart", "child_cart", "demo", "lab", "containers", "examples")
TOP = {
    "cart_common": {"__init__"},
    "parent_cart": {"__init__", "__main__", "main", "config"},
    "child_cart": {"__init__", "__main__", "main", "command_line", "cart"},
}


def places_of_classes() -> dict[str, list[str]]:
    """Return, for each class at the top of a module, the modules that define it."""
    places = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for statement in ast.parse(path.read_text()).body:
                if isinstance(statement, ast.ClassDef):
                    places[statement.name].append(str(path.relative_to(ROOT)))
    return places


def test_no_class_name_stands_twice() -> None:
    places = places_of_classes()
    assert len(places) >= 200
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize(("package", "modules"), TOP.items())
def test_a_new_module_goes_into_a_room(package: str, modules: set[str]) -> None:
    assert {path.stem for path in (ROOT / package).glob("*.py")} == modules
