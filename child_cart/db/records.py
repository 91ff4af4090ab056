"""What a cart stores: plain frozen records, the same for every backend."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final, TypeGuard

from cart_common.process.json_values import Json

MAX_ID_CHARS: Final = 64
ACCURACY: Final[Json] = {"name": "accuracy", "unit": "fraction", "direction": "higher"}
"""What records without a metric have measured: until version 0.1 there was no other."""
RENAMED: Final = {"accuracy": "value", "local_accuracy": "local_value", "new_accuracy": "new_value"}
"""Fields of records of version 0.1, and their names now."""


@dataclass(frozen=True)
class Item:
    """An article of the catalogue. Prices are whole cents."""

    code: str
    name: str
    category: int
    price_cents: int
    retired: bool = False
    """True if it is no longer sold. The record stays, so that its code is not reused and it can come back."""


@dataclass(frozen=True)
class BillLine:
    """An item and its amount, at the price at the time of the sale."""

    code: str
    name: str
    category: int
    price_cents: int
    amount: int


@dataclass(frozen=True)
class Sale:
    """A bill that was paid. ``sale_id`` comes from the client, so that a repeated check-out sells once."""

    sale_id: str
    sold_at: float
    sold_on: str
    gender: int
    lines: tuple[BillLine, ...]
    total_cents: int


@dataclass(frozen=True)
class SourcedRow:
    """A cart-data row, and the sale that made it; ``sale_id`` is empty for rows of programs."""

    row: Json
    sale_id: str = ""


@dataclass(frozen=True)
class StoredRow:
    """A cart-data row. ``held_out`` rows measure models and are never trained on."""

    sequence: int
    row: Json
    held_out: bool
    sale_id: str = ""
    """The sale that made it; empty for rows of programs, and for those of a store that did not note it."""
    sold_at: float = 0.0
    """When that sale was made, by the cart's clock."""


@dataclass(frozen=True)
class SetAsideRow:
    """A row that no model learns from or is measured on any more, since it spoils a training."""

    sequence: int
    row: Json
    reason: str
    set_aside_at: float


class Origin(StrEnum):
    """Where a model version comes from."""

    INITIAL = "INITIAL"
    JOINED = "JOINED"
    STARTER = "STARTER"
    LOCAL = "LOCAL"
    AGGREGATED = "AGGREGATED"


@dataclass(frozen=True)
class ModelVersion:
    """A version of the cart's model. Writing this record is the commit point of a training.

    ``trained_to`` is the sequence number of the last spent row; the rows above it are waiting.
    """

    number: int
    task: str
    origin: Origin
    file_name: str
    digest: str
    signature: str
    value: float | None
    """Of the metric; None if the version was not measured."""
    samples: int
    trained_from: int
    trained_to: int
    created_at: float
    round_number: int = 0
    """The round that made it; 0 before the first round."""
    summary: Json = field(default_factory=dict)
    copy_of: int | None = None
    """The earlier version whose weights these are, after a later one's file was damaged; rows after it wait again."""
    metric: Json = field(default_factory=lambda: dict(ACCURACY))
    """Name, unit and direction of what was measured."""


class Outcome(StrEnum):
    """How a round ended."""

    AGGREGATED = "AGGREGATED"
    KEPT_OWN = "KEPT_OWN"
    NONE_ACCEPTED = "NONE_ACCEPTED"
    NOT_ENOUGH_PEERS = "NOT_ENOUGH_PEERS"
    BRIDGE_AWAY = "BRIDGE_AWAY"
    TRAINER_FAILED = "TRAINER_FAILED"
    INTERRUPTED = "INTERRUPTED"
    SHARING_PAUSED = "SHARING_PAUSED"


@dataclass(frozen=True)
class Verdict:
    """The decision on one peer's model in a round, and its reason."""

    peer: str
    reason: str
    sentence: str
    value: float | None = None
    """Of the round's metric; None if it was not measured."""
    model_version: int | None = None
    samples: int | None = None
    payload_bytes: int | None = None


@dataclass(frozen=True)
class RoundRecord:
    """A round: its training, its cluster, every verdict, and the outcome; None while it runs."""

    round_id: str
    number: int
    started_at: float
    local_version: int | None = None
    local_value: float | None = None
    rows: int = 0
    cluster_id: str = ""
    verdicts: tuple[Verdict, ...] = ()
    new_version: int | None = None
    new_value: float | None = None
    """Of the mix; where the cart kept its own, there is no new version, and this is what it did not take."""
    phase_s: dict[str, float] = field(default_factory=dict)
    outcome: Outcome | None = None
    sentence: str = ""
    ended_at: float | None = None
    metric: Json = field(default_factory=lambda: dict(ACCURACY))
    """Name, unit and direction of the values."""
    ruined_value: float | None = None
    """After the training, if that ruined the model; the model from before it is then the local version."""


def is_id(value: object) -> TypeGuard[str]:
    """Return whether this is an id that a client may choose for a sale or a batch: a short printable text."""
    # Printable: half a surrogate pair is valid JSON, but no store takes it.
    return isinstance(value, str) and 1 <= len(value) <= MAX_ID_CHARS and value.isprintable()


def sale_of(body: Json) -> Sale:
    """Return the sale whose ``asdict`` is this body."""
    return Sale(**{**body, "lines": tuple(BillLine(**line) for line in body["lines"])})


def version_of(body: Json) -> ModelVersion:
    """Return the version whose ``asdict`` is this body, or was one in version 0.1."""
    version = ModelVersion(**_renamed({**body, "origin": Origin(body["origin"])}))
    # Starting weights were never measured, and were kept with an accuracy of 0.
    return replace(version, value=None) if version.origin is Origin.INITIAL else version


def round_of(body: Json) -> RoundRecord:
    """Return the round whose ``asdict`` is this body, or was one in version 0.1."""
    outcome = Outcome(body["outcome"]) if body["outcome"] else None
    verdicts = tuple(Verdict(**_renamed(verdict)) for verdict in body["verdicts"])
    return RoundRecord(**_renamed({**body, "verdicts": verdicts, "outcome": outcome}))


def _renamed(body: Json) -> Json:
    return {RENAMED.get(name, name): value for name, value in body.items()}
