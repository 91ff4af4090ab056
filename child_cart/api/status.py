"""``/api/status``: a summary for anybody, everything for the operator; ``docs/api.md`` describes the JSON."""

from __future__ import annotations

from dataclasses import asdict

from flask import Blueprint, Response, jsonify

from cart_common.process.json_values import Json

from ..db.records import ModelVersion
from ..operation.status import CartStatus, CartSummary
from ..operation.status_service import StatusService
from ..operation.warnings import OperatorWarning
from .access.auth import is_known, open_to_all


def add_status(blueprint: Blueprint, service: StatusService) -> None:
    """Add the address of the status."""

    @blueprint.get("/status")
    @open_to_all
    def status() -> Response:
        return jsonify(status_json(service.status()) if is_known() else summary_json(service.summary()))


def summary_json(summary: CartSummary) -> Json:
    """Return what anybody may read."""
    return {
        "cart_id": summary.info.cart_id,
        "program_version": summary.info.version,
        "task": summary.info.task,
        "started_at": summary.started_at,
        "now": summary.now,
        "link": {"state": summary.link_state},
        "role": summary.role,
        "sharing": summary.sharing,
        "stage": summary.stage,
        "stage_since": summary.stage_since,
        "epoch": asdict(summary.epoch) if summary.epoch else None,
        "model": asdict(summary.model) if summary.model else None,
        "rows": asdict(summary.rows),
        "round": None if summary.round_number is None else {"number": summary.round_number},
        "rounds_ended": summary.rounds_ended,
        "scanner": asdict(summary.scanner),
        "store": {"answers": summary.store_answers, "seen_at": summary.store_seen_at},
    }


def status_json(status: CartStatus) -> Json:
    """Return what the operator may read: the summary, some of it in more detail, and the rest."""
    summary, learning, network = summary_json(status.summary), status.learning, status.network
    return {
        **summary,
        "share": status.share,
        "link": asdict(network.link),
        "bridges": [asdict(bridge) for bridge in network.bridges],
        "fleet": "open" if status.fleet_open else "closed",
        "role_since": learning.role_since,
        "trainer_process": learning.trainer_process,
        "model": version_json(learning.model) if learning.model else None,
        "sales": status.store.sales,
        "round": asdict(learning.round) if learning.round else None,
        "transfers": [asdict(view) for view in network.transfers],
        "bytes_in": network.bytes_in,
        "bytes_out": network.bytes_out,
        "clock_ahead_s": network.clock_ahead_s,
        "events": [asdict(event) for event in learning.events],
        "disk": asdict(status.disk),
        "store": {**summary["store"], "name": status.store_name, "trouble": status.store.trouble},
        "cautions": [_warning_json(warning) for warning in status.warnings],
        "exports": learning.exports,
    }


def version_json(version: ModelVersion) -> Json:
    """Return a model version without its summary, which only trending needs."""
    facts = asdict(version)
    del facts["summary"]
    return facts


def _warning_json(warning: OperatorWarning) -> Json:
    return {"weight": warning.severity, "sentence": warning.sentence, "kind": warning.kind}
