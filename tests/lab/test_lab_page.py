"""The laboratory's page explains each attack, and each column and key of what a run writes, and no other."""

from __future__ import annotations

import re

import pytest
from support.processes.programs import LIGHT_TASK, ROOT

from lab.commands.compare_command import COMPARE_COLUMNS
from lab.conditions.attacks import KINDS
from lab.config import RunConfig
from lab.runs.run_folder import CART_COLUMNS, CURVE_COLUMNS, RunFolder
from lab.runs.running import Stop, carry_out

PAGE = (ROOT / "docs/laboratory.md").read_text()


def explained(heading: str) -> list[str]:
    """Return what stands in backticks in the first cells of the table below a heading."""
    (part,) = re.findall(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\| (`.*?) \| \S", part, re.MULTILINE)
    return [name for cell in cells for name in re.findall("`([^`]+)`", cell)]


@pytest.mark.parametrize(
    ("heading", "written"),
    [
        ("rounds.csv", CART_COLUMNS),
        ("curve.csv", CURVE_COLUMNS),
        ("compare.csv", COMPARE_COLUMNS),
        ("Hostile carts", tuple(KINDS)),
    ],
)
def test_the_page_explains_each_column_and_attack(heading, written):
    assert explained(heading) == list(written)


def test_the_page_explains_what_a_run_writes(tmp_path):
    config = RunConfig.of({"task": LIGHT_TASK, "carts": 3, "rounds": 2, "partition": "iid"})
    stop = Stop()
    stop.asked = True
    summary = carry_out(config, RunFolder(tmp_path), lambda _: None, lambda *_: None, stop)
    assert explained("summary.json") == list(summary)
    assert sorted(explained("Files of a run")) == sorted(path.name for path in tmp_path.iterdir())
