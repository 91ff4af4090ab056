"""The table, from invented statuses, at every width; the lines for a log; the final comparison."""

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from demo.processes import Program
from demo.summary import summary_table
from demo.table import PlainLines, fleet_table
from demo.watch import BridgeView, OwnCart, relayed_bytes


class Gone(Program):
    ending = "ended with status 1"


def program(name="Cart 1", log=Path("/nowhere"), kind=Program):
    return kind(name, [], log)


def status(version=3, accuracy=0.5, stage="SERVING", role="SHELL", **changes):
    return {
        "cart_id": "a3f9c2d1" * 4,
        "stage": stage,
        "role": role,
        "link": {"state": "ATTACHED"},
        "model": {"number": version, "accuracy": accuracy},
        "rounds_ended": 1,
        "round": None,
        "epoch": None,
        "transfers": [],
        "rows": {"waiting": 45, "dataset_size": 100, "total": 145},
        "events": [{"at": 2.0, "text": "Round 1: AGGREGATED. " + "Very good. " * 20}, {"at": 1.0, "text": "Trained."}],
        **changes,
    }


def cart(*statuses, number=1, **program_of):
    view = OwnCart(number, f"http://127.0.0.1:{5000 + number}", program=program(**program_of))
    for seen in statuses:
        view.take(seen, time.monotonic())
    return view


def bridge():
    view = BridgeView("http://127.0.0.1:9000", program("The bridge"), carts=2, relayed_bytes=12_900_000)
    view.answered_at = time.monotonic()
    return view


def shown(carts, width, limit=3):
    console = Console(record=True, width=width, file=io.StringIO(), legacy_windows=False)
    console.print(fleet_table(bridge(), carts, limit, time.monotonic() - 65, width))
    return console.export_text()


@pytest.mark.parametrize("width", [160, 120, 119, 100, 80])
def test_every_width_shows_all_figures(width):
    text = shown([cart(status(2, 0.4), status(3, 0.512)), cart(status(), number=2)], width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    for word in ("a3f9c2d1", "serving", "1/3", "0.512 ↑", "45/100", "Round 1: AGGREGATED", "Ctrl-C", "12.9 MB", "1:05"):
        assert word in text, word
    page = "http://127.0.0.1:5001/" if width >= 120 else ":5001"
    assert page in text
    assert "2 of 2 carts attached" in text


def test_a_fall_in_accuracy_points_down():
    assert "0.400 ↓" in shown([cart(status(2, 0.5), status(3, 0.4))], 120)


def test_training_and_transfers_are_bars():
    training = status(stage="TRAINING", epoch={"epoch": 3, "epochs": 20, "loss": 1.0})
    moving = [
        {"ended_at": None, "total_bytes": 1000, "moved_bytes": 250},
        {"ended_at": 5.0, "total_bytes": 7, "moved_bytes": 7},
    ]
    text = shown([cart(training), cart(status(stage="COLLECTING", role="KERNEL", transfers=moving), number=2)], 120)
    assert "training" in text
    assert "3/20" in text
    assert "KERNEL collecting" in text
    assert "25 %" in text


def test_a_cart_that_has_not_answered_yet_is_starting():
    assert "starting" in shown([cart()], 80)


@pytest.mark.parametrize("width", [160, 80])
def test_a_cart_that_died_shows_its_last_words(tmp_path, width):
    log = tmp_path / "cart.log"
    log.write_text("fine\n  | cart: The disk is full.\n  +-------\n\n")
    text = shown([cart(kind=Gone, log=log)], width)
    assert "gone" in text
    assert "ended with status 1: cart: The disk is full." in text


def test_a_cart_without_its_bridge_says_so():
    assert "no bridge" in shown([cart(status(link={"state": "WAITING"}))], 120)


def test_lines_report_each_event_and_each_end_once():
    lines = PlainLines()
    view = cart(status())
    assert [line[:16] for line in lines.news(bridge(), [view])] == ["cart 1: Trained.", "cart 1: Round 1:"]
    assert list(lines.news(bridge(), [view])) == []
    view.take(status(events=[{"at": 3.0, "text": "a\n b"}, *status()["events"]]), 0.0)
    view.program = program(kind=Gone)
    assert list(lines.news(bridge(), [view])) == ["cart 1: a b", "Cart 1 ended with status 1: it said nothing"]
    assert list(lines.news(bridge(), [view])) == []


def test_carts_do_not_wait_for_one_without_progress():
    view = cart()
    assert not view.is_waited_for(10.0)
    view.take(status(), 10.0)
    assert view.is_waited_for(12.0)
    assert not view.is_waited_for(16.0), "it no longer answers"
    view.take(status(), 100.0)
    assert view.answers(101.0)
    assert not view.is_waited_for(101.0)


def test_relayed_bytes_are_read_from_the_metrics():
    assert relayed_bytes("# HELP x\nbridge_relayed_bytes_total 1.5e+06\nother 3") == 1_500_000
    assert relayed_bytes("") == 0


def test_the_comparison_has_carts_mean_and_all_together():
    carts = [
        {"number": 1, "rows": 500, "averaged": 5, "alone": 0.4, "federated": 0.9},
        {"number": 2, "rows": 400, "averaged": 4, "alone": 0.5, "federated": 0.8},
        {"number": 3, "rows": 90, "averaged": 0, "alone": 0.3, "federated": None},
    ]
    results = {"carts": carts, "together": 0.955, "together_rows": 990, "test_rows": 297}
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(summary_table(results, "digits", 26.2))
    text = console.export_text()
    for word in ("+0.500", "+0.300", "0.450", "0.850", "+0.400", "0.955", "990", "297 rows", "26 s"):
        assert word in text, word
