"""The JSON of a cart, for its own pages and for programs. ``docs/api.md`` lists it."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any, Final

from flask import Blueprint, Response, abort, jsonify, request

from .. import shop
from ..db.records import Json
from ..desk import Desk, RequestError

MAX_LIMIT: Final = 500
MAX_DIGITS: Final = 9


def service(desk: Desk) -> Blueprint:  # noqa: C901 - one short function for each address
    """Return the blueprint of ``/api``."""
    blueprint = Blueprint("service", __name__)

    @blueprint.get("/status")
    def status() -> Response:
        return jsonify(desk.status())

    @blueprint.get("/rounds")
    def rounds() -> Response:
        return jsonify(rounds=desk.rounds(_number("limit", 20, 1, MAX_LIMIT)))

    @blueprint.get("/versions")
    def versions() -> Response:
        return jsonify(versions=desk.versions(_number("limit", 100, 1, MAX_LIMIT)))

    @blueprint.get("/items")
    def items() -> Response:
        return jsonify(
            items=[asdict(item) for item in desk.items()],
            categories=shop.CATEGORIES,
            shoppers=shop.SHOPPERS,
            max_amount=shop.MAX_AMOUNT,
        )

    @blueprint.get("/trending")
    def trending() -> Response:
        month, gender = _number("month", date.today().month, 1, 12), _number("gender", 0, 0, 1)
        return jsonify(month=month, gender=gender, **desk.trending(month, gender))

    @blueprint.post("/bill")
    def bill() -> Response:
        return jsonify(asdict(desk.quote(_body().get("lines"))))

    @blueprint.post("/checkout")
    def check_out() -> tuple[Response, int]:
        sale, added = desk.check_out(_body())
        return jsonify(sale=asdict(sale), added=added), 201 if added else 200

    @blueprint.post("/rows")
    def rows() -> tuple[Response, int]:
        count, added = desk.add_rows(_body())
        return jsonify(rows=count, added=added), 201 if added else 200

    @blueprint.get("/settings")
    def settings() -> Response:
        return jsonify(settings=desk.settings())

    @blueprint.put("/settings/<name>")
    def change_setting(name: str) -> Response:
        body = _body()
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
        if _body().get("confirm") != "reset":
            raise RequestError('To forget the model, send {"confirm": "reset"}. Sales and rows are kept.')
        desk.ask_reset()
        return jsonify(asked=True), 202

    return blueprint


def _body() -> Json:
    try:
        body: Any = request.get_json(silent=True)
    except RecursionError:  # brackets in brackets, thousands deep
        body = None
    if not isinstance(body, dict):
        raise RequestError("The body of the request is to be a JSON object.")
    return body


def _number(name: str, default: int, low: int, high: int) -> int:
    text = request.args.get(name)
    if text is None:
        return default
    # The length first: Python refuses to read numbers of thousands of digits.
    if not text.isdecimal() or len(text) > MAX_DIGITS or not low <= int(text) <= high:
        abort(400, f"{name} is {text[:40]!r}; it must be a whole number from {low} to {high}.")
    return int(text)
