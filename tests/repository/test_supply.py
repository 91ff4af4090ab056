"""What others publish is named exactly: packages, base images; and what looks after them says when it could not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.processes.container_engine import BASES, LISTS
from support.processes.programs import ROOT

PACKAGES = (
    "parent_cart/requirements.txt",
    "child_cart/requirements.txt",
    *(f"lab/requirements{extra}.txt" for extra in ("", "-ray", "-tensorboard", "-mlflow")),
    "requirements-dev.txt",
)
DIGEST = "sha256:" + "0123456789abcdef" * 4


def test_every_package_has_an_exact_version() -> None:
    for name in PACKAGES:
        for line in (ROOT / name).read_text().splitlines():
            if line and not line.startswith(("#", "-r ")):
                assert re.match(r"[a-z0-9-]+==[0-9][0-9a-z.]*(;|  #|$)", line), f"{name}: {line}"


def test_every_base_image_has_an_exact_tag() -> None:
    assert len(BASES) == 2
    for image in BASES:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+(-[a-z-]+)?(@sha256:[0-9a-f]{64})?", image), image


def program(folder: Path, name: str, script: str) -> None:
    """Put a program into a folder."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """A folder with copies of the files that name images."""
    for name in LISTS:
        (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


def pin(lists: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Pin the images of these files, where ``docker`` does as the script says."""
    programs = lists.parent / "bin"
    programs.mkdir(exist_ok=True)
    program(programs, "docker", script)
    program(programs, "skopeo", "exit 1")
    environ = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}"}
    command = ["sh", str(ROOT / ".ci/pin-images"), str(lists)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)


def test_images_are_pinned_to_what_the_registry_says_and_pinned_anew(lists: Path) -> None:
    for digest in (DIGEST, "sha256:" + "ab" * 32):
        assert pin(lists, f"echo {digest}").returncode == 0
        for name in LISTS:
            before, after = (ROOT / name).read_text(), (lists / name).read_text()
            assert re.sub("@sha256:[0-9a-f]+", "", after) == re.sub("@sha256:[0-9a-f]+", "", before)
            named = len(re.findall(r"^(?:FROM| +image:) [a-z]", after, re.MULTILINE))
            assert after.count(f"@{digest}") == named > 0


@pytest.mark.parametrize(
    "script", ["exit 1", "echo manifest unknown", "case $4 in mongo*) exit 1;; esac; echo " + DIGEST]
)
def test_without_an_answer_nothing_is_pinned(lists: Path, script: str) -> None:
    ended = pin(lists, script)
    assert ended.returncode == 1
    assert "No digest of " in ended.stderr
    assert "Nothing was changed." in ended.stderr
    for name in LISTS:
        assert (lists / name).read_text() == (ROOT / name).read_text()


def audit(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Audit with a ``pip-audit`` that does as the script says; pip installs nothing."""
    programs = folder / "venv" / "bin"
    programs.mkdir(parents=True)
    program(programs, "pip", "exit 0")
    program(programs, "pip-audit", script)
    return subprocess.run(
        ["sh", ".ci/audit", str(folder / "venv")], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


KNOWS = """for last; do :; done
grep -q "^pillow==12.2.0" "$last" 2>/dev/null && echo "pillow 12.2.0 CVE-1" && exit 1
true"""


def test_an_audit_without_a_database_does_not_pass(tmp_path: Path) -> None:
    silent = 'echo "No known vulnerabilities found"; echo "pillow Dependency not found on PyPI"'
    ended = audit(tmp_path, silent)
    assert ended.returncode == 2
    assert "No database of advisories answers" in ended.stderr
    assert "Nothing was checked." in ended.stderr


def test_an_audit_passes_if_the_database_knows_nothing_about_our_packages(tmp_path: Path) -> None:
    assert audit(tmp_path, KNOWS).returncode == 0


def test_an_audit_fails_for_an_advisory(tmp_path: Path) -> None:
    script = f'{KNOWS}\ncase "$last" in child_cart/*) echo "flask 1.0 CVE-2"; exit 1;; esac'
    ended = audit(tmp_path, script)
    assert ended.returncode == 1
    assert "CVE-2" in ended.stdout
