"""What an operator is told of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from child_cart.db.records import Outcome
from child_cart.operation.warnings import Severity, WarningFacts, operator_warnings

GB = 1_000_000_000
FINE = WarningFacts(
    fleet_open=False,
    sharing=True,
    away_s=0.0,
    link_reason="",
    decoder_sentence="",
    camera_sentence="",
    free_bytes=50 * GB,
    total_bytes=100 * GB,
    store_trouble="",
    store_refused="",
    model_trouble="",
    failed_rounds=0,
    clock_ahead_s=0.0,
    other_shapes=0,
    task="digits",
    model_bytes=1000,
    max_model_bytes=1000,
    learning_trouble="",
    failed_outcome=None,
    failed_sentence="",
    plain_http_to="",
)


@pytest.mark.parametrize(
    ("change", "severity", "words"),
    [
        ({"fleet_open": True}, Severity.CAUTION, "The fleet is open"),
        ({"sharing": False}, Severity.NOTE, "Sharing is paused"),
        ({"away_s": 120.0, "link_reason": "Why."}, Severity.TROUBLE, "No bridge for 2 min. Why."),
        ({"decoder_sentence": "No codes."}, Severity.CAUTION, "No codes."),
        ({"camera_sentence": "No picture."}, Severity.CAUTION, "No picture."),
        ({"free_bytes": 400_000_000}, Severity.TROUBLE, "The disk is nearly full: 400 MB are free."),
        ({"store_trouble": "Away."}, Severity.TROUBLE, "Away. What is shown of it is from before."),
        ({"model_trouble": "Damaged."}, Severity.TROUBLE, "Damaged."),
        (
            {"failed_rounds": 2, "failed_sentence": "So.", "failed_outcome": Outcome.NOT_ENOUGH_PEERS},
            Severity.CAUTION,
            "The last 2 rounds ended without an average. So. Start more carts of this task",
        ),
        (
            {"failed_rounds": 3, "failed_sentence": "So.", "failed_outcome": Outcome.INTERRUPTED},
            Severity.CAUTION,
            "The last 3 rounds ended without an average. So.",
        ),
        ({"learning_trouble": "Bad row."}, Severity.TROUBLE, "This cart does not learn: Bad row. It sells on"),
        ({"clock_ahead_s": 3600.4}, Severity.CAUTION, "This machine's clock is 1 h 0 min ahead of the bridge's. Set"),
        ({"clock_ahead_s": -97200.0}, Severity.CAUTION, "This machine's clock is 1 d 3 h behind the bridge's. Set"),
        ({"other_shapes": 1}, Severity.CAUTION, "Models of 1 other cart at this bridge have another shape than this"),
        ({"other_shapes": 2}, Severity.CAUTION, "Models of 2 other carts at this bridge have another shape than this"),
        ({"model_bytes": 1001}, Severity.TROUBLE, "The model takes about 1,001 bytes as it is sent, and max_model_"),
        ({"plain_http_to": "0.0.0.0"}, Severity.CAUTION, "The pages are served on 0.0.0.0 without https"),
    ],
)
def test_each_fact_has_its_sentence(change: dict[str, object], severity: Severity, words: str) -> None:
    (told,) = operator_warnings(replace(FINE, **change))  # type: ignore[arg-type]
    assert told.severity is severity
    assert told.sentence.startswith(words)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"clock_ahead_s": -59.0},
        {"away_s": 5.0},
        {"failed_rounds": 1},
        {"free_bytes": 60_000_000, "total_bytes": 1 * GB},
    ],
)
def test_what_is_no_worry_is_not_told(change: dict[str, object]) -> None:
    assert operator_warnings(replace(FINE, **change)) == []  # type: ignore[arg-type]


def test_trouble_comes_first() -> None:
    told = operator_warnings(replace(FINE, fleet_open=True, sharing=False, model_trouble="Damaged."))
    assert [warning.severity for warning in told] == [Severity.TROUBLE, Severity.CAUTION, Severity.NOTE]
