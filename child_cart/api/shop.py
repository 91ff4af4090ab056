"""The shop over HTTP: items, what is trending, bills and sales."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date

from flask import Blueprint, Response, jsonify, request

from ..shop.billing import CATEGORIES, MAX_AMOUNT, SHOPPERS, BillChanged
from ..shop.checkout_service import CheckoutService
from ..shop.trending import TrendingService
from .access.auth import is_known, open_to_all
from .access.client_address import client_address
from .request_parsing import json_body, number, text_id


def add_shop(blueprint: Blueprint, checkout: CheckoutService, trends: TrendingService) -> None:
    """Add the addresses of the shop; all of them are open to shoppers."""

    @blueprint.get("/items")
    @open_to_all
    def items() -> Response:
        answer = jsonify(
            items=[asdict(item) for item in checkout.items()],
            categories=CATEGORIES,
            shoppers=SHOPPERS,
            max_amount=MAX_AMOUNT,
        )
        answer.add_etag()  # pages ask often whether a price has changed
        answer.make_conditional(request)
        return answer

    @blueprint.get("/trending")
    @open_to_all
    def trending() -> Response:
        month, gender = number("month", date.today().month, 1, 12), number("gender", 0, 0, max(SHOPPERS))
        return jsonify(month=month, gender=gender, **asdict(trends.trending(month, gender)))

    @blueprint.post("/bill")
    @open_to_all
    def bill() -> Response:
        return jsonify(asdict(checkout.quote(json_body().get("lines"))))

    @blueprint.post("/checkout")
    @open_to_all
    def check_out() -> tuple[Response, int]:
        body = json_body()
        stranger = None if is_known() else client_address(request)
        sale, added = checkout.check_out(text_id(body, "sale_id"), body, stranger)
        return jsonify(sale=asdict(sale), added=added), 201 if added else 200

    @blueprint.errorhandler(BillChanged)
    def changed(error: BillChanged) -> tuple[Response, int]:
        return jsonify(error=str(error), bill=asdict(error.bill)), 409
