"""Reads the status of a running cart. Every method may be called from any thread."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cart_common.process.addresses import is_loopback
from cart_common.process.redaction import shown

from ..config import CartSettings, SettingsBook
from ..db.records import ModelVersion, RoundRecord
from ..db.store import Store
from ..learning.activity import Activity
from ..learning.exports import Exports
from ..learning.rounds import Rounds
from ..learning.versions import Versions
from ..network.bridge_selection import BridgeSelection
from ..network.link import Link
from ..network.link_state import LinkStatus
from ..scanner.service import ScannerService
from ..transfers.exchange import Exchange
from .disk import Disk
from .status import (
    CartInfo,
    CartStatus,
    CartSummary,
    EventCounts,
    LearningStatus,
    LinkView,
    ModelSummary,
    NetworkStatus,
    RowCounts,
    rounds_ended,
)
from .store_watch import StoreFigures, StoreWatch


@dataclass(frozen=True)
class LearningSources:
    """The parts of a cart that know its model and its rounds."""

    rounds: Rounds
    versions: Versions
    activity: Activity
    exports: Exports
    trainer_process: Callable[[], int | None]
    """Gives the id of the trainer process, or None while there is none."""


@dataclass(frozen=True)
class NetworkSources:
    """The parts of a cart that know its link, bridges and transfers."""

    link: Link
    bridges: BridgeSelection
    exchange: Exchange


class StatusService:
    """What a cart is and does now.

    Args:
        info: what stays the same.
        book: the settings.
        store: its figures are shown; the last known ones while it does not answer.
        disk: the data folder.
        scanner: reads codes.
        learning: the parts that learn.
        network: the parts that exchange models.
    """

    def __init__(
        self,
        info: CartInfo,
        book: SettingsBook,
        store: Store,
        disk: Disk,
        scanner: ScannerService,
        learning: LearningSources,
        network: NetworkSources,
    ) -> None:
        self.info = info
        self._book = book
        self._watch = StoreWatch(store)
        self._disk = disk
        self._scanner = scanner
        self._learning = learning
        self._network = network
        self._started_at = time.monotonic()

    def summary(self) -> CartSummary:
        """Return what anybody may know of the cart.

        Raises:
            StoreError: if the store has not answered yet.
        """
        learning = self._learning
        return self._summary(
            self._watch.look(), learning.versions.current, learning.rounds.log.record, self._network.link.status
        )

    def status(self) -> CartStatus:
        """Return everything that the operator may know of the cart.

        Raises:
            StoreError: if the store has not answered yet.
        """
        figures, settings, link = self._watch.look(), self._book.current, self._network.link.status
        version, record = self._learning.versions.current, self._learning.rounds.log.record
        return CartStatus(
            summary=self._summary(figures, version, record, link),
            share=settings.share,
            fleet_open=not settings.fleet_key_file,
            learning=self._learning_status(version, record),
            network=self._network_status(link),
            store=figures,
            store_name=shown(settings.store),
            disk=self._disk.use(),
            plain_http_to=plain_http_to(settings),
        )

    def counts(self) -> EventCounts:
        """Return how often what has happened since the start; needs no store."""
        rounds, failures = self._learning.rounds.log, self._network.exchange.failures
        return EventCounts(rounds.outcomes, rounds.verdicts, {str(code): count for code, count in failures.items()})

    def trainer_process(self) -> int | None:
        """Return the id of the trainer process, or None while there is none."""
        return self._learning.trainer_process()

    def _summary(
        self, figures: StoreFigures, version: ModelVersion | None, record: RoundRecord | None, link: LinkStatus
    ) -> CartSummary:
        activity, settings = self._learning.activity, self._book.current
        return CartSummary(
            info=self.info,
            started_at=_wall_time_of(self._started_at),
            now=time.time(),
            link_state=link.state,
            role=self._learning.rounds.sharing.role,
            sharing=settings.sharing == "on",
            stage=activity.stage,
            stage_since=_wall_time_of(activity.since),
            epoch=activity.epoch,
            model=_model_summary(version) if version else None,
            rows=RowCounts(figures.waiting, settings.dataset_size, figures.rows, figures.set_aside),
            round_number=record.number if record else None,
            rounds_ended=rounds_ended(figures.rounds),
            scanner=self._scanner.status(),
            store_answers=figures.answers,
            store_seen_at=figures.seen_at,
        )

    def _learning_status(self, version: ModelVersion | None, record: RoundRecord | None) -> LearningStatus:
        learning = self._learning
        return LearningStatus(
            role_since=_wall_time_of(learning.rounds.sharing.role_since),
            trainer_process=learning.trainer_process(),
            model=version,
            model_trouble=learning.versions.trouble,
            model_bytes=learning.versions.sent_bytes(),
            max_model_bytes=self._book.current.max_model_bytes,
            trouble=learning.activity.trouble,
            round=record,
            events=tuple(learning.activity.events()),
            exports=learning.exports.shown(),
        )

    def _network_status(self, link: LinkStatus) -> NetworkStatus:
        exchange = self._network.exchange
        return NetworkStatus(
            link=_link_view(link),
            away_s=link.away_s(time.monotonic()),
            bridges=tuple(self._network.bridges.known()),
            transfers=tuple(exchange.views()),
            bytes_in=exchange.bytes_in,
            bytes_out=exchange.bytes_out,
            clock_ahead_s=self._network.link.clock_ahead_s,
            other_shapes=exchange.home.requests.other_shapes,
        )


def plain_http_to(settings: CartSettings) -> str:
    """Return the address at which other machines reach the pages without https; empty if there is none."""
    return "" if settings.tls_cert or is_loopback(settings.host) else settings.host


def _wall_time_of(monotonic_s: float) -> float:
    """Return when something was, in seconds since the epoch as the wall clock counts them now."""
    return time.time() - (time.monotonic() - monotonic_s)


def _link_view(link: LinkStatus) -> LinkView:
    away_since = None if link.away_since is None else _wall_time_of(link.away_since)
    return LinkView(link.state, link.url, _wall_time_of(link.since), link.reason, away_since)


def _model_summary(version: ModelVersion) -> ModelSummary:
    return ModelSummary(
        version.number, version.origin, version.value, version.metric, version.samples, version.created_at
    )
