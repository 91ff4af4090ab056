"""The notebook runs as it stands, and shows what it promises."""

import json
import os
import re
import subprocess
import sys

import pytest
from support.documents.notebook import code_cells, read
from support.processes.programs import ROOT

RENEW = "python -m tests.support.documents.notebook"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The outputs of each cell, where the notebook runs with small numbers in a process of its own."""
    target = tmp_path_factory.mktemp("notebook") / "executed.ipynb"
    small = json.dumps({"CARTS": 4, "ROUNDS": 2, "SEEDS": [0, 1]})
    command = [sys.executable, "-m", "tests.support.documents.notebook", str(target), small]
    environ = {**os.environ, "TMPDIR": str(target.parent)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert list(target.parent.glob("*/aggregators.pdf")), "the plot for a paper"
    return [cell["outputs"] for cell in code_cells(json.loads(target.read_text()))]


def kinds(outputs):
    return [(one["output_type"], sorted(one.get("data", {}))) for one in outputs]


def test_every_cell_runs_and_shows_what_the_stored_one_shows(shown):
    assert [kinds(outputs) for outputs in shown] == [kinds(cell["outputs"]) for cell in code_cells(read())], RENEW


def test_the_two_aggregators_are_two_groups_with_margins(shown):
    text = "".join("".join(one["text"]) for outputs in shown for one in outputs if one["output_type"] == "stream")
    assert len(re.findall(r"aggregator \w+: mean 0\.\d+ ?± ?\d\.\d+", text)) == 2
    assert re.search(r"accuracy - uniform: -?0\.\d+ ?± ?\d\.\d+", text)


def test_stored_outputs_name_no_folder_of_the_machine_that_made_them():
    assert not re.search(r"(?<!\w)/(tmp|home|root|work|Users)/", json.dumps([c["outputs"] for c in code_cells(read())]))
