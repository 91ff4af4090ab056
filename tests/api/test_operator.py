"""What the admin page takes away: figures, rounds, log, and the model as a file."""

from __future__ import annotations

import asyncio
import csv
import io
import logging
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from support.carts.fake_trainer import FakeTrainer
from support.carts.shown import Shown

from child_cart.db.records import Outcome, RoundRecord, SetAsideRow, Verdict
from child_cart.learning.exports import ExportKind, Exports, ExportState
from child_cart.model.verdict import VerdictReason
from child_cart.network.link_state import LinkState, LinkStatus
from child_cart.operation import rounds_csv
from child_cart.operation.operator_service import figures_of
from child_cart.operation.status import failed_in_a_row

PEERS = [
    Verdict("aa" * 16, VerdictReason.ACCEPTED, "", 0.8, 3, 10, 1000),
    Verdict("bb" * 16, VerdictReason.TOO_WEAK, "", 0.1),
]


def record(number: int, outcome: Outcome | None = Outcome.AGGREGATED, **changes: object) -> RoundRecord:
    given = {"ended_at": 1_700_000_002.5, "verdicts": tuple(PEERS), "phase_s": {"training": float(number)}, **changes}
    return RoundRecord(f"r{number}", number, 1_700_000_000.0, outcome=outcome, **given)  # type: ignore[arg-type]


def test_figures_count_verdicts_and_average_phases(shown: Shown) -> None:
    for number in (1, 3):
        shown.store.save_round(record(number))
    assert shown.get("/api/figures") == {
        "rounds": 2,
        "verdicts": {"ACCEPTED": 2, "TOO_WEAK": 2},
        "mean_phase_s": {"training": 2.0},
    }
    assert figures_of([]) == {"rounds": 0, "verdicts": {}, "mean_phase_s": {}}


