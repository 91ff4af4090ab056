"""What an operator should know of before it hurts. Decides with no I/O: facts in, sentences out."""

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
    """As somebody has chosen it."""
    CAUTION = "CAUTION"
    TROUBLE = "TROUBLE"


@dataclass(frozen=True)
class OperatorWarning:
    """One thing to know."""

    severity: Severity
    sentence: str


@dataclass(frozen=True)
class WarningFacts:
    """What warnings follow from. Sentences are empty where there is nothing to say."""

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
    model_trouble: str
    failed_rounds: int
    """How many of the last rounds, in a row, ended without an average, for want of anything but sharing."""
    failed_sentence: str
    plain_http_to: str
    """The address that pages are served at without https, beyond this machine; else empty."""


def operator_warnings(facts: WarningFacts) -> list[OperatorWarning]:
    """Return what there is to know, the most severe first."""
    nearly_full = facts.free_bytes < min(NEARLY_FULL_BYTES, NEARLY_FULL_SHARE * facts.total_bytes)
    every = (
        (nearly_full, Severity.TROUBLE, f"The disk is nearly full: {facts.free_bytes / 1e6:.0f} MB are free."),
        (bool(facts.store_trouble), Severity.TROUBLE, f"{facts.store_trouble} What is shown of it is from before."),
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
            "The fleet is open: whoever runs a bridge can add carts. Give all carts a fleet key "
            "(--fleet-key-file) and the bridge its token.",
        ),
        (
            bool(facts.plain_http_to),
            Severity.CAUTION,
            f"The pages are served on {facts.plain_http_to} without https: whoever listens on the network can read "
            "the password.",
        ),
        (bool(facts.decoder_sentence), Severity.CAUTION, facts.decoder_sentence),
        (bool(facts.camera_sentence), Severity.CAUTION, facts.camera_sentence),
        (
            not facts.sharing,
            Severity.NOTE,
            "Sharing is paused: this cart trains alone, and gives its model to nobody.",
        ),
    )
    return [OperatorWarning(severity, sentence) for holds, severity, sentence in every if holds]
