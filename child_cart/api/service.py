"""The JSON of a cart, for its own pages and for programs. ``docs/api.md`` lists it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Final

from flask import Blueprint, Response, jsonify

from ..operation.desk import Desk, RequestError
from ..shop import billing as shop
from .auth import is_known, open_to_all
from .request_parsing import json_body, number

MAX_LIMIT: Final = 500


def service(desk: Desk) -> Blueprint:  # noqa: C901 - one short function for each address
    """Return the blueprint of ``/api``."""
    blueprint = Blueprint("service", __name__)

    @blueprint.get("/status")
    @open_to_all
    def status() -> Response:
        return jsonify(desk.status() if is_known() else desk.summary())

    @blueprint.get("/rounds")
    def rounds() -> Response:
        return jsonify(rounds=desk.rounds(number("limit", 20, 1, MAX_LIMIT)))

    @blueprint.get("/versions")
    def versions() -> Response:
        return jsonify(versions=desk.versions(number("limit", 100, 1, MAX_LIMIT)))

    @blueprint.get("/items")
    @open_to_all
    def items() -> Response:
        return jsonify(
            items=[asdict(item) for item in desk.items()],
            categories=shop.CATEGORIES,
            shoppers=shop.SHOPPERS,
            max_amount=shop.MAX_AMOUNT,
        )

    @blueprint.get("/trending")
    @open_to_all
    def trending() -> Response:
        month, gender = number("month", date.today().month, 1, 12), number("gender", 0, 0, 1)
        return jsonify(month=month, gender=gender, **desk.trending(month, gender))

    @blueprint.post("/bill")
    @open_to_all
    def bill() -> Response:
        return jsonify(asdict(desk.quote(json_body().get("lines"))))

    @blueprint.post("/checkout")
    @open_to_all
    def check_out() -> tuple[Response, int]:
        sale, added = desk.check_out(json_body())
        return jsonify(sale=asdict(sale), added=added), 201 if added else 200

    @blueprint.post("/rows")
    def rows() -> tuple[Response, int]:
        count, added = desk.add_rows(json_body())
        return jsonify(rows=count, added=added), 201 if added else 200

    @blueprint.get("/settings")
    def settings() -> Response:
        return jsonify(settings=desk.settings())

    @blueprint.put("/settings/<name>")
    def change_setting(name: str) -> Response:
        body = json_body()
        if "value" not in body:
            raise RequestError("value is missing: the new value, or null to take an earlier change back.")
        desk.change_setting(name, body["value"])
        return jsonify(settings=desk.settings())

    @blueprint.post("/train")
    def train() -> tuple[Response, int]:
        desk.ask_training()
        return jsonify(asked=True), 202

    @blueprint.post("/reset")
    def reset() -> tuple[Response, int]:
        if json_body().get("confirm") != "reset":
            raise RequestError('To forget the model, send {"confirm": "reset"}. Sales and rows are kept.')
        desk.ask_reset()
        return jsonify(asked=True), 202

    return blueprint
