"""The catalogue over HTTP: items, CSV files and shelf labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final, NoReturn

from flask import Blueprint, Response, abort, jsonify, request

from ..shop.billing import CATEGORIES
from ..shop.catalogue import MAX_NAME_CHARS
from ..shop.catalogue_csv import CsvRefused
from ..shop.catalogue_service import CatalogueService
from .access.request_guard import takes
from .request_parsing import json_body
from .serving.lanes import Lane, answered_in

LABEL_TYPES: Final = {"svg": "image/svg+xml", "png": "image/png"}


def catalogue(service: CatalogueService) -> Blueprint:  # noqa: C901 - one short function for each address
    """Return the blueprint of ``/api/catalogue``."""
    blueprint = Blueprint("catalogue", __name__)

    @blueprint.get("/catalogue")
    def items() -> Response:
        return jsonify(
            items=[asdict(item) for item in service.items()],
            categories=CATEGORIES,
            read_only=service.read_only,
            max_name_chars=MAX_NAME_CHARS,
        )

    @blueprint.post("/catalogue")
    def add() -> tuple[Response, int]:
        return jsonify(item=asdict(service.add(json_body()))), 201

    @blueprint.put("/catalogue/<code>")
    def change(code: str) -> Response:
        item = service.change(code, json_body())
        if item is None:
            _no_such(code)
        return jsonify(item=asdict(item))

    @blueprint.get("/catalogue.csv")
    @answered_in(Lane.REPORTS)
    def export() -> Response:
        answer = Response(service.csv(), mimetype="text/csv")
        answer.headers["Content-Disposition"] = 'attachment; filename="catalogue.csv"'
        return answer

    @blueprint.post("/catalogue.csv")
    @takes("text/csv")
    @answered_in(Lane.REPORTS)
    def take() -> Response:
        return jsonify(service.take_csv(request.get_data()))

    @blueprint.get("/catalogue/<code>/label.<kind>")
    def label(code: str, kind: str) -> Response:
        if kind not in LABEL_TYPES:
            abort(404, f"Labels are available as {' and '.join(LABEL_TYPES)}.")
        drawn = service.label(code, kind)
        if drawn is None:
            _no_such(code)
        return Response(drawn, mimetype=LABEL_TYPES[kind])

    @blueprint.errorhandler(CsvRefused)
    def refused(error: CsvRefused) -> tuple[Response, int]:
        return jsonify(error=str(error), lines=[asdict(line) for line in error.lines]), 400

    return blueprint


def _no_such(code: str) -> NoReturn:
    abort(404, f"There is no item with the code {code[:40]!r} in the catalogue.")
