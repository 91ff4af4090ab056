"""The cart's figures for Prometheus, at ``/metrics``; for the operator and programs with the cart's token."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flask import Blueprint, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cart_common.wire.messages import Role

from ..db.store import StoreError
from ..learning.activity import Stage
from ..operation.status import CartInfo, CartStatus, EventCounts
from ..operation.status_service import StatusService
from ..operation.warnings import Severity, WarningKind
from .serving.lanes import Lane, answered_in

Family = Callable[..., GaugeMetricFamily | CounterMetricFamily]

disable_created_metrics()  # type: ignore[no-untyped-call]  # every counter begins at the start of the process, which has a metric of its own


@dataclass(frozen=True)
class Figures:
    """What the metrics are made of; ``status`` is None where the store has never answered."""

    info: CartInfo
    status: CartStatus | None
    counts: EventCounts
    codes: Counter
    refusals: Counter
    trainer_bytes: int


def new_refusals() -> Counter:
    """Return a counter of refused requests."""
    return Counter(
        "cart_refused_requests",
        "Requests refused since the start, by what was asked and HTTP status.",
        ["endpoint", "status"],
        registry=None,
    )


def metrics_of(figures: Figures) -> Iterator[Metric]:
    """Give each metric once."""
    info, status, counts = asdict(figures.info), figures.status, figures.counts
    family = GaugeMetricFamily("cart_info", "The program and what it learns.", labels=list(info))
    family.add_metric(list(info.values()), 1)
    yield family
    store_up = status is not None and status.store.is_usable
    yield _gauge("cart_store_up", "Whether the store can be used.", store_up)
    yield _by(
        CounterMetricFamily, "cart_rounds", "Rounds ended since the start, by outcome.", counts.outcomes, "outcome"
    )
    yield _by(
        CounterMetricFamily,
        "cart_verdicts",
        "Received models judged since the start, by reason.",
        counts.verdicts,
        "reason",
    )
    yield _by(
        CounterMetricFamily,
        "cart_failed_transfers",
        "Transfers, both ways, that have ended without their bytes since the start, by code.",
        counts.failed_transfers,
        "code",
    )
    yield from figures.codes.collect()
    yield from figures.refusals.collect()
    yield _gauge(
        "cart_trainer_resident_bytes", "Resident memory of the trainer process; 0 without one.", figures.trainer_bytes
    )
    if status is not None:
        yield from _of_summary(status)
        yield from _of_model(status)
        yield from _of_traffic(status)
        yield from _of_machine(status)


def _of_summary(status: CartStatus) -> Iterator[Metric]:
    summary, rows = status.summary, status.summary.rows
    yield _gauge("cart_link_attached", "Whether the cart is attached to a bridge.", status.network.is_attached)
    yield _gauge(
        "cart_link_away_seconds",
        "For how long the cart has had no bridge, over all its tries.",
        status.network.away_s,
    )
    yield _gauge("cart_kernel", "Whether the cart collects models (KERNEL).", summary.role is Role.KERNEL)
    yield _gauge("cart_sharing", "Whether the cart shares its model.", summary.sharing)
    yield _by(
        GaugeMetricFamily,
        "cart_stage",
        "The present stage: 1 for it, 0 for the others.",
        {str(stage): int(stage is summary.stage) for stage in Stage},
        "stage",
    )
    yield _gauge("cart_dataset_size_rows", "Waiting rows that start a round.", rows.dataset_size)
    yield CounterMetricFamily(
        "cart_store_refusals", "Writes that the store has refused since the start.", status.store.refusals
    )
    if status.store.answers:
        yield _gauge("cart_rows_waiting", "Rows that wait for training.", rows.waiting)
        yield _gauge("cart_rows_set_aside", "Rows that no training takes.", rows.set_aside)
        yield CounterMetricFamily("cart_rows", "Rows kept, since the first day.", rows.total)
        yield CounterMetricFamily("cart_sales", "Sales kept, since the first day.", status.store.sales)


def _of_model(status: CartStatus) -> Iterator[Metric]:
    model = status.learning.model
    if model is not None:
        yield _gauge("cart_model_version", "Number of the current model version.", model.number)
        if model.value is not None:
            labels = {name: str(model.metric[name]) for name in ("name", "unit", "direction")}
            family = GaugeMetricFamily(
                "cart_model_metric",
                "What the current model was measured at; direction says which values are better.",
                labels=list(labels),
            )
            family.add_metric(list(labels.values()), model.value)
            yield family
        yield _gauge("cart_model_created_timestamp_seconds", "When it was made.", model.created_at)


def _of_traffic(status: CartStatus) -> Iterator[Metric]:
    network = status.network
    yield CounterMetricFamily("cart_received_bytes", "Bytes of models received since the start.", network.bytes_in)
    yield CounterMetricFamily("cart_sent_bytes", "Bytes of models sent since the start.", network.bytes_out)
    yield _by(
        GaugeMetricFamily,
        "cart_transfers",
        "Transfers under way, by direction.",
        network.running_transfers,
        "direction",
    )


def _of_machine(status: CartStatus) -> Iterator[Metric]:
    disk = status.disk
    yield _gauge(
        "cart_clock_offset_seconds",
        "How far the cart's clock is ahead of its bridge's; 0 while that is not known.",
        status.network.clock_ahead_s or 0.0,
    )
    yield _gauge("cart_disk_free_bytes", "Free room on the disk of the data folder.", disk.free_bytes)
    yield _by(
        GaugeMetricFamily,
        "cart_data_bytes",
        "What the data folder takes, by kind.",
        {
            "database": disk.database_bytes,
            "models": disk.models_bytes,
            "backups": disk.backup_bytes,
            "other": disk.other_bytes,
        },
        "kind",
    )
    warnings = status.warnings
    severities, kinds = [warning.severity for warning in warnings], {warning.kind for warning in warnings}
    yield _by(
        GaugeMetricFamily,
        "cart_cautions",
        "Cautions on the admin page, by weight.",
        {severity.lower(): severities.count(severity) for severity in Severity},
        "weight",
    )
    yield _by(
        GaugeMetricFamily,
        "cart_warning",
        "Whether the admin page warns of this, by kind.",
        {kind.lower(): int(kind in kinds) for kind in WarningKind},
        "kind",
    )


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value)


def _by(kind: Family, name: str, help: str, values: Mapping[str, float], label: str) -> Metric:
    family = kind(name, help, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


class CartCollector(Collector):
    """The cart's figures, read when Prometheus asks."""

    def __init__(self, service: StatusService, codes: Counter, refusals: Counter) -> None:
        self._service = service
        self._codes = codes
        self._refusals = refusals

    def collect(self) -> Iterator[Metric]:
        """Give each metric once."""
        service = self._service
        try:
            status = service.status()
        except StoreError:
            status = None
        trainer_bytes = resident_bytes(service.trainer_process())
        yield from metrics_of(
            Figures(service.info, status, service.counts(), self._codes, self._refusals, trainer_bytes)
        )


def resident_bytes(process_id: int | None) -> int:
    """Return the resident memory of a process; 0 if there is none, or the system does not say."""
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def metrics(service: StatusService, codes: Counter, refusals: Counter) -> Blueprint:
    """Return the blueprint of ``/metrics``.

    Args:
        service: gives the status.
        codes: counts scanned codes.
        refusals: counts refused requests.
    """
    blueprint = Blueprint("metrics", __name__)
    registry = CollectorRegistry()
    registry.register(CartCollector(service, codes, refusals))
    ProcessCollector(registry=registry)

    @blueprint.get("/metrics")
    @answered_in(Lane.REPORTS)
    def figures() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return blueprint
