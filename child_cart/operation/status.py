"""What a cart is and does at one moment, as typed records without I/O.

The JSON of the API, ``/metrics`` and the operator's warnings are all made from these, and from nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cart_common.process.json_values import Json
from cart_common.wire.messages import Role

from ..db.records import ModelVersion, Origin, Outcome, RoundRecord
from ..learning.activity import Event, Stage
from ..model.trainer import Epoch
from ..network.bridge_selection import KnownBridge
from ..network.link_state import LinkState
from ..scanner.camera import CameraState
from ..scanner.service import ScannerStatus
from ..transfers.active import ENDED, Direction, TransferView
from .disk import DiskUse
from .store_watch import StoreFigures
from .warnings import OperatorWarning, WarningFacts, operator_warnings


@dataclass(frozen=True)
class CartInfo:
    """What stays the same while a cart runs."""

    version: str
    """Of the program."""
    task: str
    cart_id: str
    """In hexadecimal."""


@dataclass(frozen=True)
class ModelSummary:
    """What anybody may know of the current model."""

    number: int
    origin: Origin
    value: float | None
    """Of the metric; None if it was not measured."""
    metric: Json
    """Name, unit and direction."""
    samples: int
    created_at: float


@dataclass(frozen=True)
class RowCounts:
    """Rows that wait for training, how many of them start a round, all rows, and those that are set aside."""

    waiting: int
    dataset_size: int
    total: int
    set_aside: int


@dataclass(frozen=True)
class CartSummary:
    """What anybody may know of a cart. Times in seconds since the epoch.

    What began in this process began before ``now`` by its true age, also where the wall clock was set meanwhile.
    """

    info: CartInfo
    started_at: float
    now: float
    link_state: LinkState
    role: Role
    sharing: bool
    stage: Stage
    stage_since: float
    epoch: Epoch | None
    model: ModelSummary | None
    rows: RowCounts
    round_number: int | None
    """The number of the round that is running."""
    rounds_ended: int
    scanner: ScannerStatus
    store_answers: bool
    store_seen_at: float


@dataclass(frozen=True)
class LearningStatus:
    """The operator's part about model and rounds."""

    role_since: float
    trainer_process: int | None
    model: ModelVersion | None
    model_trouble: str
    """Why the newest version cannot be given to peers, as a sentence; empty if it can."""
    model_bytes: int
    """The size of the model as it is given to peers."""
    max_model_bytes: int
    """The largest model that is taken from peers."""
    trouble: str
    """Why the cart does not learn now, as a sentence; empty while it does."""
    round: RoundRecord | None
    events: tuple[Event, ...]
    exports: Json
    """Files of the model to download, by format."""


@dataclass(frozen=True)
class LinkView:
    """The link as a page shows it. Times in seconds since the epoch, by the present wall clock."""

    state: LinkState
    url: str
    since: float
    reason: str
    away_since: float | None


@dataclass(frozen=True)
class NetworkStatus:
    """The operator's part about link, bridges and transfers."""

    link: LinkView
    away_s: float
    """For how long the cart has had no bridge; 0 while it is attached."""
    bridges: tuple[KnownBridge, ...]
    transfers: tuple[TransferView, ...]
    bytes_in: int
    bytes_out: int
    clock_ahead_s: float | None
    """How far this machine's clock is ahead of its bridge's; None if that is not known."""

    other_shapes: int
    """How many carts of the same task had a model of another shape when the bridge was last asked for peers."""

    @property
    def is_attached(self) -> bool:
        """Whether the cart has a bridge."""
        return self.link.state is LinkState.ATTACHED

    @property
    def running_transfers(self) -> dict[str, int]:
        """How many transfers run, by direction, in lower case."""
        running = [view.direction for view in self.transfers if view.state not in ENDED]
        return {way.lower(): running.count(way) for way in Direction}


@dataclass(frozen=True)
class CartStatus:
    """Everything that a cart's operator may know of it."""

    summary: CartSummary
    share: str
    fleet_open: bool
    learning: LearningStatus
    network: NetworkStatus
    store: StoreFigures
    store_name: str
    """Without the password that its URL may hold."""
    disk: DiskUse
    plain_http_to: str
    """The address at which other machines reach the pages without https; else empty."""

    @property
    def warnings(self) -> list[OperatorWarning]:
        """What the operator should know, the most severe first."""
        return operator_warnings(_warning_facts(self))


@dataclass(frozen=True)
class EventCounts:
    """Events since the start: rounds by outcome, received models by verdict, failed transfers by code."""

    outcomes: Mapping[str, int]
    verdicts: Mapping[str, int]
    failed_transfers: Mapping[str, int]


def rounds_ended(newest: Sequence[RoundRecord]) -> int:
    """Return how many rounds have ended, from the newest rounds, newest first."""
    if not newest:
        return 0
    return newest[0].number if newest[0].outcome else newest[0].number - 1


def failed_in_a_row(rounds: Sequence[RoundRecord]) -> list[RoundRecord]:
    """Return the newest rounds that ended without an average although sharing was on, up to the first that did not."""
    failed = []
    for record in rounds:
        if record.outcome is None:
            continue
        if record.outcome in (Outcome.AGGREGATED, Outcome.KEPT_OWN, Outcome.SHARING_PAUSED):
            break
        failed.append(record)
    return failed


def _warning_facts(status: CartStatus) -> WarningFacts:
    link, scanner = status.network.link, status.summary.scanner
    failed = failed_in_a_row(status.store.rounds)
    return WarningFacts(
        fleet_open=status.fleet_open,
        sharing=status.summary.sharing,
        away_s=status.network.away_s,
        link_reason=link.reason,
        clock_ahead_s=status.network.clock_ahead_s or 0.0,
        other_shapes=status.network.other_shapes,
        task=status.summary.info.task,
        decoder_sentence=scanner.sentence,
        camera_sentence=scanner.camera.sentence if scanner.camera.state is CameraState.AWAY else "",
        free_bytes=status.disk.free_bytes,
        total_bytes=status.disk.total_bytes,
        store_trouble=status.store.trouble,
        store_refused=status.store.refused,
        model_trouble=status.learning.model_trouble,
        model_bytes=status.learning.model_bytes,
        max_model_bytes=status.learning.max_model_bytes,
        learning_trouble=status.learning.trouble,
        failed_rounds=len(failed),
        failed_outcome=failed[0].outcome if failed else None,
        failed_sentence=failed[0].sentence if failed else "",
        plain_http_to=status.plain_http_to,
    )
