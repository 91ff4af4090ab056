"""The pages of a cart. They load their data from ``/api``, except the label sheet, which is ready to print."""

from __future__ import annotations

from typing import Final

from flask import Blueprint, render_template, request

from ..shop import labels
from ..shop.billing import CATEGORIES
from ..shop.catalogue import written_price
from ..shop.catalogue_service import CatalogueService
from .access.auth import open_to_all
from .request_parsing import number
from .serving.lanes import Lane, answered_in

MAX_LABELS: Final = 300
MAX_COPIES: Final = 50


def pages(service: CatalogueService) -> Blueprint:
    """Return the blueprint of the pages."""
    blueprint = Blueprint("pages", __name__)

    @blueprint.get("/")
    @open_to_all
    def shop_page() -> str:
        return render_template("shop.html")

    @blueprint.get("/admin")
    def admin() -> str:
        return render_template("admin.html")

    @blueprint.get("/admin/catalogue")
    def catalogue() -> str:
        return render_template("catalogue.html", read_only=service.read_only)

    @blueprint.get("/admin/labels")
    @answered_in(Lane.REPORTS)
    def label_sheet() -> str:
        codes, copies = request.args.getlist("code"), number("copies", 1, 1, MAX_COPIES)
        category = number("category", 0, 0, max(CATEGORIES)) or None
        wanted = [item for item in service.chosen(codes, category) for _ in range(copies)]
        shown = [
            {
                "item": item,
                "price": written_price(item.price_cents, service.currency),
                "side": side,
                "path": path,
            }
            for item in wanted[:MAX_LABELS]
            for side, path in (labels.qr_path(item.code),)
        ]
        return render_template(
            "labels.html",
            labels=shown,
            left_out=max(0, len(wanted) - MAX_LABELS),
            codes=codes,
            category=category,
            categories=CATEGORIES,
            copies=copies,
            max_copies=MAX_COPIES,
        )

    return blueprint
