"""The cart's figures for Prometheus, at ``/metrics``; for the operator and programs with the cart's token alone."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from cart_common.wire.messages import Role

from ..db.records import Json
from ..db.store import StoreError
from ..learning.activity import Stage
from ..network.link import LinkState
from ..operation.counters import Counters
from ..operation.desk import Desk, EventCounts
from ..operation.warnings import Severity
from ..transfers.active import Direction, TransferProgress

Family = Callable[..., GaugeMetricFamily | CounterMetricFamily]
Names = TypeVar("Names", bound=tuple[str, ...])

KINDS: Final = {"database": "database", "models": "models", "backups": "backup", "other": "other"}
ENDED: Final = (TransferProgress.DONE, TransferProgress.FAILED)


@dataclass(frozen=True)
class Figures:
    """What the metrics are made of; ``status`` is None where the store has never answered."""

    info: dict[str, str]
    status: Json | None
    counts: EventCounts
    refusals: Mapping[tuple[str, str], int]
    trainer_bytes: int


def metrics_of(figures: Figures) -> Iterator[Metric]:
    """Give each metric once."""
    yield _by_several(
        GaugeMetricFamily,
        "cart_info",
        "The program and what it learns.",
        {tuple(figures.info.values()): 1},
        *figures.info,
    )
    yield _gauge("cart_store_up", "Whether the store can be used.", _store_answers(figures.status))
    yield _by(
        CounterMetricFamily,
        "cart_rounds",
        "Rounds ended since the start, by outcome.",
        figures.counts.outcomes,
        "outcome",
    )
    yield _by(
        CounterMetricFamily,
        "cart_verdicts",
        "Received models judged since the start, by reason.",
        figures.counts.verdicts,
        "reason",
    )
    yield _by(
        CounterMetricFamily,
        "cart_failed_transfers",
        "Transfers, both ways, that have ended without their bytes since the start, by code.",
        figures.counts.failed_transfers,
        "code",
    )
    yield _by(
        CounterMetricFamily,
        "cart_codes",
        "Codes of photos and hand scanners since the start: READ, or why there was no item.",
        figures.counts.codes,
        "reason",
    )
    yield _by_several(
        CounterMetricFamily,
        "cart_refused_requests",
        "Requests refused since the start, by what was asked and HTTP status.",
        figures.refusals,
        *("endpoint", "status"),
    )
    yield _gauge(
        "cart_trainer_resident_bytes", "Resident memory of the trainer process; 0 without one.", figures.trainer_bytes
    )
    if figures.status is not None:
        yield from _of_status(figures.status)


def _of_status(status: Json) -> Iterator[Metric]:
    yield _gauge(
        "cart_link_attached", "Whether the cart is attached to a bridge.", status["link"]["state"] == LinkState.ATTACHED
    )
    yield _gauge("cart_kernel", "Whether the cart collects models (KERNEL).", status["role"] == Role.KERNEL)
    yield _gauge("cart_sharing", "Whether the cart shares its model.", status["sharing"])
    yield _by(
        GaugeMetricFamily,
        "cart_stage",
        "The present stage: 1 for it, 0 for the others.",
        {stage: stage == status["stage"] for stage in Stage},
        "stage",
    )
    yield _gauge("cart_dataset_size_rows", "Waiting rows that start a round.", status["rows"]["dataset_size"])
    if _store_answers(status):
        yield _gauge("cart_rows_waiting", "Rows that wait for training.", status["rows"]["waiting"])
        yield CounterMetricFamily("cart_rows", "Rows kept, since the first day.", status["rows"]["total"])
        yield CounterMetricFamily("cart_sales", "Sales kept, since the first day.", status["sales"])
    model = status["model"]
    if model is not None:
        yield _gauge("cart_model_version", "Number of the current model version.", model["number"])
        yield _gauge("cart_model_accuracy", "Accuracy of the current model, 0 to 1.", model["accuracy"])
        yield _gauge("cart_model_created_timestamp_seconds", "When it was made.", model["created_at"])
    yield CounterMetricFamily("cart_received_bytes", "Bytes of models received since the start.", status["bytes_in"])
    yield CounterMetricFamily("cart_sent_bytes", "Bytes of models sent since the start.", status["bytes_out"])
    running = [view["direction"] for view in status["transfers"] if view["state"] not in ENDED]
    yield _by(
        GaugeMetricFamily,
        "cart_transfers",
        "Transfers under way, by direction.",
        {way.lower(): running.count(way) for way in Direction},
        "direction",
    )
    disk = status["disk"]
    yield _gauge("cart_disk_free_bytes", "Free room on the disk of the data folder.", disk["free_bytes"])
    yield _by(
        GaugeMetricFamily,
        "cart_data_bytes",
        "What the data folder takes, by kind.",
        {kind: disk[f"{name}_bytes"] for kind, name in KINDS.items()},
        "kind",
    )
    weights = [caution["weight"] for caution in status["cautions"]]
    yield _by(
        GaugeMetricFamily,
        "cart_cautions",
        "Cautions on the admin page, by weight.",
        {weight.lower(): weights.count(weight) for weight in Severity},
        "weight",
    )


def _store_answers(status: Json | None) -> bool:
    return status is not None and bool(status["store"]["answers"])


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value)


def _by(kind: Family, name: str, help: str, values: Mapping[str, float], label: str) -> Metric:
    return _by_several(kind, name, help, {(value,): count for value, count in values.items()}, label)


def _by_several(kind: Family, name: str, help: str, values: Mapping[Names, float], *labels: str) -> Metric:
    family = kind(name, help, labels=labels)
    for names, value in values.items():
        family.add_metric([str(part) for part in names], value)
    return family


class DeskCollector(Collector):
    """The desk's figures, read when Prometheus asks."""

    def __init__(self, desk: Desk, refusals: Counters[tuple[str, str]]) -> None:
        self._desk = desk
        self._refusals = refusals

    def collect(self) -> Iterator[Metric]:
        """Give each metric once."""
        desk = self._desk
        try:
            status = desk.status()
        except StoreError:
            status = None
        yield from metrics_of(
            Figures(
                desk.info(),
                status,
                desk.counts(),
                self._refusals.counts(),
                resident_bytes(desk.trainer_process()),
            )
        )


def resident_bytes(process_id: int | None) -> int:
    """Return the resident memory of a process; 0 if there is none, or the system does not say."""
    try:
        return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def metrics(desk: Desk, refusals: Counters[tuple[str, str]]) -> Blueprint:
    """Return the blueprint of ``/metrics``.

    Args:
        desk: the cart.
        refusals: how often which endpoint has answered with which status of an error.
    """
    blueprint = Blueprint("metrics", __name__)
    registry = CollectorRegistry()
    registry.register(DeskCollector(desk, refusals))
    ProcessCollector(registry=registry)

    @blueprint.get("/metrics")
    def figures() -> Response:
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)

    return blueprint
