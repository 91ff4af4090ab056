"""The table, from invented statuses, at every width; the lines for a log; the final comparison."""

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from demo.curve import bars, plain_line
from demo.plain_lines import PlainLines
from demo.processes import Program
from demo.summary import markdown, save, summary_table
from demo.table import ScreenContents, fleet_table
from demo.watch import BridgeView, OwnCart, relayed_bytes


class Gone(Program):
    ending = "ended with status 1"


def program(name="Cart 1", log=Path("/nowhere"), kind=Program):
    return kind(name, [], log)


ACCURACY = {"name": "accuracy", "unit": "fraction", "direction": "higher"}


def status(version=3, accuracy=0.5, stage="SERVING", role="SHELL", **changes):
    return {
        "cart_id": "a3f9c2d1" * 4,
        "stage": stage,
        "role": role,
        "link": {"state": "ATTACHED"},
        "model": {"number": version, "value": accuracy, "metric": ACCURACY},
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


def point(number, alone=0.5, **changes):
    return {
        "round": number,
        "carts": 4,
        "alone": alone,
        "federated": 0.8,
        "together": 0.9,
        "test_rows": 2000,
        "metric": ACCURACY,
        **changes,
    }


def shown(carts, width, limit=3, height=40, **contents):
    console = Console(record=True, width=width, file=io.StringIO(), legacy_windows=False)
    console.print(fleet_table(bridge(), carts, ScreenContents(width, height, limit, time.monotonic() - 65, **contents)))
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


def test_long_figures_are_whole_in_80_columns():
    work = {"stage": "COLLECTING", "role": "KERNEL", "rounds_ended": 83}
    moving = {"transfers": [{"ended_at": None, "total_bytes": 1000, "moved_bytes": 250}]}
    view = cart(status(167, 0.4, **work), status(168, 0.512, **work, **moving), number=12)
    view.url = "http://127.0.0.1:15012"
    text = shown([view], 80, limit=0)
    for word in ("12 a3f9c2d1", ":15012", "KERNEL collecting", " 168 ", " 83 ", "0.512 ↑", "45/100", "25 %"):
        assert word in text, word


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


def test_lines_report_each_event_each_point_and_each_end_once():
    lines, first = PlainLines(), point(1)
    view = cart(status())
    told = list(lines.news(bridge(), [view], [first]))
    assert [line[:16] for line in told] == [
        "all 1 carts are ",
        "cart 1: Trained.",
        "cart 1: Round 1:",
        plain_line(first)[:16],
    ]
    assert "alone 0.500, federated 0.800, all data 0.900" in told[-1]
    assert list(lines.news(bridge(), [view], [first])) == []
    view.take(status(events=[{"at": 3.0, "text": "a\n b"}, *status()["events"]]), 0.0)
    view.program = program(kind=Gone)
    news = ["cart 1: a b", "Cart 1 ended with status 1: it said nothing", plain_line(point(2)), "It broke."]
    assert list(lines.news(bridge(), [view], [first, point(2)], "It broke.")) == news
    assert list(lines.news(bridge(), [view], [first, point(2)], "It broke.")) == []


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


def test_the_start_is_a_bar_of_three_steps_a_cart():
    attached = status(stage="PREPARING", model=None)
    text = shown([cart(status()), cart(attached, number=2), cart(number=3)], 80, is_starting=True)
    assert "Starting 3 carts: 2 answer, 2 attached, 1 trained on their starter rows" in text
    assert "Starting" not in shown([cart(status())], 80)


@pytest.mark.parametrize("width", [140, 80])
def test_the_learning_stands_above_the_carts_in_two_lines(width):
    points = [point(number, alone=number / 40) for number in range(30)]
    lines = shown([cart(status())], width, points=points).splitlines()
    assert lines[1].strip() == "Accuracy after round 29, mean of 4 carts, on 2,000 rows never seen:"
    for words in ("alone ", "▅▆▆▆▆ 0.725", "federated ▇▇", " 0.800", "all data ▇▇", " 0.900"):
        assert words in lines[2]
    assert len(lines[2].rstrip()) < width, "nothing is cut off"


def test_what_is_not_measured_is_said():
    assert "Nothing is measured: the task has no test_rows" in shown(
        [cart(status())], 80, points=[point(1, test_rows=0)]
    )
    text = shown([cart(status())], 80, points=[point(1)], trouble="The models could not be compared: killed")
    assert "Nothing more is measured." in text
    assert "The models could not be compared: killed" in text
    assert "first time" in shown([cart(status())], 80)


def test_bars_are_a_scale_from_none_to_one():
    assert bars([0.0, 0.5, 1.0, None, 7.0]) == "▁▅█ █"


@pytest.mark.parametrize("width", [140, 80])
def test_carts_that_do_not_fit_are_counted(width):
    carts = [cart(status(), number=number) for number in range(1, 17)]
    lines = shown(carts, width, height=24, points=[point(1)]).splitlines()
    assert len(lines) <= 24
    assert any("more carts; a higher window shows them" in line for line in lines)
    assert "Ctrl-C" in "".join(lines[-2:])
    assert "more carts" not in shown(carts, width, height=50)


CARTS = [
    {"number": 1, "rows": 500, "averaged": 5, "alone": 0.4, "federated": 0.9, "ending": ""},
    {"number": 2, "rows": 400, "averaged": 4, "alone": 0.5, "federated": 0.8, "ending": "ended by SIGKILL"},
    {"number": 3, "rows": 90, "averaged": 0, "alone": 0.3, "federated": None, "ending": ""},
]
SUMMARY = {
    "task": "shop.machines:Machines",
    "data": "/rows.csv",
    "written_at": "2026-03-01T10:20:30+01:00",
    "took_s": 26.2,
    "carts": CARTS,
    "together": 0.955,
    "together_rows": 990,
    "test_rows": 2297,
    "metric": ACCURACY,
}


def test_the_comparison_has_carts_mean_and_all_together():
    console = Console(record=True, width=100, file=io.StringIO())
    console.print(summary_table({**SUMMARY, "rounds": []}))
    text = console.export_text()
    for word in (
        "+0.500",
        "+0.300",
        "0.450",
        "0.850",
        "+0.400",
        "0.955",
        "990",
        "2,297 rows",
        "26 s",
        "(ended by SIGKILL)",
    ):
        assert word in text, word


def test_the_summary_is_saved_as_markdown_and_json(tmp_path):
    page = save({**SUMMARY, "rounds": [point(0), point(1, alone=None)]}, tmp_path / "new" / "folder")
    assert page == tmp_path / "new" / "folder" / "Machines-20260301-102030.md"
    text = page.read_text()
    for line in ("| cart 1 | 500 | 5 | 0.400 | 0.900 | +0.500 |", "| 1 | 4 | - | 0.800 | 0.900 |", "rows of /rows.csv"):
        assert line in text, line
    assert json.loads(page.with_suffix(".json").read_text())["carts"] == CARTS


def test_a_summary_without_rows_to_measure_on_says_so():
    nothing = {"alone": None, "federated": None}
    summary = {**SUMMARY, "carts": [{**CARTS[0], **nothing}], "together": None, "test_rows": 0, "rounds": []}
    assert "Nothing was measured: the task has no test_rows" in markdown(summary)
