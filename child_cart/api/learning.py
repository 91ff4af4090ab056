"""Learning over HTTP: rounds and versions to read, rows to learn from, a round now, or a new start."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

from flask import Blueprint, Response, jsonify

from cart_common.process.json_values import Json

from ..model.task import RowError
from ..operation.operator_service import OperatorService
from ..operation.row_service import RowService
from ..shop.billing import described
from .request_parsing import RequestError, json_body, number, text_id
from .serving.lanes import Lane, answered_in
from .status import version_json

MAX_LIMIT: Final = 500
MAX_BATCH_ROWS: Final = 10_000


def add_learning(blueprint: Blueprint, operator: OperatorService, row_service: RowService) -> None:
    """Add the addresses of learning; all of them need a login or the token."""

    @blueprint.get("/rounds")
    @answered_in(Lane.REPORTS)
    def rounds() -> Response:
        newest = operator.rounds(number("limit", 20, 1, MAX_LIMIT))
        return jsonify(rounds=[asdict(record) for record in newest])

    @blueprint.get("/versions")
    @answered_in(Lane.REPORTS)
    def versions() -> Response:
        newest = operator.versions(number("limit", 100, 1, MAX_LIMIT))
        return jsonify(versions=[version_json(version) for version in newest])

    @blueprint.post("/rows")
    @answered_in(Lane.REPORTS)
    def rows() -> tuple[Response, int]:
        body = json_body()
        batch_id, batch = text_id(body, "batch_id"), _batch_of(body)
        try:
            added = row_service.add(batch_id, batch)
        except RowError as error:
            raise RequestError(str(error)) from None
        return jsonify(rows=len(batch), added=added), 201 if added else 200

    @blueprint.get("/rows/set-aside")
    @answered_in(Lane.REPORTS)
    def set_aside() -> Response:
        newest = row_service.set_aside(number("limit", 20, 1, MAX_LIMIT))
        return jsonify(rows=[asdict(row) for row in newest])

    @blueprint.get("/rows/set-aside.csv")
    @answered_in(Lane.REPORTS)
    def set_aside_csv() -> Response:
        return Response(
            row_service.set_aside_csv(),
            mimetype="text/csv",
            headers={"Content-Disposition": 'attachment; filename="set-aside.csv"'},
        )

    @blueprint.post("/train")
    def train() -> tuple[Response, int]:
        operator.request_training()
        return jsonify(asked=True), 202

    @blueprint.post("/reset")
    def reset() -> tuple[Response, int]:
        if json_body().get("confirm") != "reset":
            raise RequestError('To forget the model, send {"confirm": "reset"}. Sales and rows are kept.')
        operator.request_reset()
        return jsonify(asked=True), 202


def _batch_of(body: Json) -> list[object]:
    rows = body.get("rows")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_BATCH_ROWS:
        raise RequestError(f"rows is {described(rows)}; it must be a list of 1 to {MAX_BATCH_ROWS} rows.")
    return rows
