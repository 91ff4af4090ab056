"""Warnings for the operator. Decides without I/O: facts in, sentences out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NEARLY_FULL_SHARE: Final = 0.05
NEARLY_FULL_BYTES: Final = 500_000_000
AWAY_S: Final = 60.0


class Severity(StrEnum):
    """How much a warning matters."""

    NOTE = "NOTE"
    """The operator has chosen it."""
    CAUTION = "CAUTION"
    TROUBLE = "TROUBLE"


@dataclass(frozen=True)
class OperatorWarning:
    """One warning."""

    severity: Severity
    sentence: str


@dataclass(frozen=True)
class WarningFacts:
    """The facts that warnings follow from. A sentence is empty if there is nothing to say."""

    fleet_open: bool
    sharing: bool
    attached: bool
    away_s: float
    link_reason: str
    decoder_sentence: str
    camera_sentence: str
    free_bytes: int
    total_bytes: int
    store_trouble: str
    store_refused: str
    model_trouble: str
    failed_rounds: int
    """How many rounds in a row, the newest first, ended without an average although sharing was on."""
    failed_sentence: str
    plain_http_to: str
    """The address at which other machines reach the pages without https; else empty."""


def operator_warnings(facts: WarningFacts) -> list[OperatorWarning]:
    """Return the warnings, the most severe first."""
    nearly_full = facts.free_bytes < min(NEARLY_FULL_BYTES, NEARLY_FULL_SHARE * facts.total_bytes)
    every = (
        (nearly_full, Severity.TROUBLE, f"The disk is nearly full: {facts.free_bytes / 1e6:.0f} MB are free."),
        (bool(facts.store_trouble), Severity.TROUBLE, f"{facts.store_trouble} What is shown of it is from before."),
        (bool(facts.store_refused), Severity.TROUBLE, f"Nothing is sold or learned. {facts.store_refused}"),
        (bool(facts.model_trouble), Severity.TROUBLE, facts.model_trouble),
        (
            not facts.attached and facts.away_s > AWAY_S,
            Severity.TROUBLE,
            f"No bridge for {facts.away_s / 60:.0f} min. {facts.link_reason}".strip(),
        ),
        (
            facts.failed_rounds > 1,
            Severity.CAUTION,
            f"The last {facts.failed_rounds} rounds ended without an average. {facts.failed_sentence}".strip(),
        ),
        (
            facts.fleet_open,
            Severity.CAUTION,
            "The fleet is open: anyone who runs a bridge can add carts. Give all carts a fleet key "
            "(--fleet-key-file) and the bridge its token.",
        ),
        (
            bool(facts.plain_http_to),
            Severity.CAUTION,
            f"The pages are served on {facts.plain_http_to} without https: anyone who listens on the network can "
            "read the password.",
        ),
        (bool(facts.decoder_sentence), Severity.CAUTION, facts.decoder_sentence),
        (bool(facts.camera_sentence), Severity.CAUTION, facts.camera_sentence),
        (
            not facts.sharing,
            Severity.NOTE,
            "Sharing is paused: this cart trains alone and gives its model to no peer.",
        ),
    )
    return [OperatorWarning(severity, sentence) for holds, severity, sentence in every if holds]
