"""Bare hosts: the wheel is whole, a version installs beside another one, and units are hardened."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from dataclasses import fields
from pathlib import Path

import aiohttp
import pytest
from support.processes.programs import ROOT, CartProcess, running, wait_for

import cart_common
from cart_common.process.settings import variable_name
from child_cart.config import CartSettings
from parent_cart.config import BridgeSettings

SITE_PACKAGES = Path(aiohttp.__file__).parents[1]
UNITS = ("parent-cart.service", "child-cart@.service")
MOST_EXPOSURE = 3.0
ROWS = [{"degrees": angle, "third": angle // 120} for angle in range(0, 360, 12)]


def wheel_of(version: str, folder: Path) -> Path:
    """Build this tree's wheel under another version number."""
    tree = folder / f"tree-{version}"
    listed = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in listed.splitlines():
        if name.startswith(("cart_common/", "child_cart/", "parent_cart/", "lab/", "deploy/")) or "/" not in name:
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tree / name)
    package = tree / "cart_common/__init__.py"
    package.write_text(package.read_text().replace(f'"{cart_common.__version__}"', f'"{version}"'))
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "-w", folder, tree]
    subprocess.run(command, check=True)
    return folder / f"federated_carts-{version}-py3-none-any.whl"


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("wheels")
    return wheel_of("7.0.0", folder), wheel_of("7.1.0", folder)


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run make as an operator would, but with the packages that are here already."""
    offline = {"PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1", "PYTHONPATH": str(SITE_PACKAGES)}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, capture_output=True, text=True, env={**os.environ, **offline, **environment}
    )


class InstalledCart(CartProcess):
    """A cart that runs as its unit starts it."""

    def __init__(self, prefix: Path, folder: Path) -> None:
        shutil.copyfile(ROOT / "tests/support/carts/light_task.py", folder / "light_task.py")
        flags = ("--task", "light_task:LightTask", "--cluster-wait-s", "0", "--dataset-size", "20")
        super().__init__(folder / "cart", "ws://127.0.0.1:9", *flags)
        self._arguments[:2] = [str(prefix / "bin/child-cart")]
        self._environment["PYTHONPATH"] = f"{folder}:{SITE_PACKAGES}"

    def start(self) -> None:
        super().start()
        wait_for(lambda: self.status().get("stage") == "SERVING", what="an installed cart that serves")


def test_the_wheel_has_every_file_of_both_programs(wheels: tuple[Path, Path]) -> None:
    tracked = subprocess.check_output(
        ["git", "ls-files", "cart_common", "child_cart", "parent_cart", "lab"], cwd=ROOT, text=True
    ).split()
    names = {name.partition("/data/share/")[2] or name for name in zipfile.ZipFile(wheels[0]).namelist()}
    left_out = {name for name in tracked if name not in names}
    assert {Path(name).name for name in left_out} <= {"requirements.txt", "Dockerfile"}
    assert {f"federated-carts/{unit}" for unit in UNITS} <= names
    assert not [name for name in names if name.startswith(("tests", "demo", "benchmarks"))]


def test_a_bridge_needs_nothing_that_only_carts_need(wheels: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(wheels[0]) as wheel:
        (metadata,) = (wheel.read(name).decode() for name in wheel.namelist() if name.endswith("/METADATA"))
    needed = re.findall(r"^Requires-Dist: ([\w-]+).*extra == \"(\w+)\"$", metadata, re.MULTILINE)
    assert {name for name, extra in needed if extra == "bridge"}.isdisjoint(
        {"tensorflow", "tensorflow-cpu", "numpy", "flask"}
    )
    assert ("tensorflow-cpu", "cart") in needed
    assert len(needed) == metadata.count("Requires-Dist")


@pytest.mark.parametrize("program", ["child_cart", "parent_cart"])
@pytest.mark.parametrize("way", ["-m {}", "{}/main.py"])
def test_each_program_says_its_version(program: str, way: str) -> None:
    command = [sys.executable, *way.format(program).split(), "--version"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (0, f"federated-carts {cart_common.__version__}\n")


@pytest.mark.parametrize(("program", "extra"), [("child_cart", "cart"), ("parent_cart", "bridge")])
def test_a_package_that_is_not_installed_is_named(tmp_path: Path, program: str, extra: str) -> None:
    command = [sys.executable, "-S", "-m", program]
    ended = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    assert ended.returncode == 2
    assert (
        f"is not installed. Install all that a {extra} needs: pip install -r {program}/requirements.txt" in ended.stderr
    )
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory, wheels: tuple[Path, Path]) -> Path:
    """Two versions, installed one after the other."""
    folder = tmp_path_factory.mktemp("installed") / "prefix"
    for parts, wheel in zip(("cart", "bridge cart"), wheels, strict=True):
        made = make("install", f"PREFIX={folder}", f"PARTS={parts}", f"WHEEL={wheel}")
        assert made.returncode == 0, made.stdout + made.stderr
        assert (folder / "bin/parent-cart").exists() == ("bridge" in parts)
    return folder


def version_of(program: Path) -> str:
    environment = {"PYTHONPATH": str(SITE_PACKAGES)}
    return subprocess.check_output([program, "--version"], text=True, env=environment).strip()


def test_the_unit_of_what_was_installed_starts_what_was_installed(prefix: Path) -> None:
    for unit in UNITS:
        text = (prefix / "lib/systemd/system" / unit).read_text()
        (program,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
        assert version_of(Path(program)) == "federated-carts 7.1.0"
        assert "@PREFIX@" not in text
    created = (prefix / "lib/sysusers.d/federated-carts.conf").read_text()
    for unit in UNITS:
        (user,) = re.findall(r"^User=(.*)$", (prefix / "lib/systemd/system" / unit).read_text(), re.MULTILINE)
        assert f"u {user} " in created


def test_a_cart_keeps_its_data_from_version_to_version_and_back(tmp_path: Path, prefix: Path) -> None:
    assert make("use", f"PREFIX={prefix}", "VERSION=7.0.0").returncode == 0
    cart = InstalledCart(prefix, tmp_path)
    with running(cart):
        cart.post("/api/rows", {"batch_id": "one", "rows": ROWS})
        wait_for(lambda: cart.status()["rounds_ended"] == 1)
        first = cart.status()
        assert first["program_version"] == "7.0.0"
        for version in ("7.1.0", "7.0.0"):
            assert make("use", f"PREFIX={prefix}", f"VERSION={version}").returncode == 0
            assert cart.stop() == 0
            cart.start()
            then = cart.status()
            assert then["program_version"] == version
            for kept in ("cart_id", "model", "rows", "sales", "rounds_ended"):
                assert then[kept] == first[kept], kept
        cart.stop()
    assert "Traceback" not in cart.log


def test_what_goes_wrong_leaves_the_current_version_and_is_mended_by_trying_again(
    tmp_path: Path, prefix: Path, wheels: tuple[Path, Path]
) -> None:
    assert make("use", f"PREFIX={prefix}", "VERSION=7.0.0").returncode == 0
    broken = tmp_path / wheels[1].name
    broken.write_bytes(wheels[1].read_bytes()[:1000])
    shutil.rmtree(next((prefix / "lib/federated-carts/7.1.0/lib").glob("python*/site-packages/child_cart")))
    assert make("install", f"PREFIX={prefix}", f"WHEEL={broken}").returncode != 0
    assert version_of(prefix / "bin/child-cart") == "federated-carts 7.0.0"
    assert make("install", f"PREFIX={prefix}", f"WHEEL={wheels[1]}").returncode == 0
    assert version_of(prefix / "bin/child-cart") == "federated-carts 7.1.0"
    unknown = make("use", f"PREFIX={prefix}", "VERSION=7.9.9")
    assert "There is no version '7.9.9'" in unknown.stderr
    assert "7.0.0 7.1.0" in unknown.stderr
    assert unknown.returncode != 0


@pytest.mark.needs("systemd-analyze")
@pytest.mark.parametrize("unit", UNITS)
def test_units_are_hardened_and_right(tmp_path: Path, unit: str) -> None:
    text = (ROOT / "deploy/systemd" / unit).read_text()
    (tmp_path / unit).write_text(re.sub("^ExecStart=.*$", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", tmp_path / unit]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    (exposure,) = re.findall(r"Overall exposure level for .*: ([\d.]+)", said.stdout)
    assert float(exposure) < MOST_EXPOSURE
    named = tmp_path / unit.replace("@.", "@till-1.")
    (tmp_path / unit).rename(named)
    verified = subprocess.run(["systemd-analyze", "verify", named], capture_output=True, text=True)
    assert str(tmp_path) not in verified.stderr, verified.stderr


@pytest.mark.parametrize(
    ("name", "settings", "prefix"),
    [("parent-cart.env", BridgeSettings, "BRIDGE"), ("child-cart.env", CartSettings, "CART")],
)
def test_the_examples_of_settings_name_settings(name: str, settings: type, prefix: str) -> None:
    known = {variable_name(prefix, entry.name) for entry in fields(settings)}
    lines = (ROOT / "deploy/etc" / name).read_text().splitlines()
    named = [line.removeprefix("#").partition("=")[0] for line in lines if "=" in line]
    assert len(named) >= 4
    assert set(named) <= known
