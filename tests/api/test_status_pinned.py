"""The whole JSON of ``/api/status`` and the whole text of ``/metrics``: names, order, and values where they are fixed.

``pinned/`` holds both as other programs read them; a change of these files is a change of the interface.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.carts.shown import RYE_BREAD, Shown, bill_of

from cart_common.wire.messages import Code
from child_cart.db.records import Outcome, RoundRecord, Verdict
from child_cart.model.trainer import Epoch
from child_cart.model.verdict import VerdictReason
from child_cart.transfers.active import Direction, TransferProgress, TransferView
from child_cart.transfers.assembly import TransferError

PINNED = Path(__file__).parent / "pinned"
PEER = "cd" * 16
VARYING = {
    *("cart_id", "program_version", "started_at", "now", "since", "stage_since", "seen_at", "role_since", "at"),
    *("created_at", "file_name", "decoder", "formats", "attached_at", "tried_at"),
    *("database_bytes", "models_bytes", "other_bytes", "free_bytes", "total_bytes"),
}
VARYING_METRICS = re.compile(
    r"^(process_\w+|cart_disk_free_bytes|cart_data_bytes\{.*\}|cart_model_created\w+|cart_\w+_resident_bytes) .*$", re.M
)


def at_work(shown: Shown) -> None:
    """Give the cart something of everything that a status tells."""
    shown.initialise()
    shown.train(0.625, {"trending": []})
    shown.serve()
    shown.activity.report_epoch(Epoch(3, 20, 0.5))
    shown.activity.note("An event.")
    verdict = Verdict(PEER, VerdictReason.ACCEPTED, "Good.", 0.6, 7, 300, 1000)
    failed = RoundRecord("r0", 0, 900.0, outcome=Outcome.NOT_ENOUGH_PEERS, sentence="No peers.", ended_at=950.0)
    shown.store.save_round(replace(failed, round_id="r-1", number=1))
    shown.store.save_round(replace(failed, number=2))
    record = RoundRecord("r1", 3, 1000.0, 1, 0.5, 90, "c1", (verdict,), phase_s={"training": 1.5})
    shown.run_round(record)
    for way in Direction:
        view = TransferView(f"t-{way}", PEER, way, TransferProgress.RUNNING, 100, 40, started_at=1000.0)
        shown.parts.network.exchange._finished.append(view)
    view.end(TransferError(Code.TIMED_OUT, "The next chunk did not come."))
    view.ended_at = 1001.0
    shown.rounds.log.outcomes[Outcome.NOT_ENOUGH_PEERS] += 2
    shown.rounds.log.verdicts[VerdictReason.ACCEPTED] += 1
    shown.parts.network.exchange.failures[Code.TIMED_OUT] += 1
    shown.trainer.process_id = None
    shown.post("/api/checkout", {"sale_id": "s1", "gender": 1, "lines": bill_of((RYE_BREAD.code, 2))}, 201)
    for text in (RYE_BREAD.code, "nothing", "nothing"):
        shown.post("/api/scan/text", {"text": text})
    shown.sentence("/api/checkout", {"sale_id": 7})
    shown.sentence("/api/nothing", status=404)


def fixed(value: Any, name: str = "") -> Any:
    """Return JSON with the names of types in place of values that differ from run to run."""
    if name in VARYING:
        return type(value).__name__
    if isinstance(value, dict):
        return {key: fixed(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [fixed(entry) for entry in value]
    return value


def scanner_aside(status: dict[str, Any]) -> dict[str, Any]:
    """Return the status without what depends on the decoder that is installed."""
    sentence = status["scanner"]["sentence"]
    status["scanner"]["sentence"] = "str"
    if "cautions" in status:
        status["cautions"] = [entry for entry in status["cautions"] if entry["sentence"] != sentence]
    return status


def test_the_status_has_these_names_in_this_order(shown: Shown) -> None:
    at_work(shown)
    told = {
        "operator": scanner_aside(json.loads(shown.client.get("/api/status").text)),
        "stranger": scanner_aside(json.loads(shown.stranger().get("/api/status").text)),
    }
    expected = (PINNED / "status.json").read_text()
    assert json.dumps(fixed(told), indent=2) + "\n" == expected


def test_the_status_of_a_new_cart_has_these_names_in_this_order(shown: Shown) -> None:
    told = scanner_aside(json.loads(shown.client.get("/api/status").text))
    assert json.dumps(fixed(told), indent=2) + "\n" == (PINNED / "new.json").read_text()


def test_the_metrics_have_this_text(shown: Shown) -> None:
    at_work(shown)
    text = shown.client.get("/metrics").text
    text = VARYING_METRICS.sub(r"\1 VALUE", text)
    text = re.sub(r"^cart_info\{.*?\}", "cart_info{LABELS}", text, flags=re.M)
    # A caution more where no decoder but OpenCV is installed.
    text = re.sub(r'^(cart_cautions\{weight="caution"\}) .*$', r"\1 VALUE", text, flags=re.M)
    text = re.sub(r'^(cart_warning\{kind="scanner"\}) .*$', r"\1 VALUE", text, flags=re.M)
    assert text == (PINNED / "metrics.txt").read_text()
