"""The learning curve of a terminal."""

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from support.processes.programs import LIGHT_TASK

from child_cart.model.metric import Metric, MetricDirection
from lab.commands.command_line import run_command
from lab.commands.progress import BLOCKS, RunProgress, curve, summary_table
from lab.config import RunConfig
from lab.runs.run_folder import RunFolder
from lab.runs.running import Stop, carry_out

ERROR = Metric("error", "mm", MetricDirection.LOWER)


@given(st.lists(st.floats(0, 1), max_size=300), st.integers(-5, 100))
def test_a_curve_has_a_block_for_each_value_or_as_many_as_fit_and_ends_with_the_newest(values, chars):
    shown = curve(values, chars)
    assert len(shown) == min(len(values), max(chars, 1))
    assert set(shown) <= set(BLOCKS)
    if values:
        assert shown[-1] == curve(values[-1:], 1)


def test_a_curve_rises_with_its_values():
    assert curve([place / 8 for place in range(9)], 9) == BLOCKS + BLOCKS[-1]


def test_the_curve_goes_on_where_a_run_was_left(tmp_path, monkeypatch):
    config = RunConfig.of({"task": LIGHT_TASK, "carts": 3, "rounds": 4, "rows": 20})
    folder, stop = RunFolder(tmp_path / "run"), Stop()

    def stop_after_two(result, point):
        stop.asked = result.number == 2

    carry_out(config, folder, lambda _: None, stop_after_two, stop)
    shown = []
    add = RunProgress.add

    def added(progress, result, point):
        add(progress, result, point)
        shown.append([one.round for one in progress._points])

    monkeypatch.setattr(RunProgress, "add", added)
    assert run_command(["--resume", str(folder.path)], Console(file=io.StringIO())) == 0
    assert shown == [[1, 2, 3], [1, 2, 3, 4]]


@pytest.mark.parametrize(("rounds", "words"), [(1, "After 1 round"), (2, "After 2 rounds")])
def test_the_results_count_rounds(rounds, words):
    found = {"mean": 0.5, "worst": 0.25}
    summary = {"rounds": rounds, "alone": found, "federated": found, "all_data": 0.75, "complete": True}
    numbers = {"received_bytes_per_cart_and_round": 1.0, "cart_rounds_per_s": 2.0, "metric": ERROR.as_json()}
    console = Console(file=io.StringIO(), width=100)
    console.print(summary_table({**summary, **numbers}, Path("runs/one")))
    shown = console.file.getvalue()
    assert words in {line.strip() for line in shown.splitlines()}
    assert "error in mm (lower is better), on rows that no cart sees" in shown