def test_rounds_are_taken_away_as_csv_and_as_json(shown: Shown) -> None:
    shown.store.save_round(record(1, sentence="=HYPERLINK(1)"))
    shown.store.save_round(record(2, None, ended_at=None, verdicts=()))
    answer = shown.client.get("/api/rounds.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="rounds.csv"'
    running, ended = csv.DictReader(io.StringIO(answer.text))
    assert ended["started_at_utc"] == "2023-11-14 22:13:20"
    assert (ended["took_s"], ended["outcome"], ended["received_bytes"]) == ("2.5", "AGGREGATED", "1000")
    assert (ended["models_asked"], ended["models_accepted"], ended["reasons_dropped"]) == ("2", "1", "TOO_WEAK:1")
    assert ended["sentence"] == "'=HYPERLINK(1)"
    assert (running["outcome"], running["took_s"]) == ("RUNNING", "")
    answer = shown.client.get("/api/rounds.json")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="rounds.json"'
    assert [entry["number"] for entry in answer.json["rounds"]] == [2, 1]


def test_rows_that_are_set_aside_are_shown_and_taken_away_as_csv(shown: Shown) -> None:
    shown.store.record_rows("b", [{"x": [1e38], "=f": "=1+1"}, {"y": 2}])
    aside = [SetAsideRow(1, {"x": [1e38], "=f": "=1+1"}, "=cmd()", 1.7e9), SetAsideRow(2, {"y": 2}, "no x", 1.7e9)]
    shown.store.set_aside(aside)
    assert shown.client.get("/api/status").json["rows"] == {
        "waiting": 0,
        "dataset_size": 100,
        "total": 2,
        "set_aside": 2,
    }
    assert shown.client.get("/api/rows/set-aside?limit=1").json == {"rows": [asdict(aside[1])]}
    answer = shown.client.get("/api/rows/set-aside.csv")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="set-aside.csv"'
    newest, oldest = csv.DictReader(io.StringIO(answer.text))
    assert (newest["sequence"], newest["reason"], newest["y"], newest["x"]) == ("2", "no x", "2", "")
    assert (oldest["set_aside_at_utc"], oldest["x"]) == ("2023-11-14 22:13:20", "[1e+38]")
    assert (oldest["reason"], oldest["'=f"]) == ("'=cmd()", "'=1+1")


def test_csv_of_no_round_has_its_columns() -> None:
    assert rounds_csv.written([]).strip().split(",") == list(rounds_csv.COLUMNS)


def test_rounds_that_failed_in_a_row() -> None:
    few, paused = Outcome.NOT_ENOUGH_PEERS, Outcome.SHARING_PAUSED
    rounds = [record(5, None), record(4, few), record(3, few), record(2), record(1, few)]
    assert [entry.number for entry in failed_in_a_row(rounds)] == [4, 3]
    assert failed_in_a_row([record(2, paused), record(1, few)]) == []


def test_the_log_is_shown_newest_first_and_as_text(shown: Shown) -> None:
    logger = logging.getLogger("cart.test")
    logger.addHandler(shown.log_buffer)
    logger.setLevel(logging.INFO)
    try:
        logger.info("first")
        logger.warning("<script>alert(%d)</script>", 1)
    finally:
        logger.removeHandler(shown.log_buffer)
    lines = shown.get("/api/log?limit=2")["lines"]
    assert [(line["level"], line["text"]) for line in lines] == [
        ("WARNING", "<script>alert(1)</script>"),
        ("INFO", "first"),
    ]
    assert "must be a whole number from 1 to 500" in shown.sentence("/api/log?limit=501")


def test_the_status_warns(shown: Shown) -> None:
    sentences = [caution["sentence"] for caution in shown.get("/api/status")["cautions"]]
    assert any(sentence.startswith("The fleet is open") for sentence in sentences)
    shown.put("/api/settings/sharing", {"value": "off"})
    status = shown.get("/api/status")
    assert status["sharing"] is False
    assert any(caution["weight"] == "NOTE" for caution in status["cautions"])
    assert status["disk"]["free_bytes"] > 0


def test_a_cart_that_tries_for_ten_minutes_warns_on_the_page_and_in_the_metrics(shown: Shown) -> None:
    now = time.monotonic()
    link = shown.parts.network.link
    link.status = LinkStatus(LinkState.CONNECTING, "ws://b", now, "Refused. Trying again in 3.0 s.", now - 600)
    (told,) = [caution for caution in shown.get("/api/status")["cautions"] if caution["kind"] == "BRIDGE"]
    assert told["weight"] == "TROUBLE"
    assert told["sentence"] == "No bridge for 10 min. Refused. Trying again in 3.0 s."
    metrics = shown.client.get("/metrics").text
    assert 'cart_warning{kind="bridge"} 1.0' in metrics
    assert 600 <= float(metrics.partition("\ncart_link_away_seconds ")[2].partition("\n")[0]) < 700


@pytest.mark.parametrize("set_by_s", [-7200.0, 800_000_000.0])
def test_ages_stay_true_where_the_wall_clock_is_set(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, set_by_s: float
) -> None:
    link, now, wall_clock = shown.parts.network.link, time.monotonic(), time.time
    link.status = LinkStatus(LinkState.ATTACHED, "ws://b", now - 600, "", now - 900)
    monkeypatch.setattr(time, "time", lambda: wall_clock() + set_by_s)
    link.status = link.status.followed_by(LinkState.WAITING, "ws://b", "It broke.")
    link.status = link.status.followed_by(LinkState.CONNECTING, "ws://b", "It broke.")
    status = shown.get("/api/status")
    for name in ("started_at", "stage_since", "role_since"):
        assert 0 <= status["now"] - status[name] < 300, name
    for name in ("since", "away_since"):
        assert 0 <= status["now"] - status["link"][name] < 300, name
    assert not [caution for caution in status["cautions"] if caution["kind"] == "BRIDGE"]
    assert float(shown.client.get("/metrics").text.partition("\ncart_link_away_seconds ")[2].partition("\n")[0]) < 300


# The model as a file.


def test_an_export_is_asked_for_by_its_kind(shown: Shown) -> None:
    shown.post("/api/exports", {"kind": "tflite"}, 202)
    assert shown.asked_exports == [ExportKind.TFLITE]
    for kind in ("", "exe", None, 5, ["h5"], "../h5"):
        assert shown.sentence("/api/exports", {"kind": kind}) == "kind must be one of h5, keras, tflite."
    assert len(shown.asked_exports) == 1


@pytest.mark.parametrize(
    "path",
    [
        "../api-token",
        "..%2fapi-token",
        "%2e%2e/%2e%2e/etc/passwd",
        "h5/../../api-token",
        "h5%00",
        "admin.json",
        "H5",
        "",
    ],
)
def test_a_download_takes_no_path(shown: Shown, path: str) -> None:
    answer = shown.client.get(f"/api/exports/{path}")
    assert answer.status_code in (404, 405)
    assert shown.account.token not in answer.text


def test_a_file_that_is_not_made_yet_is_not_there(shown: Shown) -> None:
    assert "There is no keras file yet" in shown.sentence("/api/exports/keras", status=404)


async def exported(exports: Exports, kind: ExportKind) -> dict[str, object]:
    exports.ask(kind)
    await asyncio.gather(*exports._tasks.values())
    return dict(exports.shown()[kind])


async def test_an_export_is_made_once_for_each_version_and_downloaded(shown: Shown) -> None:
    exports, trainer = shown.exports, shown.exports._trainer
    assert isinstance(trainer, FakeTrainer)
    assert (await exported(exports, ExportKind.HDF5))["sentence"] == ("There is no trained model yet.")
    shown.initialise()
    version = shown.train(0.5)
    (shown.versions.stored().path).write_text("weights")
    assert (await exported(exports, ExportKind.HDF5))["state"] == ExportState.READY
    first = exports.file(ExportKind.HDF5)
    await exported(exports, ExportKind.HDF5)
    assert exports.file(ExportKind.HDF5) == first
    with shown.client.get("/api/exports/h5") as answer:
        assert answer.data == b"weights"
        assert answer.headers["Content-Disposition"] == f"attachment; filename=shopping-version-{version.number}.h5"
    with shown.client.get("/api/exports/h5", headers={"Range": "bytes=0-3"}) as answer:
        assert (answer.status_code, answer.data) == (200, b"weights"), "a file is sent whole, so never gathered"
    assert (await exported(exports, ExportKind.KERAS))["size_bytes"] == len("keras weights")
    shown.train(0.6)
    (shown.versions.stored().path).write_text("newer weights")
    assert (await exported(exports, ExportKind.HDF5))["version"] == version.number + 1
    assert first is not None
    assert not first[0].exists()


async def test_an_export_that_fails_says_why_and_leaves_nothing(shown: Shown, tmp_path: Path) -> None:
    trainer = FakeTrainer()
    trainer.failing.add("export")
    exports = Exports(tmp_path / "failing", shown.versions, trainer)  # type: ignore[arg-type]
    shown.initialise()
    shown.train(0.5)
    assert await exported(exports, ExportKind.TFLITE) == {
        "state": ExportState.FAILED,
        "version": 1,
        "size_bytes": None,
        "sentence": "It was not converted. export fails as told.",
    }
    assert list((tmp_path / "failing").iterdir()) == []
    assert exports.file(ExportKind.TFLITE) is None
    trainer.hold.clear()
    exports.ask(ExportKind.TFLITE)
    await exports.close()
