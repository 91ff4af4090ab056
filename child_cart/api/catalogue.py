"""The catalogue over HTTP: its items, files of them, and their shelf labels."""

from __future__ import annotations

from dataclasses import asdict
from typing import NoReturn

from flask import Blueprint, Response, abort, jsonify, request

from .. import shop
from ..catalogue import MAX_NAME_CHARS
from ..catalogue_csv import CsvRefused
from ..desk import Desk
from .bodies import json_body
from .guard import takes


def catalogue(desk: Desk) -> Blueprint:
    """Return the blueprint of ``/api/catalogue``."""
    blueprint = Blueprint("catalogue", __name__)

    @blueprint.get("/catalogue")
    def items() -> Response:
        return jsonify(
            items=[asdict(item) for item in desk.catalogue.items()],
            categories=shop.CATEGORIES,
            max_name_chars=MAX_NAME_CHARS,
        )

    @blueprint.post("/catalogue")
    def add() -> tuple[Response, int]:
        return jsonify(item=asdict(desk.catalogue.add(json_body()))), 201

    @blueprint.put("/catalogue/<code>")
    def change(code: str) -> Response:
        item = desk.catalogue.change(code, json_body())
        if item is None:
            _no_such(code)
        return jsonify(item=asdict(item))

    @blueprint.get("/catalogue.csv")
    def export() -> Response:
        answer = Response(desk.catalogue.csv(), mimetype="text/csv")
        answer.headers["Content-Disposition"] = 'attachment; filename="catalogue.csv"'
        return answer

    @blueprint.post("/catalogue.csv")
    @takes("text/csv")
    def take() -> Response:
        return jsonify(desk.catalogue.take_csv(request.get_data()))

    @blueprint.get("/catalogue/<code>/label.<any(svg, png):kind>")
    def label(code: str, kind: str) -> Response:
        drawn = desk.catalogue.label(code, kind)
        if drawn is None:
            _no_such(code)
        return Response(drawn, mimetype="image/svg+xml" if kind == "svg" else "image/png")

    @blueprint.errorhandler(CsvRefused)
    def refused(error: CsvRefused) -> tuple[Response, int]:
        return jsonify(error=str(error), lines=[asdict(line) for line in error.lines]), 400

    return blueprint


def _no_such(code: str) -> NoReturn:
    abort(404, f"There is no item with the code {code[:40]!r} in the catalogue.")
