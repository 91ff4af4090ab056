"""The benchmarks run and count what they claim to count. Their figures are not tested here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.machine import bridge_process, percentile, spread
from benchmarks.network_cart import NetworkCart
from benchmarks.round import timing_of

ROOT = Path(__file__).parents[2]
SCRIPTS = re.search(r"for name in ([a-z_ ]+); do", (ROOT / "Makefile").read_text())[1].split()
SMALL = {
    "averaging": "",
    "learning": "--carts 3 --rounds 1 --seeds 1",
    "hostile_learning": "--carts 4 --rounds 1 --seeds 1 --attacks nan",
    "messages": "",
    "precision": "--repeats 1",
    "sealing": "",
    "csv_rows": "--lines 2000,3000",
    "store": "--sold 500 --waiting 50 --seconds 1",
    "watching": "--seconds 1",
    "relay": "--megabytes 1 --repeats 1",
    "transfer": "--megabytes 1 --models 1 --repeats 1",
    "lines": "--megabytes 1 --lines 1",
    "slow_receivers": "--megabytes 1 --transfers 2 --seconds 4",
    "hostile_members": "--flooders 2 --strangers 3 --holders 2 --seconds 0.5 --repeats 1",
    "hostile_peers": "--hostile 0,2 --honest 2 --kilobytes 10 --seconds 1",
    "latency": "--messages 5 --repeats 1",
    "round": "--sizes 1 --repeats 1",
    "idle": "--carts 20 --rest 0",
    "dht": "--sizes 4,6 --lookups 6",
    "hostile_shoppers": "--seconds 1 --attacks flood",
    "store_timeout": "--timeout 0.5 --shoppers 2",
    "large_model": "--megabytes 1",
    "footprint": "--rows 200 --threads 1 --rest 0",
    "laboratory": "--carts 10 --rounds 2",
    "drift": "--carts 4 --rounds 2 --seeds 1 --rehearsal 30",
    "personal_layers": "--carts 3 --rounds 2 --seeds 1",
}


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, ROOT / f"benchmarks/{name}.py", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=ROOT, env=dict(os.environ))
    assert ended.returncode == 0, ended.stderr
    assert not ended.stderr, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_explains_itself(name):
    assert "usage:" in run(name, "--help")


@pytest.mark.parametrize("name", SCRIPTS)
def test_each_has_its_place_in_the_documentation(name):
    told = (ROOT / "docs/performance.md").read_text() + (ROOT / "docs/learning.md").read_text()
    assert f"`benchmarks/{name}.py`" in told


@pytest.mark.parametrize(("name", "arguments"), SMALL.items())
def test_each_prints_a_table(name, arguments):
    lines = run(name, *arguments.split()).splitlines()
    assert len(lines) >= 2
    assert all(re.search(r"\d", line) for line in lines[1:][-2:])


@pytest.mark.parametrize("python", [sys.executable, "/no/such/python"])
def test_without_flower_its_comparison_says_what_it_needs(python):
    told = run("lab_against_flower", "--flower-python", python)
    assert told == f"Skipped: --flower-python is {python!r}, and must be a Python that has flwr[simulation].\n"


def test_a_network_cart_fetches_all_that_it_is_told_to():
    with bridge_process() as (_, port), NetworkCart(port, 300_000) as giver, NetworkCart(port, 1) as taker:
        seconds, moved = taker.fetch(giver.id, at_once=3, times=2)
        assert moved == 3 * 2 * 300_000
        assert seconds > 0


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_is_a_value_that_was_seen_and_splits_them(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) * (1 - 1e-9)
    assert sum(value < found for value in values) <= share * len(values)


def test_a_spread_is_the_median_and_the_extremes():
    assert spread([3.0, 1.0, 2.0], 1) == "2.0 (1.0..3.0)"


def test_a_round_that_did_not_average_with_all_its_peers_has_no_timing():
    refused = {"outcome": "AGGREGATED", "verdicts": [{"reason": "ACCEPTED"}, {"reason": "NOT_RECEIVED"}]}
    with pytest.raises(RuntimeError, match="NOT_RECEIVED"):
        timing_of(refused, [], 2)


def test_the_parts_of_a_round_add_up():
    record = {
        "outcome": "AGGREGATED",
        "verdicts": [{"reason": "ACCEPTED"}],
        "phase_s": {"training": 1.0, "clustering": 0.5, "collecting": 2.0, "averaging": 0.25},
        "started_at": 100.0,
        "ended_at": 104.0,
    }
    transfers = [
        {"direction": "IN", "started_at": 102.0, "ended_at": 103.5},
        {"direction": "IN", "started_at": 90.0, "ended_at": 99.0},  # of an earlier round
    ]
    timing = timing_of(record, transfers, peers=1)
    assert (timing.whole, timing.transfers, timing.verdicts, timing.rest) == (3.0, 1.5, 0.5, 0.25)
