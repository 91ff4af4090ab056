"""Warnings for the operator. Decides without I/O: facts in, sentences out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from cart_common.process.number_words import duration_words

from ..db.records import Outcome

NEARLY_FULL_SHARE: Final = 0.05
NEARLY_FULL_BYTES: Final = 500_000_000
AWAY_S: Final = 60.0
# Records that others have signed are refused with two minutes of difference, or once a short life is over.
CLOCK_OFF_S: Final = 60.0
WHAT_TO_DO: Final = {
    Outcome.NOT_ENOUGH_PEERS: " Start more carts of this task, lower min_peers, or raise cluster_wait_s.",
    Outcome.NONE_ACCEPTED: " The verdicts of the rounds say why; a wider accept window takes more models.",
    Outcome.TRAINER_FAILED: " The file trainer.log in the data folder says more.",
}
"""By the outcome of the last round of several that failed."""


class Severity(StrEnum):
    """How much a warning matters."""

    NOTE = "NOTE"
    """The operator has chosen it."""
    CAUTION = "CAUTION"
    TROUBLE = "TROUBLE"


class WarningKind(StrEnum):
    """What a warning is about; the closed list that ``/metrics`` counts by."""

    DISK = "DISK"
    STORE = "STORE"
    MODEL = "MODEL"
    MODEL_SIZE = "MODEL_SIZE"
    TRAINER = "TRAINER"
    BRIDGE = "BRIDGE"
    CLOCK = "CLOCK"
    OTHER_SHAPES = "OTHER_SHAPES"
    ROUNDS = "ROUNDS"
    FLEET_OPEN = "FLEET_OPEN"
    PLAIN_HTTP = "PLAIN_HTTP"
    SCANNER = "SCANNER"
    CAMERA = "CAMERA"
    SHARING_PAUSED = "SHARING_PAUSED"


@dataclass(frozen=True)
class OperatorWarning:
    """One warning."""

    kind: WarningKind
    severity: Severity
    sentence: str


@dataclass(frozen=True)
class WarningFacts:
    """The facts that warnings follow from. A sentence is empty if there is nothing to say."""

    fleet_open: bool
    sharing: bool
    away_s: float
    """For how long the cart has had no bridge, over all its tries; 0 while it is attached."""
    link_reason: str
    clock_ahead_s: float
    """How far the clock is ahead of the bridge's; below 0 where it is behind."""
    other_shapes: int
    """How many carts of the same task have a model of another shape."""
    task: str
    """Its name."""
    decoder_sentence: str
    camera_sentence: str
    free_bytes: int
    total_bytes: int
    store_trouble: str
    store_refused: str
    model_trouble: str
    model_bytes: int
    """The size of the own model as it is sent; about that of every peer's."""
    max_model_bytes: int
    learning_trouble: str
    failed_rounds: int
    """How many rounds in a row, the newest first, ended without an average although sharing was on."""
    failed_outcome: Outcome | None
    """The outcome of the newest of them."""
    failed_sentence: str
    plain_http_to: str
    """The address at which other machines reach the pages without https; else empty."""


def operator_warnings(facts: WarningFacts) -> list[OperatorWarning]:
    """Return the warnings, the most severe first."""
    nearly_full = facts.free_bytes < min(NEARLY_FULL_BYTES, NEARLY_FULL_SHARE * facts.total_bytes)
    advice = WHAT_TO_DO.get(facts.failed_outcome, "") if facts.failed_outcome else ""
    every = (
        (
            nearly_full,
            WarningKind.DISK,
            Severity.TROUBLE,
            f"The disk is nearly full: {facts.free_bytes / 1e6:.0f} MB are free. Make room: a full disk stops sales.",
        ),
        (
            bool(facts.store_trouble),
            WarningKind.STORE,
            Severity.TROUBLE,
            f"{facts.store_trouble} What is shown of it is from before.",
        ),
        (
            bool(facts.store_refused),
            WarningKind.STORE,
            Severity.TROUBLE,
            f"Nothing is sold or learned. {facts.store_refused}",
        ),
        (bool(facts.model_trouble), WarningKind.MODEL, Severity.TROUBLE, facts.model_trouble),
        (
            facts.model_bytes > facts.max_model_bytes,
            WarningKind.MODEL_SIZE,
            Severity.TROUBLE,
            f"The model takes about {facts.model_bytes:,} bytes as it is sent, and max_model_bytes is "
            f"{facts.max_model_bytes:,}: this cart refuses the model of every peer. Raise max_model_bytes on all carts "
            "of the task.",
        ),
        (
            facts.away_s > AWAY_S,
            WarningKind.BRIDGE,
            Severity.TROUBLE,
            f"No bridge for {facts.away_s / 60:.0f} min. {facts.link_reason}".strip(),
        ),
        (
            abs(facts.clock_ahead_s) > CLOCK_OFF_S,
            WarningKind.CLOCK,
            Severity.CAUTION,
            f"This machine's clock is {duration_words(round(abs(facts.clock_ahead_s)))} "
            f"{'ahead of' if facts.clock_ahead_s > 0 else 'behind'} the bridge's. Set the one that is wrong "
            "(timedatectl): until then this cart finds no peers at other bridges, and its sales may bear a wrong time.",
        ),
        (
            facts.other_shapes > 0,
            WarningKind.OTHER_SHAPES,
            Severity.CAUTION,
            f"Models of {_carts(facts.other_shapes)} at this bridge have another shape than this cart's, though the "
            f"task is {facts.task} too: they cannot be averaged. Bring all carts to one version of the task; the log "
            "says how many parameters each model has.",
        ),
        (
            bool(facts.learning_trouble),
            WarningKind.TRAINER,
            Severity.TROUBLE,
            f"This cart does not learn: {facts.learning_trouble} It sells on, keeps the rows and tries again; "
            "trainer.log in the data folder says more.",
        ),
        (
            facts.failed_rounds > 1,
            WarningKind.ROUNDS,
            Severity.CAUTION,
            f"The last {facts.failed_rounds} rounds ended without an average. {facts.failed_sentence}{advice}".strip(),
        ),
        (
            facts.fleet_open,
            WarningKind.FLEET_OPEN,
            Severity.CAUTION,
            "The fleet is open: anyone who runs a bridge can add carts. Give all carts a fleet key "
            "(--fleet-key-file) and the bridge its token.",
        ),
        (
            bool(facts.plain_http_to),
            WarningKind.PLAIN_HTTP,
            Severity.CAUTION,
            f"The pages are served on {facts.plain_http_to} without https: anyone who listens on the network can "
            "read the password.",
        ),
        (bool(facts.decoder_sentence), WarningKind.SCANNER, Severity.CAUTION, facts.decoder_sentence),
        (bool(facts.camera_sentence), WarningKind.CAMERA, Severity.CAUTION, facts.camera_sentence),
        (
            not facts.sharing,
            WarningKind.SHARING_PAUSED,
            Severity.NOTE,
            "Sharing is paused: this cart trains alone and gives its model to no peer.",
        ),
    )
    return [OperatorWarning(kind, severity, sentence) for holds, kind, severity, sentence in every if holds]


def _carts(count: int) -> str:
    return "1 other cart" if count == 1 else f"{count} other carts"
