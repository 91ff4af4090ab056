"""The cart's figures for Prometheus."""

from __future__ import annotations

import os

import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.carts.shown import Shown

import cart_common
from child_cart.api.metrics import resident_bytes
from child_cart.db.records import Outcome
from child_cart.db.store import StoreAway
from child_cart.model.verdict import VerdictReason


def samples(shown: Shown) -> dict[tuple[str, ...], float]:
    """Return each sample under its name and the values of its labels, in the order of their names."""
    answer = shown.client.get("/metrics")
    assert answer.status_code == 200
    families = text_string_to_metric_families(answer.text)
    found = [sample for family in families for sample in family.samples]
    keyed = {(sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value for sample in found}
    assert len(keyed) == len(found)
    return keyed


def test_a_new_cart_shows_zeros_and_no_model(shown: Shown) -> None:
    seen = samples(shown)
    assert seen["cart_info", shown.id, "shopping", cart_common.__version__] == 1
    assert {seen["cart_rounds_total", outcome] for outcome in Outcome} == {0}
    assert {seen["cart_verdicts_total", reason] for reason in VerdictReason} == {0}
    assert seen["cart_stage", "PREPARING"] == 1
    assert sum(value for key, value in seen.items() if key[0] == "cart_stage") == 1
    assert seen["cart_link_attached",] == 0
    assert seen["cart_trainer_resident_bytes",] == 0
    assert not any(key[0] == "cart_model_metric" for key in seen)
    assert seen["process_resident_memory_bytes",] > 10_000_000


def test_the_figures_are_those_of_the_status(shown: Shown) -> None:
    shown.initialise()
    shown.train(0.75)
    shown.trainer.process_id = os.getpid()
    shown.rounds.log.outcomes[Outcome.AGGREGATED] += 2
    shown.rounds.log.verdicts[VerdictReason.TOO_WEAK] += 3
    seen, status = samples(shown), shown.client.get("/api/status").json
    assert seen["cart_model_version",] == status["model"]["number"]
    assert seen["cart_model_metric", "higher", "accuracy", "fraction"] == 0.75
    assert seen["cart_rows_waiting",] == status["rows"]["waiting"]
    assert seen["cart_rows_total",] == status["rows"]["total"]
    assert seen["cart_rounds_total", "AGGREGATED"] == 2
    assert seen["cart_verdicts_total", "TOO_WEAK"] == 3
    assert seen["cart_trainer_resident_bytes",] > 10_000_000
    assert seen["cart_disk_free_bytes",] > 0
    cautions = [caution["weight"] for caution in status["cautions"]]
    assert seen["cart_cautions", "caution"] == cautions.count("CAUTION") > 0


def test_what_was_refused_is_counted(shown: Shown) -> None:
    assert samples(shown)["cart_codes_total", "UNKNOWN"] == 0
    for text in ("0200000000103", "nothing", "nothing"):
        shown.client.post("/api/scan/text", json={"text": text})
    for _ in range(2):
        shown.sentence("/api/checkout", {"sale_id": 7})
    shown.stranger().get("/metrics")
    seen = samples(shown)
    assert (seen["cart_codes_total", "READ"], seen["cart_codes_total", "UNKNOWN"]) == (1, 2)
    assert seen["cart_refused_requests_total", "service.check_out", "400"] == 2
    assert seen["cart_refused_requests_total", "metrics.figures", "401"] == 1
    assert not [key for key in seen if key[0] == "cart_refused_requests_total" and key[1] == "scan.text"]


def test_a_store_that_is_away_is_a_figure_too(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> int:
        raise StoreAway("The server does not answer.")

    assert samples(shown)["cart_store_up",] == 1
    monkeypatch.setattr(shown.store, "waiting_count", away)
    seen = samples(shown)
    assert seen["cart_store_up",] == 0
    assert ("cart_rows_waiting",) not in seen
    assert seen["cart_link_attached",] == 0  # the rest goes on
    assert ("cart_rounds_total", "AGGREGATED") in seen


def test_only_programs_with_the_token_see_them(shown: Shown) -> None:
    refused = shown.stranger().get("/metrics")
    assert refused.status_code == 401
    assert "cart_" not in refused.text.replace("cart's", "")


def test_a_process_that_is_gone_has_no_memory() -> None:
    assert resident_bytes(None) == 0
    assert resident_bytes(2**22 + 1) == 0
